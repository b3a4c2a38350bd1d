//! Installing, changing and removing the chart.

use anyhow::{Context, Result};
use image_swap_testbed::{Credentials, HelmError, HelmRevision, HelmWait, Live};

use crate::helm_cluster::HelmCluster;

/// The complete values file of Palette's documentation.
pub const PALETTE_VALUES: &str = include_str!("../../testkit/palette/values.yaml");
/// The complete Secret of Palette's documentation.
pub const PALETTE_SECRET: &str = include_str!("../../testkit/palette/registry-secret.yaml");

/// A release and its values.
#[derive(Clone, Copy, Debug)]
pub struct Install<'a> {
    /// The namespace; Helm makes it if it is missing.
    pub namespace: &'a str,
    /// The name of the release.
    pub release: &'a str,
    /// Values files; later ones win.
    pub values: &'a [&'a str],
}

impl Default for Install<'_> {
    /// Returns the release of Palette's documentation: `image-swap` in `default`, with its complete
    /// values.
    fn default() -> Self {
        Self { namespace: "default", release: "image-swap", values: &[PALETTE_VALUES] }
    }
}

impl<'a> Install<'a> {
    /// Returns the release of Palette's documentation with other values.
    pub fn with(values: &'a [&'a str]) -> Self {
        Self { values, ..Self::default() }
    }
}

impl HelmCluster {
    /// Runs `helm upgrade --install`, and waits until every replica is ready and the API
    /// server has reached one.
    ///
    /// # Errors
    /// Helm fails, or a wait ends without success.
    pub fn install(&self, install: &Install<'_>) -> Result<()> {
        self.install_by(self.helm(), install)
    }

    /// Installs as [`install`](Self::install) does, by another Helm.
    ///
    /// # Errors
    /// Helm reports an error, or the release does not become ready.
    pub fn install_by(&self, helm: &Live, install: &Install<'_>) -> Result<()> {
        let Install { namespace, release, values } = *install;
        helm.upgrade_install(namespace, release, &self.chart, values, HelmWait::Hooks)?;
        self.wait_ready(install)?;
        self.wait_policy(install, "Fail")
    }

    /// Runs `helm upgrade --install`, and returns the last revision of the history.
    ///
    /// # Errors
    /// Helm or the API server refuses.
    pub fn upgrade(
        &self,
        install: &Install<'_>,
        wait: HelmWait,
    ) -> Result<HelmRevision, HelmError> {
        let Install { namespace, release, values } = *install;
        self.helm().upgrade_install(namespace, release, &self.chart, values, wait)
    }

    /// Types the command of Palette's documentation in [`folder`](Self::folder), and returns the last
    /// revision of the history.
    ///
    /// # Errors
    /// Helm fails.
    pub fn follow_palette(&self) -> Result<HelmRevision> {
        let palette = Install::default();
        self.write("values.yaml", PALETTE_VALUES)?;
        self.shell("helm upgrade --values values.yaml image-swap image-swap-*.tgz --install")?;
        let last = self.helm().history(palette.namespace, palette.release)?.pop();
        last.context("expected a history, found none")
    }

    /// Runs `helm uninstall`; see [`wait_nothing_left`](Self::wait_nothing_left).
    ///
    /// # Errors
    /// Helm or the API server refuses.
    pub fn uninstall(&self, install: &Install<'_>) -> Result<(), HelmError> {
        self.helm().uninstall(install.namespace, install.release, HelmWait::Hooks)
    }

    /// Creates or replaces Palette's Secret with a user and a password.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn declare_credentials(&self, credentials: &Credentials) -> Result<()> {
        let Credentials { username, password } = credentials;
        let secret = PALETTE_SECRET
            .replace("USERNAME: \"\"", &format!("USERNAME: {username:?}"))
            .replace("PASSWORD: \"\"", &format!("PASSWORD: {password:?}"));
        self.apply(&secret).map(drop)
    }
}
