//! Debian packages, got without touching the machine's own apt.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Progress;
use crate::{error::Error, run};

/// Debian 12, whose packages are known to work together. `[signed-by]` is where
/// the package debian-archive-keyring puts the keys.
const SOURCES: &str = "\
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-updates main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
";

/// apt with sources, lists and archives of its own; it reads the machine's
/// proxy settings all the same.
#[derive(Debug)]
pub(super) struct Apt {
    options: Vec<String>,
    log: PathBuf,
}

impl Apt {
    /// Makes the directories under `dir` and reads the package lists.
    pub(super) fn new(dir: &Path, log: &Path, progress: Progress<'_>) -> Result<Self, Error> {
        for name in ["lists/partial", "archives/partial"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(Error::io(format!("make {}", path.display())))?;
        }
        let sources = dir.join("sources.list");
        fs::write(&sources, SOURCES).map_err(Error::io(format!("write {}", sources.display())))?;
        let shown = dir.display();
        let options = [
            format!("Dir::Etc::sourcelist={}", sources.display()),
            "Dir::Etc::sourceparts=-".into(),
            format!("Dir::State::lists={shown}/lists"),
            format!("Dir::Cache={shown}"),
            format!("Dir::Cache::archives={shown}/archives"),
            // The user _apt cannot write into a directory of ours.
            "APT::Sandbox::User=root".into(),
        ]
        .into_iter()
        .flat_map(|option| ["-o".into(), option])
        .collect();
        let apt = Self { options, log: log.to_owned() };
        let mut update = apt.command();
        update.arg("update");
        run::step(progress, "reading Debian's package lists", &mut update, log)?;
        Ok(apt)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("apt-get");
        command.args(&self.options).env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Downloads a binary package into `dir` and gives the file's path.
    pub(super) fn download(
        &self,
        package: &str,
        dir: &Path,
        progress: Progress<'_>,
    ) -> Result<PathBuf, Error> {
        let mut command = self.command();
        command.args(["download", package]).current_dir(dir);
        run::step(progress, &format!("downloading {package}"), &mut command, &self.log)?;
        only_file(dir, &format!("{package}_"), ".deb")
    }

    /// Downloads a source package's files into `dir` and gives the path of the
    /// upstream archive.
    pub(super) fn source(
        &self,
        package: &str,
        dir: &Path,
        progress: Progress<'_>,
    ) -> Result<PathBuf, Error> {
        let mut command = self.command();
        command.args(["source", "--download-only", package]).current_dir(dir);
        let step = format!("downloading the source of {package}");
        run::step(progress, &step, &mut command, &self.log)?;
        only_file(dir, &format!("{package}_"), ".orig.tar.gz")
    }

    /// Installs packages on the machine; needs root.
    pub(super) fn install(&self, packages: &[&str], progress: Progress<'_>) -> Result<(), Error> {
        let mut command = self.command();
        command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
        let step = format!("installing {}", packages.join(", "));
        run::step(progress, &step, &mut command, &self.log)
    }
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
