//! The machine that a task runs on.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use image_swap_testbed::Cache;

/// The machine, as far as tasks depend on it.
#[derive(Debug)]
pub(crate) struct Host {
    /// The folder of the checkout.
    pub(crate) root: PathBuf,
    /// The folder of tools and parts, outside the checkout.
    pub(crate) cache: PathBuf,
    /// True if a missing part or tool is a failure: `CI=true`.
    pub(crate) ci: bool,
    /// True if standard output shows colours.
    pub(crate) colour: bool,
}

impl Host {
    pub(crate) fn new() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("expected xtask below the checkout")?;
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Self {
            root: root.to_owned(),
            cache: Cache::open()?.path().to_owned(),
            ci: env::var_os("CI").is_some_and(|value| value == "true"),
            colour: io::stdout().is_terminal() && !no_colour,
        })
    }

    /// Returns `text` in `style` (SGR parameters) if the output shows styles.
    pub(crate) fn styled(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Finds the program `name` on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Prints a line at once, ahead of the output of later child processes.
pub(crate) fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    // A closed standard output does not stop a task.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_program_is_not_on_path() {
        assert!(on_path("cargo").is_some());
        assert_eq!(on_path("image-swap-there-is-no-such-program"), None);
    }
}
