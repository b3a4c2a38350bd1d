//! Tools that Rust does not bring along, each of one pinned version.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    host::{Host, on_path, say},
    process,
};

/// A program from crates.io.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The crate's name, and the program's.
    name: &'static str,
    version: &'static str,
}

/// Licences, duplicates and sources of dependencies.
pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
/// libFuzzer, which needs a nightly toolchain.
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };
/// Changes to the code that a test should see.
pub(crate) const MUTANTS: Tool = Tool { name: "cargo-mutants", version: "27.1.0" };

impl Tool {
    /// The program: on PATH, else in the cache, else, in CI, installed there.
    ///
    /// # Errors
    /// Why it is not here, and how to get it.
    pub(crate) fn get(self, host: &Host) -> Result<PathBuf> {
        let Self { name, version } = self;
        if let Some(program) = on_path(name) {
            return Ok(program);
        }
        let folder = host.cache.join("tools").join(format!("{name}-{version}"));
        let program = folder.join("bin").join(name);
        if program.is_file() {
            return Ok(program);
        }
        if !host.ci {
            let how = format!("cargo install --locked {name}@{version}");
            bail!("{name} is not installed; get it with `{how}`");
        }
        say(&format!(
            "{name} {version} is neither on PATH nor in {}: building it from crates.io. \
             This takes some minutes, once.",
            host.cache.display()
        ));
        self.install(host, &folder)?;
        Ok(program)
    }

    fn install(self, host: &Host, folder: &Path) -> Result<()> {
        // Not in the checkout's target folder, and kept if it is interrupted.
        let build = host.cache.join("build").join(self.name);
        let mut install = process::cargo(host, &["install"]);
        install.args(["--locked", "--root"]).arg(folder).arg("--target-dir").arg(&build);
        process::run(install.arg(format!("{}@{}", self.name, self.version)))?;
        // It is of no more use, and large.
        fs::remove_dir_all(&build).with_context(|| format!("remove {}", build.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_ci_a_missing_tool_is_told_with_how_to_get_it() {
        let host =
            Host { root: "/".into(), cache: "/nonexistent".into(), ci: false, colour: false };
        let tool = Tool { name: "cargo-no-such-tool", version: "1.2.3" };
        let told = tool.get(&host).unwrap_err().to_string();
        assert!(told.contains("`cargo install --locked cargo-no-such-tool@1.2.3`"), "{told}");
    }
}
