//! Tiny images: one uncompressed layer with a static busybox.

mod tar;

use std::{fs, path::Path};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use self::tar::Tar;
use crate::{error::Error, parts::RegistryParts};

/// The media type of a manifest (OCI image specification, `manifest.md`).
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The names under which busybox stands in an image.
const APPLETS: [&str; 12] =
    ["cat", "echo", "env", "false", "httpd", "id", "ls", "nc", "sh", "sleep", "true", "wget"];

/// An image for Linux on this processor. The same input gives the same digest.
#[derive(Clone, Debug)]
pub struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Image {
    /// An image that runs `command` (busybox's own programs are on its `PATH`).
    /// `label` tells images apart: another label, another digest.
    ///
    /// # Errors
    /// busybox is missing or cannot be read.
    pub fn busybox(parts: &RegistryParts, label: &str, command: &[&str]) -> Result<Self, Error> {
        Self::from_busybox(&parts.busybox, label, command)
    }

    /// The image for what holds a pod's namespaces.
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
        let mut tar = Tar::default();
        tar.directory("bin/", 0o755);
        tar.file("bin/busybox", 0o755, &program);
        for applet in APPLETS {
            tar.link(&format!("bin/{applet}"), "busybox");
        }
        // Any user may write where programs expect to.
        tar.directory("tmp/", 0o1777);
        Ok(Self::of(tar.finish(), label, command))
    }

    fn of(layer: Vec<u8>, label: &str, command: &[&str]) -> Self {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Env": ["PATH=/bin"],
                "Cmd": command,
                "Labels": { "testbed": label },
            },
            "rootfs": { "type": "layers", "diff_ids": [digest_of(&layer)] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer)],
        });
        Self { layer, config, manifest: manifest.to_string().into_bytes() }
    }

    /// The digest of its manifest, by which it is pulled.
    pub fn digest(&self) -> String {
        digest_of(&self.manifest)
    }

    /// What a registry keeps as blobs.
    pub(crate) fn blobs(&self) -> [&[u8]; 2] {
        [&self.layer, &self.config]
    }

    pub(crate) fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The image as an OCI layout in a tar archive, named `name`: what
    /// `ctr images import` reads.
    pub(crate) fn archive(&self, name: &str) -> Vec<u8> {
        let mut entry = descriptor(MANIFEST, &self.manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": name });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        let mut tar = Tar::default();
        tar.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
        tar.file("index.json", 0o644, index.to_string().as_bytes());
        for blob in [&self.layer, &self.config, &self.manifest] {
            let hex = digest_of(blob).replace("sha256:", "");
            tar.file(&format!("blobs/sha256/{hex}"), 0o644, blob);
        }
        tar.finish()
    }
}

/// `sha256:…` of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    let hex: String =
        digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest_of(bytes), "size": bytes.len() })
}

/// Go's name of this processor, as images use it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Image, digest_of};

    #[test]
    fn the_same_input_gives_the_same_digest_and_another_label_another_one() {
        let image = |label| Image::of(b"layer".to_vec(), label, &["sh"]).digest();
        assert_eq!(image("a"), image("a"));
        assert_ne!(image("a"), image("b"));
    }

    #[test]
    fn the_manifest_names_its_blobs_by_digest() {
        let image = Image::of(b"layer".to_vec(), "a", &["sh"]);
        let manifest = String::from_utf8(image.manifest().to_vec()).unwrap();
        for blob in image.blobs() {
            assert!(manifest.contains(&digest_of(blob)), "{manifest}");
        }
    }
}
