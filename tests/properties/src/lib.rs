//! The laws of the core and of plans for hosts, as functions of bytes.
//!
//! Each takes any bytes, makes a reference, a map, a Secret … of them, and
//! panics where a law does not hold. Two things look for such bytes: the fuzz
//! targets in `tests/fuzz`, which need a nightly toolchain and so stand outside the
//! workspace, and proptest, wherever `cargo test` runs. That is why the laws are
//! a crate of their own: neither may reach into the other, and what only they
//! need (another parser to compare with) is no dependency of what is shipped.

mod admission;
mod choices;
mod declaration;
mod manifest;
mod map;
mod node;
mod reference;
mod text;

pub use self::{
    admission::admission,
    declaration::declaration,
    manifest::manifest,
    map::{imageswap, map},
    node::node,
    reference::reference,
};

#[cfg(test)]
mod tests;
