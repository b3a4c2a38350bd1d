//! Debian packages: unpacked without the machine's own apt, or installed by it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Progress;
use crate::{error::Error, run};

/// A Debian release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// Debian 12.
    Bookworm,
    /// Debian 12, with packages for arm64 beside those for amd64.
    BookwormArm64,
    /// Debian 13.
    Trixie,
}

/// The number of suites.
pub(super) const SUITES: usize = 3;

impl Suite {
    /// Returns the code name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bookworm | Self::BookwormArm64 => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// Returns the processors whose packages are listed; an empty list is that of the
    /// machine.
    const fn architectures(self) -> &'static [&'static str] {
        match self {
            Self::Bookworm | Self::Trixie => &[],
            Self::BookwormArm64 => &["amd64", "arm64"],
        }
    }

    /// Returns lines for `sources.list`. The keys are those of the package
    /// debian-archive-keyring.
    fn sources(self) -> String {
        let archives: &[&str] = match self {
            Self::Bookworm | Self::BookwormArm64 => &[
                "deb http://deb.debian.org/debian bookworm main",
                "deb http://deb.debian.org/debian bookworm-updates main",
                "deb http://deb.debian.org/debian-security bookworm-security main",
            ],
            Self::Trixie => &[
                "deb http://deb.debian.org/debian trixie main",
                "deb http://deb.debian.org/debian-security trixie-security main",
            ],
        };
        let signed = " [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ";
        archives.iter().map(|line| line.replacen(' ', signed, 1) + "\n").collect()
    }
}

/// apt with private sources, lists, archives and list of installed packages. It uses the
/// machine's proxy settings.
#[derive(Debug)]
pub(super) struct Apt {
    options: Vec<String>,
    log: PathBuf,
}

impl Apt {
    /// Makes the directories under `dir` and reads the package lists of `suite`.
    pub(super) fn new(
        suite: Suite,
        dir: &Path,
        log: &Path,
        progress: Progress<'_>,
    ) -> Result<Self, Error> {
        for name in ["lists/partial", "archives/partial"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(Error::io(format!("make {}", path.display())))?;
        }
        let sources = dir.join("sources.list");
        fs::write(&sources, suite.sources())
            .map_err(Error::io(format!("write {}", sources.display())))?;
        // Without installed packages: of one that is newer than the suite's, apt would
        // search for the installed version.
        let status = dir.join("status");
        fs::write(&status, "").map_err(Error::io(format!("write {}", status.display())))?;
        let shown = dir.display();
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            format!("Dir::State::lists={shown}/lists"),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={shown}"),
            format!("Dir::Cache::archives={shown}/archives"),
            // The user _apt cannot write into these folders.
            "APT::Sandbox::User=root".into(),
            LOCK.into(),
        ]
        .into_iter()
        .chain(suite.architectures().iter().map(|name| format!("APT::Architectures::={name}")))
        .flat_map(|option| ["-o".into(), option])
        .collect();
        let apt = Self { options, log: log.to_owned() };
        let mut update = apt.command();
        update.arg("update");
        let step = format!("reading Debian's package lists ({})", suite.name());
        run::step(progress, &step, &mut update, log)?;
        Ok(apt)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.args(&self.options).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Downloads a binary package into the empty folder `dir`, and returns the file's path.
    /// `package` is a name, or a name and a processor: `libc6:arm64`.
    pub(super) fn download(
        &self,
        package: &str,
        dir: &Path,
        progress: Progress<'_>,
    ) -> Result<PathBuf, Error> {
        let mut command = self.command();
        command.args(["download", package]).current_dir(dir);
        run::step(progress, &format!("downloading {package}"), &mut command, &self.log)?;
        let name = package.split_once(':').map_or(package, |(name, _)| name);
        only_file(dir, &format!("{name}_"), ".deb")
    }
}

/// Waits up to ten minutes for another process that holds apt's lock.
const LOCK: &str = "DPkg::Lock::Timeout=600";

/// Installs a package on the machine, from the machine's own sources. Needs root.
pub(super) fn install(package: &str, log: &Path, progress: Progress<'_>) -> Result<(), Error> {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-o", LOCK]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run::step(progress, "reading the machine's package lists", &mut apt(&["update"]), log)?;
    let mut install = apt(&["install", "--yes", "--no-install-recommends", package]);
    run::step(progress, &format!("installing {package}"), &mut install, log)
}

/// Unpacks a binary package's files under `root`.
pub(super) fn unpack(package: &Path, root: &Path) -> Result<(), Error> {
    run::output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(root)).map(drop)
}

fn only_file(dir: &Path, prefix: &str, suffix: &str) -> Result<PathBuf, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io(format!("read {}", dir.display())))?;
    let found = entries.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix))
    });
    found.ok_or_else(|| {
        Error::unavailable(
            format!("{prefix}*{suffix}, which apt-get should have downloaded"),
            "look at what Debian's mirror offers",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::Suite;

    #[test]
    fn sources_name_their_signing_keys() {
        for suite in [Suite::Bookworm, Suite::BookwormArm64, Suite::Trixie] {
            for line in suite.sources().lines() {
                assert!(line.contains(" [signed-by=/usr/share/keyrings/"), "{line}");
                assert!(line.contains(suite.name()), "{line}");
            }
        }
    }
}
