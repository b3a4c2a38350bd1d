//! The image of the program under test, which `cargo xtask test` builds before the tests.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::oci::{Tar, digest_of};
use serde_json::{Value, json};

use crate::error::Error;

/// The command that builds the image.
const HOW: &str = "cargo xtask image --tests (a step of cargo xtask test)";
/// The folder of the image layout, and the record of its sources, below the checkout.
const LAYOUT: &str = "target/image-swap-tests/image";
const RECORD: &str = "target/image-swap-tests/image.json";
/// The versions of all dependencies.
const LOCK: &str = "Cargo.lock";

/// An OCI image layout with the program built from the present sources.
///
/// A record is stored next to the layout: the digest of the image's index, and the digest of
/// each source file of the program.
#[derive(Clone, Debug)]
pub struct Product {
    layout: PathBuf,
    digest: String,
}

/// The bytes of one image.
pub(crate) struct Content {
    pub(crate) manifest: Vec<u8>,
    /// The configuration and the layers.
    pub(crate) blobs: Vec<Vec<u8>>,
}

impl Product {
    /// Returns the folder of the layout in the checkout `root`, and removes the record:
    /// the layout is about to be written.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub fn begin(root: &Path) -> Result<PathBuf, Error> {
        let record = root.join(RECORD);
        match fs::remove_file(&record) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("remove {}", record.display()))(error))
            }
            _ => Ok(root.join(LAYOUT)),
        }
    }

    /// Records the sources of the program in the layout. `dep_info` is the file that
    /// cargo writes next to a program: a rule of make with every source file.
    ///
    /// # Errors
    /// A file cannot be read, or the record not written.
    pub fn record(root: &Path, dep_info: &Path) -> Result<(), Error> {
        let rule = String::from_utf8_lossy(&read(dep_info)?).into_owned();
        let mut sources = BTreeMap::new();
        for source in dependencies(&rule).chain([LOCK.into()]) {
            let digest = digest_of(&read(&root.join(&source))?);
            sources.insert(source.strip_prefix(root).unwrap_or(&source).to_owned(), digest);
        }
        let layout = root.join(LAYOUT);
        let record = json!({ "index": index_of(&layout)?, "sources": sources });
        let path = root.join(RECORD);
        fs::write(&path, record.to_string()).map_err(Error::io(format!("write {}", path.display())))
    }

    /// Finds the image in the checkout `root`. Does not build it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is none, or if a source file has changed since.
    pub fn find(root: &Path) -> Result<Self, Error> {
        let missing = |what: &str| Error::unavailable(format!("the image under test: {what}"), HOW);
        let record = fs::read(root.join(RECORD)).map_err(|_| missing("it was not built"))?;
        let record: Value = serde_json::from_slice(&record).unwrap_or_default();
        let layout = root.join(LAYOUT);
        let digest = index_of(&layout)?;
        if record["index"] != *digest {
            return Err(missing("another one was written over it"));
        }
        for (source, digest) in record["sources"].as_object().into_iter().flatten() {
            let found = fs::read(root.join(source)).ok();
            if found.is_none_or(|bytes| *digest != digest_of(&bytes)) {
                return Err(missing(&format!("{source} has changed since it was built")));
            }
        }
        Ok(Self { layout, digest })
    }

    /// Returns the digest of the image's index.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the file with the first layer of the first image, a compressed archive.
    ///
    /// # Errors
    /// A file of the layout cannot be read.
    pub fn layer(&self) -> Result<PathBuf, Error> {
        let index = parse(&self.index()?);
        let manifest = parse(&self.blob(&index["manifests"][0]["digest"])?);
        Ok(self.path(&manifest["layers"][0]["digest"]))
    }

    /// Returns the layout in a tar archive. `ctr images import` stores the image as
    /// `reference`.
    pub(crate) fn archive(&self, reference: &str) -> Result<Vec<u8>, Error> {
        let path = self.layout.join("index.json");
        let mut root = parse(&read(&path)?);
        root["manifests"][0]["annotations"] = json!({ "io.containerd.image.name": reference });
        let mut tar = Tar::default();
        let mut add = |name: &str, bytes: &[u8]| {
            tar.file(name, 0o644, bytes).map_err(Error::io(format!("pack {name}")))
        };
        add("oci-layout", &read(&self.layout.join("oci-layout"))?)?;
        add("index.json", root.to_string().as_bytes())?;
        add(&path_of(&self.digest), &self.index()?)?;
        for Content { manifest, blobs } in self.images()? {
            for blob in blobs.iter().chain([&manifest]) {
                add(&path_of(&digest_of(blob)), blob)?;
            }
        }
        tar.finish().map_err(Error::io("pack the image under test"))
    }

    pub(crate) fn index(&self) -> Result<Vec<u8>, Error> {
        self.blob(&self.digest.as_str().into())
    }

    pub(crate) fn images(&self) -> Result<Vec<Content>, Error> {
        let index = parse(&self.index()?);
        let manifests = index["manifests"].as_array().into_iter().flatten();
        manifests.map(|manifest| self.image(&manifest["digest"])).collect()
    }

    fn image(&self, digest: &Value) -> Result<Content, Error> {
        let manifest = self.blob(digest)?;
        let document = parse(&manifest);
        let layers = document["layers"].as_array().into_iter().flatten();
        let all = layers.chain([&document["config"]]);
        let blobs = all.map(|blob| self.blob(&blob["digest"])).collect::<Result<_, _>>()?;
        Ok(Content { manifest, blobs })
    }

    fn blob(&self, digest: &Value) -> Result<Vec<u8>, Error> {
        read(&self.path(digest))
    }

    fn path(&self, digest: &Value) -> PathBuf {
        self.layout.join(path_of(digest.as_str().unwrap_or_default()))
    }
}

