//! Images of several platforms under one name, and as files.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    blob::{Blob, media},
    image::Image,
    tar::Tar,
};

/// The marker file of a layout.
const MARKER: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);

/// An index over images, one for each platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    images: Vec<Image>,
    index: Blob,
}

impl Layout {
    /// Creates an index over `images`, sorted by platform, with `annotations`.
    pub fn new(mut images: Vec<Image>, annotations: &BTreeMap<&str, String>) -> Self {
        images.sort_by(|one, other| one.platform().cmp(other.platform()));
        let entry = |image: &Image| {
            let mut entry = image.manifest().descriptor();
            entry["platform"] = image.platform().document();
            entry
        };
        let mut index = json!({
            "schemaVersion": 2,
            "mediaType": media::INDEX,
            "manifests": images.iter().map(entry).collect::<Vec<_>>(),
        });
        if !annotations.is_empty() {
            index["annotations"] = json!(annotations);
        }
        Self { images, index: Blob::json(media::INDEX, &index) }
    }

    /// Returns the images, sorted by platform.
    pub fn images(&self) -> &[Image] {
        &self.images
    }

    /// Returns the index, by whose digest the whole layout is pulled.
    pub const fn index(&self) -> &Blob {
        &self.index
    }

    /// Returns the files of a layout by their paths. Programs that import it find the index as
    /// `name`, such as a tag.
    pub fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let mut root = self.index.descriptor();
        root["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        let mut files = of_root(&root);
        let images = self.images.iter();
        let blobs = images.flat_map(|image| [image.layer(), image.config(), image.manifest()]);
        for blob in blobs.chain([&self.index]) {
            files.insert(path_of(blob), blob.bytes().to_vec());
        }
        files
    }

    /// Writes a layout into the directory `to`. It replaces the files of an earlier layout, and
    /// keeps other files.
    ///
    /// # Errors
    /// The error of the system, with the path.
    pub fn write(&self, to: &Path, name: &str) -> io::Result<()> {
        let with_path = |path: PathBuf| {
            move |error: io::Error| io::Error::other(format!("{}: {error}", path.display()))
        };
        let blobs = to.join("blobs/sha256");
        if blobs.exists() {
            fs::remove_dir_all(&blobs).map_err(with_path(blobs.clone()))?;
        }
        fs::create_dir_all(&blobs).map_err(with_path(blobs))?;
        for (path, bytes) in self.files(name) {
            let path = to.join(path);
            fs::write(&path, bytes).map_err(with_path(path))?;
        }
        Ok(())
    }

    /// Returns the layout in one tar archive, which `docker load`, `ctr images import`
    /// and skopeo read.
    ///
    /// # Errors
    /// The archive cannot hold a path.
    pub fn archive(&self, name: &str) -> io::Result<Vec<u8>> {
        archive(self.files(name))
    }
}

impl Image {
    /// Returns a layout of this image alone in a tar archive. `ctr images import` stores
    /// it as `name`.
    ///
    /// # Errors
    /// The archive cannot hold a path.
    pub fn archive(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut root = self.manifest().descriptor();
        root["annotations"] = json!({ "io.containerd.image.name": name });
        let mut files = of_root(&root);
        for blob in [self.layer(), self.config(), self.manifest()] {
            files.insert(path_of(blob), blob.bytes().to_vec());
        }
        archive(files)
    }
}

/// Returns the files that lead to `root`, a descriptor.
fn of_root(root: &Value) -> BTreeMap<String, Vec<u8>> {
    let top = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": [root] });
    let (marker, content) = MARKER;
    BTreeMap::from([
        (marker.to_owned(), content.to_vec()),
        ("index.json".to_owned(), top.to_string().into_bytes()),
    ])
}

fn path_of(blob: &Blob) -> String {
    format!("blobs/{}", blob.digest().replace(':', "/"))
}

fn archive(files: BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut tar = Tar::default();
    for (path, bytes) in files {
        tar.file(&path, 0o644, &bytes)?;
    }
    tar.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Platform, Runs, digest_of};

    fn layout() -> Layout {
        let image = |platform: &str| {
            let platform: Platform = platform.parse().unwrap();
            let content = platform.to_string();
            Image::compressed(platform, content.as_bytes(), Runs(json!({})), &BTreeMap::new())
        };
        Layout::new(vec![image("linux/arm64"), image("linux/amd64")], &BTreeMap::new())
    }

    #[test]
    fn order_of_images_does_not_matter() {
        let mut images = layout().images;
        images.reverse();
        assert_eq!(Layout::new(images, &BTreeMap::new()), layout());
    }

    /// Walks the files as a reader does, from `index.json` to the layers.
    #[test]
    fn descriptors_match_files_by_digest_and_size() {
        let files = layout().files("1");
        let mut found = vec!["index.json".to_owned(), "oci-layout".to_owned()];
        let mut open: Vec<Value> = vec![serde_json::from_slice(&files["index.json"]).unwrap()];
        while let Some(document) = open.pop() {
            let lists = ["manifests", "layers"].into_iter();
            let listed = lists.filter_map(|list| document[list].as_array()).flatten().cloned();
            for descriptor in listed.chain(document.get("config").cloned()) {
                let Some(digest) = descriptor["digest"].as_str() else { continue };
                let path = format!("blobs/{}", digest.replace(':', "/"));
                let bytes = &files[&path];
                assert_eq!(digest, digest_of(bytes));
                assert_eq!(descriptor["size"], bytes.len());
                found.push(path);
                open.extend(serde_json::from_slice::<Value>(bytes).ok());
            }
        }
        found.sort();
        assert_eq!(found, files.into_keys().collect::<Vec<_>>(), "and there is no other file");
    }

    #[test]
    fn earlier_layout_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("blobs/sha256/old"), "").unwrap();
        fs::write(dir.path().join("note"), "kept").unwrap();
        layout().write(dir.path(), "1").unwrap();
        let blobs = fs::read_dir(dir.path().join("blobs/sha256")).unwrap().count();
        assert_eq!(blobs, layout().files("1").len() - 2);
        assert!(!dir.path().join("blobs/sha256/old").exists());
        assert!(dir.path().join("note").exists());
    }
}
