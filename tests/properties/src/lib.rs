//! Properties of the core and of plans for hosts, as functions of bytes.
//!
//! Each function generates its input from any bytes, such as a reference, a map or a Secret, and
//! panics if a property does not hold. Two programs search for such bytes: proptest in
//! `cargo test`, and the fuzz targets in `tests/fuzz`, which need a nightly toolchain and are
//! outside the workspace. Both depend on this crate. Shipped crates do not, so they do not depend
//! on the parsers that only properties use.

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
