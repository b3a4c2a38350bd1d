//! Tiny images: one uncompressed layer with a static busybox.

use std::{fs, io, path::Path};

use crate::oci::{Platform, Runs, Tar};
use serde_json::json;

use crate::{error::Error, parts::RegistryParts};

/// The names of busybox in an image.
const APPLETS: [&str; 12] =
    ["cat", "echo", "env", "false", "httpd", "id", "ls", "nc", "sh", "sleep", "true", "wget"];

/// An image for Linux on this processor. The same input results in the same digest.
#[derive(Clone, Debug)]
pub struct Image(crate::oci::Image);

impl Image {
    /// Builds an image that runs `command`, with busybox's programs on its `PATH`. A different
    /// `label` results in a different digest.
    ///
    /// # Errors
    /// busybox is missing or cannot be read.
    pub fn busybox(parts: &RegistryParts, label: &str, command: &[&str]) -> Result<Self, Error> {
        Self::from_busybox(&parts.busybox, label, command)
    }

    /// Builds the pause image, whose process holds a pod's namespaces.
    ///
    /// # Errors
    /// busybox is missing or cannot be read.
    pub fn pause(parts: &RegistryParts) -> Result<Self, Error> {
        Self::pause_from(&parts.busybox)
    }

    pub(crate) fn pause_from(busybox: &Path) -> Result<Self, Error> {
        Self::from_busybox(busybox, "pause", &["/bin/sleep", "inf"])
    }

    fn from_busybox(busybox: &Path, label: &str, command: &[&str]) -> Result<Self, Error> {
        let program =
            fs::read(busybox).map_err(Error::io(format!("read {}", busybox.display())))?;
        let layer = tar_of(&program).map_err(Error::io("pack busybox"))?;
        Ok(Self::of(layer, label, command))
    }

    fn of(layer: Vec<u8>, label: &str, command: &[&str]) -> Self {
        let runs = json!({ "Env": ["PATH=/bin"], "Cmd": command, "Labels": { "testbed": label } });
        Self(crate::oci::Image::plain(Platform::here(), layer, Runs(runs)))
    }

    /// Returns the digest of the manifest, by which the image is pulled.
    pub fn digest(&self) -> String {
        self.0.manifest().digest().to_owned()
    }

    /// Returns the contents that a registry stores as blobs.
    pub(crate) fn blobs(&self) -> [&[u8]; 2] {
        [self.0.layer().bytes(), self.0.config().bytes()]
    }

    pub(crate) fn manifest(&self) -> &[u8] {
        self.0.manifest().bytes()
    }

    /// Returns the image, named `name`, as an OCI layout in a tar archive, which `ctr images
    /// import` reads.
    pub(crate) fn archive(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.0.archive(name).map_err(Error::io("pack an image"))
    }
}

fn tar_of(busybox: &[u8]) -> io::Result<Vec<u8>> {
    let mut tar = Tar::default();
    tar.directory("bin/", 0o755)?;
    tar.file("bin/busybox", 0o755, busybox)?;
    for applet in APPLETS {
        tar.link(&format!("bin/{applet}"), "busybox")?;
    }
    // Programs of any user expect a writable directory.
    tar.directory("tmp/", 0o1777)?;
    tar.finish()
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn another_label_is_another_image() {
        let image = |label| Image::of(b"layer".to_vec(), label, &["sh"]).digest();
        assert_eq!(image("a"), image("a"));
        assert_ne!(image("a"), image("b"));
    }
}
