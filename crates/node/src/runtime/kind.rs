//! The container runtimes of hosts.

use std::{fmt, str::FromStr};

use crate::files::HostPath;

/// A program that pulls images on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum ContainerRuntime {
    /// containerd with a config.toml of its own.
    Containerd,
    /// CRI-O.
    Crio,
    /// The containerd of k3s.
    K3s,
    /// The containerd of RKE2.
    Rke2,
    /// dockerd.
    Docker,
    /// podman, buildah and skopeo.
    Podman,
}

/// All supported runtimes.
pub const RUNTIMES: [ContainerRuntime; 6] = [
    ContainerRuntime::Containerd,
    ContainerRuntime::Crio,
    ContainerRuntime::K3s,
    ContainerRuntime::Rke2,
    ContainerRuntime::Docker,
    ContainerRuntime::Podman,
];

impl ContainerRuntime {
    /// Returns the name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "crio",
            Self::K3s => "k3s",
            Self::Rke2 => "rke2",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Returns the default path of the one configuration file that plans may edit or add. The
    /// service of a host may name another.
    pub fn config(self) -> HostPath {
        HostPath::new(match self {
            Self::Containerd => "/etc/containerd/config.toml",
            Self::Crio | Self::Podman => "/etc/containers/registries.conf.d/50-image-swap.conf",
            Self::K3s => "/etc/rancher/k3s/registries.yaml",
            Self::Rke2 => "/etc/rancher/rke2/registries.yaml",
            Self::Docker => "/etc/docker/daemon.json",
        })
    }
}

impl FromStr for ContainerRuntime {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = RUNTIMES.into_iter().find(|runtime| runtime.name() == name);
        found.ok_or_else(|| format!("expected one of {}", RUNTIMES.map(Self::name).join(", ")))
    }
}

impl fmt::Display for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `major.minor.patch` of a runtime. A suffix (`~ds1`, `-rc.1`, `+k3s1`) is ignored: it does not
/// affect how mirrors are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
    /// The patch version.
    pub patch: u32,
}

impl Version {
    /// Returns the version of these three numbers.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Parses the first version in the output of a runtime, such as `containerd
    /// github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1` or `v2.1.9`.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(|c: char| c.is_whitespace() || c == ',').find_map(Self::of_word)
    }

    fn of_word(word: &str) -> Option<Self> {
        let mut numbers = word.strip_prefix('v').unwrap_or(word).splitn(3, '.');
        let mut next = || numbers.next();
        let (major, minor, patch) = (next()?, next()?, next()?);
        let end = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
        Some(Self::new(major.parse().ok()?, minor.parse().ok()?, patch[..end].parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_found_in_output_of_runtimes() {
        for (text, version) in [
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1", "1.6.20"),
            ("containerd github.com/containerd/containerd/v2 v2.1.9 abcdef", "2.1.9"),
            ("Docker version 20.10.24+dfsg1, build 297e128", "20.10.24"),
            ("crio version 1.30.0", "1.30.0"),
            ("2.2.0-rc.1", "2.2.0"),
        ] {
            assert_eq!(
                Version::parse(text).map(|found| found.to_string()).as_deref(),
                Some(version)
            );
        }
        assert_eq!(Version::parse("no version"), None);
        assert!(Version::new(1, 7, 24) < Version::new(2, 0, 0));
    }
}
