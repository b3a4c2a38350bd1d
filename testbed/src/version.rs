//! Which Kubernetes a program is.

use std::{path::Path, process::Command};

use crate::{error::Error, run};

/// The minor version: 20 of `Kubernetes v1.20.2`. Flags come and go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minor(u32);

impl Minor {
    /// The last one with `--port` of the controllers (removed in 1.24).
    pub(crate) const INSECURE_PORT: Self = Self(23);
    /// The last one in which service accounts list token Secrets (until 1.24).
    pub(crate) const LISTED_TOKENS: Self = Self(23);
    /// The last one with `--container-runtime` of the kubelet (removed in 1.27).
    pub(crate) const CONTAINER_RUNTIME: Self = Self(26);
    /// The first one that has `containerRuntimeEndpoint` in the kubelet's configuration.
    pub(crate) const ENDPOINT_IN_CONFIGURATION: Self = Self(27);
    /// The first one with `localStorageCapacityIsolation` in the kubelet's configuration.
    pub(crate) const ISOLATION_IN_CONFIGURATION: Self = Self(25);
    /// The first one with `failCgroupV1` in the kubelet's configuration.
    pub(crate) const FAIL_CGROUP_V1: Self = Self(31);

    /// Asks `program --version`.
    pub(crate) fn of(program: &Path) -> Result<Self, Error> {
        let text = run::output(Command::new(program).arg("--version"))?;
        Self::parse(&text).ok_or_else(|| {
            Error::unavailable(
                format!(
                    "a version in what `{} --version` says: {}",
                    program.display(),
                    text.trim()
                ),
                "put a program of a released Kubernetes there",
            )
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("v1.")?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::Minor;

    #[test]
    fn the_minor_version_is_read_from_what_the_programs_print() {
        assert_eq!(Minor::parse("Kubernetes v1.20.2\n"), Some(Minor(20)));
        assert_eq!(Minor::parse("Kubernetes v1.36.0-beta.1\n"), Some(Minor(36)));
        assert_eq!(Minor::parse("Kubernetes 2\n"), None);
    }
}
