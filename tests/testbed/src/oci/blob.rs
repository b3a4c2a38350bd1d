//! Content that is named by its digest.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

/// The media types in use.
pub mod media {
    /// An index of manifests, one for each platform.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// The media type of a manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// The media type of an image's configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer as it is.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// The media type of a compressed layer.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
}

/// Bytes of a media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    kind: &'static str,
    bytes: Vec<u8>,
    digest: String,
}

impl Blob {
    /// Names `bytes`, which are of the media type `kind`.
    pub fn new(kind: &'static str, bytes: Vec<u8>) -> Self {
        let digest = digest_of(&bytes);
        Self { kind, bytes, digest }
    }

    /// Creates a blob from a JSON document.
    pub fn json(kind: &'static str, document: &Value) -> Self {
        Self::new(kind, document.to_string().into_bytes())
    }

    /// Returns the media type.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the digest, `sha256:…`.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the descriptor, by which another document refers to the blob.
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.kind, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// Returns the digest of `bytes`, `sha256:…`.
pub fn digest_of(bytes: &[u8]) -> String {
    let mut name = "sha256:".to_owned();
    for byte in digest(&SHA256, bytes).as_ref() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
