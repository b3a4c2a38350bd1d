//! What others are told: the node's container runtime above all.

mod mirrors;

pub use self::mirrors::{Fallback, Inexpressible, Mirrors};

#[cfg(test)]
mod tests;
