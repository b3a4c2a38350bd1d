//! The `image-swap` binary.
fn main() {}
