//! Helm against a live API server.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Helm, HelmError, HelmMajor, error};
use crate::{error::Error, parts::HelmParts};

/// Limit of every wait of Helm: for hooks, and for pods with [`HelmWait::Ready`].
const TIMEOUT: &str = "--timeout=300s";

/// Helm for one cluster.
#[derive(Debug)]
pub struct Live {
    parts: HelmParts,
    helm: Helm,
    kubeconfig: PathBuf,
}

/// Condition that Helm waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelmWait {
    /// The end of hooks: the default of Helm.
    Hooks,
    /// The readiness of every object: `--wait`.
    Ready,
}

/// One entry of a release's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelmRevision {
    /// Number of the revision. 1 is the installation.
    pub number: u64,
    /// Status: `deployed`, `superseded`, `failed`, …
    pub status: String,
}

impl Live {
    /// Creates the folders of a Helm for the cluster of `kubeconfig`.
    ///
    /// # Errors
    /// The folders cannot be made.
    pub fn new(parts: &HelmParts, major: HelmMajor, kubeconfig: &Path) -> Result<Self, Error> {
        let helm = Helm::new(parts, major)?;
        Ok(Self { parts: parts.clone(), helm, kubeconfig: kubeconfig.to_owned() })
    }

    /// Returns another major version for the same cluster.
    ///
    /// # Errors
    /// The program of that major version is missing.
    pub fn other(&self, major: HelmMajor) -> Result<Self, Error> {
        Self::new(&self.parts, major, &self.kubeconfig)
    }

    /// Returns Helm without a cluster.
    pub const fn helm(&self) -> &Helm {
        &self.helm
    }

    /// Runs `helm upgrade RELEASE CHART --install --create-namespace` and returns the
    /// last revision of the release's history. Later `values` override earlier ones.
    ///
    /// # Errors
    /// Helm or the API server refuses, or the wait ends without success.
    pub fn upgrade_install(
        &self,
        namespace: &str,
        release: &str,
        chart: &Path,
        values: &[&str],
        wait: HelmWait,
    ) -> Result<HelmRevision, HelmError> {
        let mut command = self.command("upgrade", namespace, release, wait);
        command.arg(chart).args(["--install", "--create-namespace"]);
        let _files = self.helm.add_values(&mut command, values)?;
        self.helm.run(&mut command)?;
        let history = self.history(namespace, release)?;
        let last = history.last().cloned();
        last.ok_or_else(|| HelmError::unexpected("a history", &"none"))
    }

    /// Runs `helm rollback RELEASE`, to the previous revision if `revision` is `None`.
    ///
    /// # Errors
    /// Helm reports an error.
    pub fn rollback(
        &self,
        namespace: &str,
        release: &str,
        revision: Option<u64>,
        wait: HelmWait,
    ) -> Result<(), HelmError> {
        let mut command = self.command("rollback", namespace, release, wait);
        command.args(revision.map(|revision| revision.to_string()));
        self.helm.run(&mut command).map(drop)
    }

    /// Runs `helm uninstall RELEASE`, hooks included.
    ///
    /// # Errors
    /// Helm reports an error.
    pub fn uninstall(
        &self,
        namespace: &str,
        release: &str,
        wait: HelmWait,
    ) -> Result<(), HelmError> {
        self.helm.run(&mut self.command("uninstall", namespace, release, wait)).map(drop)
    }

    /// Runs `helm history RELEASE` and returns the revisions, oldest first. The result
    /// is empty if there is no such release.
    ///
    /// # Errors
    /// The API server does not respond.
    pub fn history(&self, namespace: &str, release: &str) -> Result<Vec<HelmRevision>, HelmError> {
        let arguments = ["history", release, "--namespace", namespace, "--output=json"];
        let mut command = self.helm.command(&arguments);
        let found = match self.helm.run(command.env("KUBECONFIG", &self.kubeconfig)) {
            Err(HelmError::Refused(message)) if message.ends_with("release: not found") => {
                return Ok(Vec::new());
            }
            found => error::json(&found?)?,
        };
        let revision = |found: &Value| {
            let number = found["revision"].as_u64()?;
            Some(HelmRevision { number, status: found["status"].as_str()?.to_owned() })
        };
        let revisions = found.as_array().and_then(|list| list.iter().map(revision).collect());
        revisions.ok_or_else(|| HelmError::unexpected("revisions", &found))
    }

    fn command(&self, verb: &str, namespace: &str, release: &str, wait: HelmWait) -> Command {
        let mut command = self.helm.command(&[verb, release, "--namespace", namespace, TIMEOUT]);
        command.env("KUBECONFIG", &self.kubeconfig);
        if wait == HelmWait::Ready {
            command.arg("--wait");
        }
        command
    }
}
