//! Helm against a live API server.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::helm::{Failure, Helm, field};

/// Seconds that Helm waits for hooks, and for pods where it is told to.
const PATIENCE: u64 = 300;

/// Helm as somebody whose kubeconfig names a cluster.
#[derive(Debug)]
pub struct Live {
    helm: Helm,
    kubeconfig: PathBuf,
}

/// What Helm waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Hooks alone, as it does unless told otherwise.
    Hooks,
    /// Everything to be ready, too: `--wait`.
    Ready,
}

/// One entry of a release's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number: 1 is the installation.
    pub number: u64,
    /// `deployed`, `superseded`, `failed`, …
    pub status: String,
}

impl Live {
    /// Helm for the cluster of `kubeconfig`.
    pub fn new(helm: Helm, kubeconfig: &Path) -> Self {
        Self { helm, kubeconfig: kubeconfig.to_owned() }
    }

    /// Helm without a cluster.
    pub const fn helm(&self) -> &Helm {
        &self.helm
    }

    /// `helm upgrade RELEASE CHART --install --create-namespace --namespace …`
    /// with the values files `values`, the later ones on top. What the history says
    /// of it.
    ///
    /// # Errors
    /// Helm refused, or the API server did, or what was waited for did not come.
    pub fn upgrade_install(
        &self,
        namespace: &str,
        release: &str,
        chart: &Path,
        values: &[&str],
        wait: Wait,
    ) -> Result<Revision, Failure> {
        let mut request = self.request("upgrade_install", namespace, release, wait);
        request["chart"] = json!(chart);
        request["values"] = json!(values);
        self.helm.ask(&request)?;
        let last = self.history(namespace, release)?.pop();
        last.ok_or_else(|| Failure::Refused("expected a history, found none".to_owned()))
    }

    /// `helm rollback RELEASE [REVISION]`; to the one before without a revision.
    ///
    /// # Errors
    /// As [`upgrade_install`](Self::upgrade_install).
    pub fn rollback(
        &self,
        namespace: &str,
        release: &str,
        revision: Option<u64>,
        wait: Wait,
    ) -> Result<(), Failure> {
        let mut request = self.request("rollback", namespace, release, wait);
        request["revision"] = json!(revision);
        self.helm.ask(&request).map(drop)
    }

    /// `helm uninstall RELEASE`, hooks included.
    ///
    /// # Errors
    /// As [`upgrade_install`](Self::upgrade_install).
    pub fn uninstall(&self, namespace: &str, release: &str, wait: Wait) -> Result<(), Failure> {
        self.helm.ask(&self.request("uninstall", namespace, release, wait)).map(drop)
    }

    /// `helm history RELEASE`, oldest first; empty if there is no such release.
    ///
    /// # Errors
    /// As [`upgrade_install`](Self::upgrade_install).
    pub fn history(&self, namespace: &str, release: &str) -> Result<Vec<Revision>, Failure> {
        let answer = self.helm.ask(&self.request("history", namespace, release, Wait::Hooks))?;
        let revisions: Vec<Value> = field(&answer, "revisions")?;
        Ok(revisions
            .iter()
            .map(|revision| Revision {
                number: revision["revision"].as_u64().unwrap_or_default(),
                status: revision["status"].as_str().unwrap_or_default().to_owned(),
            })
            .collect())
    }

    fn request(&self, verb: &str, namespace: &str, release: &str, wait: Wait) -> Value {
        let wait = match wait {
            Wait::Hooks => "hookOnly",
            Wait::Ready => "watcher",
        };
        json!({
            "verb": verb, "kubeconfig": self.kubeconfig, "namespace": namespace,
            "release": release, "wait": wait, "timeout": PATIENCE,
        })
    }
}
