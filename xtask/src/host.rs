//! The machine a task runs on: where things are, and who is watching.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use image_swap_testbed::Cache;

/// The machine, as far as tasks ask.
#[derive(Debug)]
pub(crate) struct Host {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// What outlives a checkout: tools and downloads.
    pub(crate) cache: PathBuf,
    /// Whether nothing may be left out.
    pub(crate) ci: bool,
    /// Whether standard output shows colours.
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

    /// `text` in `style` (SGR parameters), where styles are shown.
    pub(crate) fn styled(&self, style: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The program `name` on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Prints a line at once, so that it stands before what children print.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Where standard output is closed nobody is there to be told.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_nowhere_is_not_on_path() {
        assert!(on_path("cargo").is_some());
        assert_eq!(on_path("image-swap-there-is-no-such-program"), None);
    }
}
