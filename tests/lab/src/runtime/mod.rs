//! The runtimes themselves.

pub(crate) mod containerd;
mod image_tools;
