//! Polling of files by content.
//!
//! Times and sizes are not compared. Kubelet replaces a mounted Secret by renaming the symlink
//! `..data`, and an editor renames a new file over the old one. A declaration has at most 1 MiB,
//! which takes less than a millisecond to read and hash.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// Time between two polls.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time from a change until the content is read. Another process may still be writing the file,
/// or the second file of a certificate.
const SETTLE: Duration = Duration::from_millis(50);

/// The content of each file, in the order of the files.
pub type Contents = Vec<io::Result<Vec<u8>>>;

/// Watched files, with a fingerprint of their content at the last poll.
pub struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<u64>,
    /// Time between two polls.
    pub(crate) interval: Duration,
}

impl Watch {
    /// Returns a watch of `files`, which need not exist yet, with a poll each second. Call
    /// [`Self::read`] next: nothing has been read.
    pub fn new(files: &[&Path]) -> Self {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        Self { files, seen: Vec::new(), interval: INTERVAL }
    }

    /// Sets the time between two polls.
    #[must_use]
    pub const fn looking_every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Reads the files, and remembers their content for [`Self::changed`].
    pub fn read(&mut self) -> Contents {
        let contents = self.files.iter().map(|file| read(file)).collect::<Contents>();
        self.seen = contents.iter().map(fingerprint).collect();
        contents
    }

    /// Reads the files. Returns them if the content of one, or the error of reading it, has
    /// changed since the last poll.
    pub fn changed(&mut self) -> Option<Contents> {
        let before = self.seen.clone();
        self.read();
        if self.seen == before {
            return None;
        }
        thread::sleep(SETTLE);
        let contents = self.read();
        (self.seen != before).then_some(contents)
    }
}

/// Returns the content of `file`. Opens only regular files: a pipe would block, and is empty
/// after the first read.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    fs::read(file)
}

/// Returns a hash of the content, which is not kept because it may hold passwords and keys.
fn fingerprint(content: &io::Result<Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.as_ref().map_err(io::Error::kind).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Returns the content of the one file of `watch`, which has changed.
    fn changed(watch: &mut Watch) -> Vec<u8> {
        watch.changed().unwrap().remove(0).unwrap()
    }

    #[test]
    fn mounted_secret_changes_with_its_symlink() {
        let mount = tempfile::tempdir().unwrap();
        let root = mount.path();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("secret.yaml"), text).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/secret.yaml", root.join("secret.yaml")).unwrap();
        let mut watch = Watch::new(&[&root.join("secret.yaml")]);
        assert_eq!(watch.read()[0].as_ref().unwrap(), b"one");
        assert!(watch.changed().is_none());
        symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        assert_eq!(changed(&mut watch), b"two");
        assert!(watch.changed().is_none());
    }

    #[test]
    fn created_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a/b/c");
        let mut watch = Watch::new(&[&file]);
        assert_eq!(watch.read()[0].as_ref().unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        assert!(watch.changed().is_none());
        fs::write(&file, "one").unwrap();
        assert_eq!(changed(&mut watch), b"one");
    }

    #[test]
    fn symlink_to_itself_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        symlink("loop", root.join("loop")).unwrap();
        let mut watch = Watch::new(&[&root.join("loop/file")]);
        assert!(watch.read()[0].is_err());
        assert!(watch.changed().is_none());
    }

    #[test]
    fn relative_symlink_out_of_its_directory_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("a")).unwrap();
        fs::create_dir_all(root.join("b")).unwrap();
        fs::write(root.join("b/file"), "one").unwrap();
        symlink("../b/file", root.join("a/file")).unwrap();
        let mut watch = Watch::new(&[&root.join("a/file")]);
        assert_eq!(watch.read()[0].as_ref().unwrap(), b"one");
        fs::write(root.join("b/file"), "two").unwrap();
        assert_eq!(changed(&mut watch), b"two");
    }

    #[test]
    fn change_of_same_length_and_time_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new(&[&file]);
        watch.read();
        let time = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "two").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        assert_eq!(changed(&mut watch), b"two");
    }

    #[test]
    fn pipe_is_not_opened() {
        assert_eq!(read(Path::new("/dev/null")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
