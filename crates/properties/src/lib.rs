//! The laws of the core, as functions of bytes.
//!
//! Each takes any bytes, makes a reference, a map, a Secret … of them, and
//! panics where a law does not hold. Two things look for such bytes: the fuzz
//! targets in `fuzz/`, which need a nightly toolchain and so stand outside the
//! workspace, and proptest, wherever `cargo test` runs. That is why the laws are
//! a crate of their own: neither may reach into the other, and what only they
//! need (another parser to compare with) is no dependency of what is shipped.

mod choices;
mod declaration;
mod map;
mod reference;
mod text;

pub use self::declaration::declaration;
pub use self::map::{imageswap, map};
pub use self::reference::reference;

/// Every property with its name, which is also the fuzz target's.
pub const ALL: [(&str, fn(&[u8])); 4] = [
    ("reference", reference),
    ("map", map),
    ("imageswap", imageswap),
    ("declaration", declaration),
];

#[cfg(test)]
mod tests;