/// Returns the path of a blob in a layout.
fn path_of(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

/// Returns the digest of the index that a layout leads to.
fn index_of(layout: &Path) -> Result<String, Error> {
    let root = parse(&read(&layout.join("index.json"))?);
    Ok(root["manifests"][0]["digest"].as_str().unwrap_or_default().to_owned())
}

/// Returns the dependencies of the first rule in a file of make. A space in a path is
/// escaped.
fn dependencies(rules: &str) -> impl Iterator<Item = PathBuf> {
    const SPACE: &str = "\0";
    let rule = rules.lines().next().unwrap_or_default().replace("\\ ", SPACE);
    let (_, list) = rule.split_once(": ").unwrap_or_default();
    let paths: Vec<PathBuf> =
        list.split_whitespace().map(|path| path.replace(SPACE, " ").into()).collect();
    paths.into_iter()
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::io(format!("read {}", path.display())))
}

/// Parses a document of the layout. A broken one has no digests, and the next file is
/// not found.
fn parse(document: &[u8]) -> Value {
    serde_json::from_slice(document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::oci::{Image, Layout, Platform, Runs};

    use super::*;

    fn checkout() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        fs::write(root.join(LOCK), "lock").unwrap();
        fs::write(root.join("a b.rs"), "source").unwrap();
        fs::write(root.join("program.d"), format!("{0}/program: {0}/a\\ b.rs\n", root.display()))
            .unwrap();
        let layout = Product::begin(&root).unwrap();
        let image = Image::plain(Platform::here(), b"layer".to_vec(), Runs(json!({})));
        Layout::new(vec![image], &BTreeMap::new()).write(&layout, "1").unwrap();
        Product::record(&root, &root.join("program.d")).unwrap();
        (folder, root)
    }

    fn refused(root: &Path) -> String {
        Product::find(root).unwrap_err().to_string()
    }

    #[test]
    fn recorded_image_is_found_with_its_blobs() {
        let (_folder, root) = checkout();
        let product = Product::find(&root).unwrap();
        assert_eq!(digest_of(&product.index().unwrap()), product.digest());
        let images = product.images().unwrap();
        assert_eq!((images.len(), images[0].blobs.len()), (1, 2));
        assert_eq!(fs::read(product.layer().unwrap()).unwrap(), b"layer");
    }

    #[test]
    fn changed_source_makes_the_image_stale() {
        let (_folder, root) = checkout();
        fs::write(root.join("a b.rs"), "other").unwrap();
        assert!(refused(&root).contains("a b.rs has changed"), "{}", refused(&root));
    }

    #[test]
    fn unfinished_image_is_missing() {
        let (_folder, root) = checkout();
        Product::begin(&root).unwrap();
        assert!(refused(&root).contains("cargo xtask test"), "{}", refused(&root));
    }
}
