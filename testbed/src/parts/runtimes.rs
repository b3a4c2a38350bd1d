//! Container runtimes of several ages, from Debian's packages.

use std::path::{Path, PathBuf};

use super::{apt::Suite, machine::Machine};
use crate::{error::Error, run};

/// What pulls images, without a kubelet or a container.
#[derive(Clone, Debug)]
pub struct RuntimeParts {
    /// containerd 1.6, 1.7 and 2, oldest first.
    pub containerds: Vec<Containerd>,
    /// podman.
    pub podman: Program,
    /// skopeo.
    pub skopeo: Program,
    /// strace, which ends a process at the system call of one's choice.
    pub strace: Program,
}

/// One containerd.
#[derive(Clone, Debug)]
pub struct Containerd {
    /// The program; `ctr` is beside it.
    pub program: PathBuf,
    /// What it says of itself: `1.6.20`, without what Debian adds.
    pub version: String,
}

/// A program and where its shared libraries are, if the machine has none.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// A value for `LD_LIBRARY_PATH`.
    pub libraries: String,
}

/// podman and skopeo with all that a minimal machine may lack.
const LIBRARIES: [&str; 8] = [
    "libgpgme11",
    "libassuan0",
    "libgpg-error0",
    "libsubid4",
    "libdevmapper1.02.1",
    "libseccomp2",
    "libglib2.0-0",
    "libsystemd0",
];

impl RuntimeParts {
    pub(super) fn find(machine: &Machine<'_>) -> Result<Self, Error> {
        let mut containerds = Vec::new();
        for suite in [Suite::Bookworm, Suite::Trixie, Suite::Sid] {
            let entry = format!("containerd-{}", suite.name());
            let root = machine.packages_of(suite, &entry, &["containerd"])?;
            containerds.push(Containerd::at(root.join("usr/bin/containerd"))?);
        }
        let packages = [&LIBRARIES[..], &["conmon", "skopeo", "podman"]].concat();
        let root = machine.packages_of(Suite::Bookworm, "podman", &packages)?;
        let strace = machine.packages_of(Suite::Bookworm, "strace", &["libunwind8", "strace"])?;
        Ok(Self {
            containerds,
            podman: Program::below(&root, "usr/bin/podman"),
            skopeo: Program::below(&root, "usr/bin/skopeo"),
            strace: Program::below(&strace, "usr/bin/strace"),
        })
    }
}

impl Containerd {
    fn at(program: PathBuf) -> Result<Self, Error> {
        let said = run::output(std::process::Command::new(&program).arg("--version"))?;
        let version = version(&said).ok_or_else(|| {
            Error::unavailable(
                format!("the version of {}, which says {said}", program.display()),
                "report what it says",
            )
        })?;
        Ok(Self { version: version.to_owned(), program })
    }

    /// `1.6`: what decides how it behaves.
    pub fn minor(&self) -> &str {
        let dot = self.version.match_indices('.').nth(1);
        dot.map_or(self.version.as_str(), |(at, _)| &self.version[..at])
    }
}

impl Program {
    fn below(root: &Path, path: &str) -> Self {
        let arch = std::env::consts::ARCH;
        let libraries = ["usr/lib", "lib"]
            .map(|lib| root.join(lib).join(format!("{arch}-linux-gnu")).display().to_string());
        Self { path: root.join(path), libraries: libraries.join(":") }
    }
}

/// `containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1`.
fn version(said: &str) -> Option<&str> {
    let word = said.split_whitespace().nth(2)?.trim_start_matches('v');
    let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    Some(&word[..end]).filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_is_what_upstream_counts() {
        for (said, expected) in [
            ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+b1", "1.6.20"),
            ("containerd github.com/containerd/containerd/v2 2.1.9+unknown ", "2.1.9"),
            ("containerd github.com/containerd/containerd v1.7.27 05044ec0", "1.7.27"),
        ] {
            assert_eq!(version(said), Some(expected));
        }
        assert_eq!(version("containerd"), None);
    }
}
