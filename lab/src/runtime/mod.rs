//! The runtimes themselves.

pub(crate) mod containerd;
pub(crate) mod cri;
mod image_tools;
