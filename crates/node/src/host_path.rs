//! A path on the host.

use std::{borrow::Borrow, fmt};

use serde::{Deserialize, Serialize};

/// An absolute path as the host sees it: whoever does I/O puts its root in front.
///
/// Always begins with `/`, and has neither a `/` at its end nor two in a row.
/// Nothing of ours lies at a path that is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct HostPath(String);

impl HostPath {
    /// `path`, made absolute and without empty or `.` components.
    pub fn new(path: &str) -> Self {
        let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
        let path: String = parts.flat_map(|part| ["/", part]).collect();
        Self(if path.is_empty() { "/".to_owned() } else { path })
    }

    /// What is called `name` (which may have several components) below it.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self::new(&[&self.0, "/", name].concat())
    }

    /// The directory it is in; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        (!name.is_empty()).then(|| Self::new(parent))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// Whether it is `directory` or lies below it.
    pub fn is_below(&self, directory: &Self) -> bool {
        directory.0 == "/"
            || self
                .0
                .strip_prefix(&directory.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for HostPath {
    fn from(path: String) -> Self {
        Self::new(&path)
    }
}

impl From<&str> for HostPath {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<HostPath> for String {
    fn from(path: HostPath) -> Self {
        path.0
    }
}

impl Borrow<str> for HostPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_has_one_spelling() {
        for (text, path) in [("", "/"), ("/", "/"), ("a//b/", "/a/b"), ("/a/./b", "/a/b")] {
            assert_eq!(HostPath::new(text).as_str(), path);
        }
        let path = HostPath::new("/etc").join("containerd/certs.d");
        assert_eq!(path.as_str(), "/etc/containerd/certs.d");
        assert_eq!(path.parent(), Some("/etc/containerd".into()));
        assert_eq!(path.name(), "certs.d");
        assert_eq!(HostPath::new("/etc").parent(), Some("/".into()));
        assert_eq!(HostPath::new("/").parent(), None);
    }

    #[test]
    fn below_is_on_a_component_boundary() {
        let path = HostPath::new("/etc/containerd");
        assert!(
            path.is_below(&"/etc".into()) && path.is_below(&path) && path.is_below(&"/".into())
        );
        assert!(!HostPath::new("/etc2").is_below(&"/etc".into()));
    }
}
