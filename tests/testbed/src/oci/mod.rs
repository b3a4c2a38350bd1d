//! OCI images as bytes: tar archives, blobs, manifests, an index, a layout on
//! disk. The same input results in the same digest.
//!
//! Sources: the OCI image specification (`manifest.md`, `image-index.md`,
//! `config.md`, `layer.md`, `image-layout.md`, `annotations.md`).

mod blob;
mod image;
mod layout;
mod platform;
mod tar;

pub use self::{
    blob::{Blob, digest_of, media},
    image::{Image, Runs},
    layout::Layout,
    platform::Platform,
    tar::Tar,
};
