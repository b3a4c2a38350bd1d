//! An image of one layer for one platform.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use super::{
    blob::{Blob, digest_of, media},
    platform::Platform,
};

/// The system in a gzip header: unknown (RFC 1952), so that the build machine does not matter.
const SYSTEM: u8 = 255;

/// The process of a container of the image: the `config` of its configuration (`Entrypoint`, `Cmd`,
/// `Env`, `User`, `Labels`, …).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs(pub Value);

/// An image of one layer for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    platform: Platform,
    layer: Blob,
    config: Blob,
    manifest: Blob,
    unpacked: usize,
}

impl Image {
    /// Creates an image whose layer is the archive `tar`, uncompressed.
    pub fn plain(platform: Platform, tar: Vec<u8>, runs: Runs) -> Self {
        let (diff, unpacked) = (digest_of(&tar), tar.len());
        Self::of(platform, Blob::new(media::LAYER, tar), (&diff, unpacked), runs, &BTreeMap::new())
    }

    /// Creates an image whose layer is the archive `tar`, compressed by gzip at the best level. The
    /// manifest has `annotations`.
    pub fn compressed(
        platform: Platform,
        tar: &[u8],
        runs: Runs,
        annotations: &BTreeMap<&str, String>,
    ) -> Self {
        let layer = Blob::new(media::LAYER_GZIP, gzip(tar));
        Self::of(platform, layer, (&digest_of(tar), tar.len()), runs, annotations)
    }

    fn of(
        platform: Platform,
        layer: Blob,
        (diff, unpacked): (&str, usize),
        Runs(runs): Runs,
        annotations: &BTreeMap<&str, String>,
    ) -> Self {
        let config = json!({
            "os": platform.os,
            "architecture": platform.architecture,
            "config": runs,
            "rootfs": { "type": "layers", "diff_ids": [diff] },
        });
        let config = Blob::json(media::CONFIG, &config);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": media::MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        if !annotations.is_empty() {
            manifest["annotations"] = json!(annotations);
        }
        let manifest = Blob::json(media::MANIFEST, &manifest);
        Self { platform, layer, config, manifest, unpacked }
    }

    /// Returns the operating system and processor of the image.
    pub const fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Returns the only layer.
    pub const fn layer(&self) -> &Blob {
        &self.layer
    }

    /// Returns the configuration.
    pub const fn config(&self) -> &Blob {
        &self.config
    }

    /// Returns the manifest, by whose digest the image is pulled.
    pub const fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// Returns the size of the uncompressed layer in bytes.
    pub const fn unpacked(&self) -> usize {
        self.unpacked
    }
}

/// Compresses `bytes` reproducibly: the header contains no time, name or system.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let header = GzBuilder::new().mtime(0).operating_system(SYSTEM);
    let mut packed = header.write(Vec::new(), Compression::best());
    // Writes to a vector cannot fail.
    let _ = packed.write_all(bytes);
    packed.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn image(content: &[u8]) -> Image {
        let runs = Runs(json!({ "Entrypoint": ["/program"] }));
        let annotations = BTreeMap::from([("a", "b".to_owned())]);
        Image::compressed(Platform::here(), content, runs, &annotations)
    }

    #[test]
    fn digest_depends_only_on_input() {
        assert_eq!(image(b"one"), image(b"one"));
        assert_ne!(image(b"one").manifest().digest(), image(b"two").manifest().digest());
    }

    #[test]
    fn unpacked_layer_has_the_configured_digest() {
        let image = image(b"some bytes");
        let mut unpacked = Vec::new();
        GzDecoder::new(image.layer().bytes()).read_to_end(&mut unpacked).unwrap();
        assert_eq!((unpacked.as_slice(), image.unpacked()), (&b"some bytes"[..], 10));
        let config: Value = serde_json::from_slice(image.config().bytes()).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][0], digest_of(&unpacked));
        let manifest: Value = serde_json::from_slice(image.manifest().bytes()).unwrap();
        assert_eq!(manifest["config"], image.config().descriptor());
        assert_eq!(manifest["layers"], json!([image.layer().descriptor()]));
        assert_eq!(manifest["annotations"]["a"], "b");
    }

    /// Checks the header, which has the time at 4..8 and the system at 9 (RFC 1952).
    #[test]
    fn compressed_layer_has_neither_time_nor_system() {
        let header = gzip(b"bytes");
        assert_eq!(header[3..8], [0; 5]);
        assert_eq!(header[9], SYSTEM);
    }
}
