//! The chart, installed and removed.

use anyhow::{Context, Result};
use chart_tests::{Failure, Revision, Wait};

use crate::{registry::BASE_PATH, stage::Stage};

/// The page's complete values as printed.
pub const PAGE_VALUES: &str = include_str!("../../examples/values.yaml");
/// The page's complete Secret as printed.
pub const PAGE_SECRET: &str = include_str!("../../examples/registry-secret.yaml");

/// Which release, and where.
#[derive(Clone, Copy, Debug)]
pub struct Install<'a> {
    /// Its namespace, made if it is not there.
    pub namespace: &'a str,
    /// Its name.
    pub release: &'a str,
    /// Values files, the later ones on top.
    pub values: &'a [&'a str],
}

impl Default for Install<'_> {
    /// The page's: its complete values, the release `image-swap` in `default`.
    fn default() -> Self {
        Self { namespace: "default", release: "image-swap", values: &[PAGE_VALUES] }
    }
}

impl Stage {
    /// `helm upgrade --install`, and waits until every replica answers and the
    /// API server reaches one.
    ///
    /// # Errors
    /// What Helm says; what does not come up.
    pub fn install(&self, install: &Install<'_>) -> Result<()> {
        self.upgrade(install, Wait::Hooks)?;
        self.wait_ready(install)?;
        self.wait_policy(install, "Fail")
    }

    /// `helm upgrade --install`; what the release's history says of it.
    ///
    /// # Errors
    /// Helm refused, or the API server did.
    pub fn upgrade(&self, install: &Install<'_>, wait: Wait) -> Result<Revision, Failure> {
        let Install { namespace, release, values } = *install;
        self.live.upgrade_install(namespace, release, &self.chart, values, wait)
    }

    /// The page's command, in [`folder`](Self::folder): typed, where there is a
    /// `helm` on PATH; else said to Helm's own code. What the history says of it.
    ///
    /// # Errors
    /// What Helm says.
    pub fn follow_the_page(&self) -> Result<Revision> {
        let page = Install::default();
        self.write("values.yaml", PAGE_VALUES)?;
        if self.shell("command -v helm").is_err() {
            return Ok(self.upgrade(&page, Wait::Hooks)?);
        }
        self.shell("helm upgrade --values values.yaml image-swap image-swap-*.tgz --install")?;
        let last = self.live.history(page.namespace, page.release)?.pop();
        last.context("expected a history, found none")
    }

    /// `helm uninstall`; see [`wait_nothing_left`](Self::wait_nothing_left).
    ///
    /// # Errors
    /// What Helm says.
    pub fn uninstall(&self, install: &Install<'_>) -> Result<(), Failure> {
        self.live.uninstall(install.namespace, install.release, Wait::Hooks)
    }

    /// The page's Secret, created or replaced, with other mirrors: `SOURCE` for
    /// each, below the base path.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn declare(&self, sources: &[&str]) -> Result<()> {
        let mirrors: Vec<String> = sources
            .iter()
            .map(|source| format!("{source}::harbor.example.org/{BASE_PATH}/{source}"))
            .collect();
        let page = "  MIRROR_REGISTRIES: ";
        let lines = PAGE_SECRET.lines().map(|line| {
            let is_it = line.starts_with(page);
            if is_it { format!("{page}{}\n", mirrors.join(",")) } else { format!("{line}\n") }
        });
        self.apply(&lines.collect::<String>()).map(drop)
    }
}
