//! A directory as the root of a file system, as chroot(2) would have it.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The limit of symbolic links in a path, equal to the kernel's (`path_resolution(7)`,
/// `MAXSYMLINKS`).
const LINKS: usize = 40;

/// The root directory of the observed host: `/`, or the mount point of a host's `/`.
///
/// Links and `..` in a path never lead outside the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// Returns the root at the directory `path`.
    ///
    /// # Errors
    /// If it is not a directory, or cannot be read.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if !path.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self(path))
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns true if it is the root of the system.
    pub fn is_whole(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Returns `path`, which is below this root, as the host sees it.
    pub fn seen(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(&self.0).unwrap_or(path))
    }

    /// Returns the location of the host's `path` with every symbolic link followed. A component
    /// that does not exist is appended as it is.
    ///
    /// # Errors
    /// If the symbolic links form a loop, or a directory cannot be read.
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let mut found = PathBuf::new();
        let mut rest: VecDeque<OsString> = names(path.as_ref());
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                found.pop();
                continue;
            }
            let here = self.0.join(&found).join(&name);
            match fs::symlink_metadata(&here) {
                Ok(data) if data.is_symlink() => {
                    links += 1;
                    if links > LINKS {
                        return Err(io::Error::other(format!(
                            "{}: the symbolic links form a loop",
                            path.as_ref().display()
                        )));
                    }
                    let target = fs::read_link(&here)?;
                    if target.is_absolute() {
                        found = PathBuf::new();
                    }
                    for name in names(&target).into_iter().rev() {
                        rest.push_front(name);
                    }
                }
                Ok(_) => found.push(name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => found.push(name),
                Err(error) => return Err(error),
            }
        }
        Ok(self.0.join(found))
    }
}

/// Returns the names in a path; `..` stands for the parent directory.
fn names(path: &Path) -> VecDeque<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path()).unwrap();
        let below = |path: &str| root.path().join(path);
        fs::create_dir_all(below("etc/real")).unwrap();
        symlink("/etc/real", below("etc/absolute")).unwrap();
        symlink("../../../../../etc/real", below("etc/up")).unwrap();
        symlink("real", below("etc/relative")).unwrap();
        symlink("circle", below("etc/circle")).unwrap();
        for path in ["/etc/absolute/f", "/etc/up/f", "etc/relative/f", "/../etc/real/./f"] {
            assert_eq!(root.resolve(path).unwrap(), below("etc/real/f"), "{path}");
        }
        assert_eq!(root.resolve("/not/there/../f").unwrap(), below("not/f"));
        assert!(root.resolve("/etc/circle").is_err());
        assert!(!root.is_whole());
        assert!(Root::new(Path::new("/")).unwrap().is_whole());
    }
}
