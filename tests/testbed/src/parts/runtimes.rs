//! Container runtimes of several ages: Debian's packages, and builds of Go modules.

use std::path::{Path, PathBuf};

use super::{apt::Suite, build::Builder, machine::Machine, module};
use crate::{error::Error, run};

/// Programs that pull images, without a kubelet or a container.
#[derive(Clone, Debug)]
pub struct RuntimeParts {
    /// containerd 1.6, 1.7, 2.1 and 2.4, oldest first.
    pub containerds: Vec<Containerd>,
    /// podman.
    pub podman: Program,
    /// skopeo.
    pub skopeo: Program,
    /// strace, which kills a process at a chosen system call.
    pub strace: Program,
}

/// A containerd of one version.
#[derive(Clone, Debug)]
pub struct Containerd {
    /// The program; `ctr` is beside it.
    pub program: PathBuf,
    /// The version of the package or Go module, such as `1.6.20`, without prefix and suffix.
    pub version: String,
}

/// A program, and the directories of shared libraries that the machine may lack.
#[derive(Clone, Debug)]
pub struct Program {
    /// The path of the program.
    pub path: PathBuf,
    /// A value for `LD_LIBRARY_PATH`.
    pub libraries: String,
}

/// The shared libraries of podman and skopeo that a minimal machine may lack.
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
    pub(super) fn find<'a>(
        machine: &Machine<'a>,
        builder: Option<&Builder<'_, 'a>>,
    ) -> Result<Self, Error> {
        let mut containerds = Vec::new();
        for suite in [Suite::Bookworm, Suite::Trixie] {
            let entry = format!("containerd-{}", suite.name());
            let root = machine.packages(suite, &entry, &["containerd"])?;
            // The entry is named after part, version and hash.
            let entry = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let version = entry.split('_').nth(1).unwrap_or_default();
            containerds.push(Containerd::at(root.join("usr/bin/containerd"), version)?);
        }
        for module in [module::containerd_2_1(), module::containerd()] {
            let folder = machine.built_folder(builder, &module)?;
            containerds.push(Containerd::at(folder.join("containerd"), &module.version()?)?);
        }
        let packages = [&LIBRARIES[..], &["conmon", "skopeo", "podman"]].concat();
        let root = machine.packages(Suite::Bookworm, "podman", &packages)?;
        let strace = machine.packages(Suite::Bookworm, "strace", &["libunwind8", "strace"])?;
        Ok(Self {
            containerds,
            podman: Program::below(&root, "usr/bin/podman"),
            skopeo: Program::below(&root, "usr/bin/skopeo"),
            strace: Program::below(&strace, "usr/bin/strace"),
        })
    }

    /// Returns the containerd of a minor version, such as `2.4`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no containerd has that version.
    pub fn containerd(&self, minor: &str) -> Result<&Containerd, Error> {
        let found = self.containerds.iter().find(|containerd| containerd.minor() == minor);
        found.ok_or_else(|| {
            let part = format!("containerd {minor}");
            Error::unavailable(part, "compare the versions in tests/testbed/modules and of Debian")
        })
    }
}

impl Containerd {
    fn at(program: PathBuf, version: &str) -> Result<Self, Error> {
        let digits = number(version).ok_or_else(|| {
            Error::unavailable(
                format!("the version of {}, found {version:?}", program.display()),
                "report this line",
            )
        })?;
        Ok(Self { version: digits.to_owned(), program })
    }

    /// Returns the configuration that `containerd config default` prints.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn default_configuration(&self) -> Result<String, Error> {
        run::output(std::process::Command::new(&self.program).args(["config", "default"]))
    }

    /// Returns the minor version, such as `1.6`.
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

/// Returns the number in a version, such as `1.6.20` for `1.6.20~ds1-1+deb12u1`.
fn number(version: &str) -> Option<&str> {
    let version = version.trim_start_matches('v');
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    Some(&version[..end]).filter(|number| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn number_lacks_prefix_and_suffix() {
        for (version, expected) in [
            ("1.6.20~ds1-1+deb12u3", "1.6.20"),
            ("1.7.24~ds1-6+deb13u1", "1.7.24"),
            ("v2.4.2", "2.4.2"),
            ("2.1.9+unknown", "2.1.9"),
        ] {
            assert_eq!(number(version), Some(expected));
        }
        assert_eq!(number("unknown"), None);
    }
}
