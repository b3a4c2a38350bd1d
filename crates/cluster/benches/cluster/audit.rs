//! The requests of one user, by the audit log of the API server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image_swap_load::Outcome;
use serde_json::{Value, json};

/// An audit log with the requests of every user.
pub(crate) struct AuditLog {
    policy: PathBuf,
    log: PathBuf,
}

/// Requests of one user.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    /// Watches that are open at the end.
    pub(crate) watches: usize,
    /// Objects that were read.
    pub(crate) reads: usize,
    /// All other requests.
    pub(crate) writes: usize,
}

impl AuditLog {
    /// Returns a log in `directory`.
    pub(crate) fn new(directory: &Path) -> Outcome<Self> {
        let policy = directory.join("audit-policy.json");
        let rules = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"], "rules": [{ "level": "Metadata" }],
        });
        fs::write(&policy, rules.to_string())?;
        Ok(Self { policy, log: directory.join("audit.log") })
    }

    /// Returns the flags of an API server that writes it.
    pub(crate) fn flags(&self) -> Vec<String> {
        vec![
            format!("--audit-policy-file={}", self.policy.display()),
            format!("--audit-log-path={}", self.log.display()),
        ]
    }

    /// Returns the number of lines so far.
    pub(crate) fn len(&self) -> Outcome<usize> {
        Ok(fs::read_to_string(&self.log)?.lines().count())
    }

    /// Returns the requests by the impersonated `user` since line `first`.
    pub(crate) fn requests(&self, user: &str, first: usize) -> Outcome<Requests> {
        let mut requests = Requests::default();
        let text = fs::read_to_string(&self.log)?;
        // The last line may be incomplete.
        let events = text.lines().skip(first).filter_map(|it| serde_json::from_str(it).ok());
        for event in events.filter(|it: &Value| it["impersonatedUser"]["username"] == user) {
            match (event["verb"].as_str(), event["stage"].as_str()) {
                (Some("watch"), Some("ResponseStarted")) => requests.watches += 1,
                (Some("watch"), _) => requests.watches = requests.watches.saturating_sub(1),
                (Some("get" | "list"), _) => requests.reads += 1,
                _ => requests.writes += 1,
            }
        }
        Ok(requests)
    }
}
