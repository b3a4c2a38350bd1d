//! Container runtimes and image tools.

pub(crate) mod containerd;
mod image_tools;
