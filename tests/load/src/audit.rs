//! The requests of one user, by the audit log of the API server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::Outcome;

/// An audit log with the requests of every user.
pub struct AuditLog {
    policy: PathBuf,
    log: PathBuf,
}

/// Requests of one user.
#[derive(Debug, Default)]
pub struct Requests {
    /// Watches that are open at the end.
    pub watches: usize,
    /// Objects that were read.
    pub reads: usize,
    /// All other requests, apart from [`Self::renewals`].
    pub writes: usize,
    /// Requests for a Lease: reads and renewals.
    pub renewals: usize,
}

impl AuditLog {
    /// Returns a log in `directory`.
    ///
    /// # Errors
    /// Returns an error if the policy cannot be written.
    pub fn new(directory: &Path) -> Outcome<Self> {
        let policy = directory.join("audit-policy.json");
        let rules = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy",
            "omitStages": ["RequestReceived"], "rules": [{ "level": "Metadata" }],
        });
        fs::write(&policy, rules.to_string())?;
        Ok(Self { policy, log: directory.join("audit.log") })
    }

    /// Returns the flags of an API server that writes it.
    pub fn flags(&self) -> Vec<String> {
        vec![
            format!("--audit-policy-file={}", self.policy.display()),
            format!("--audit-log-path={}", self.log.display()),
        ]
    }

    /// Returns the number of lines so far.
    ///
    /// # Errors
    /// Returns an error if the log cannot be read.
    pub fn lines(&self) -> Outcome<usize> {
        Ok(fs::read_to_string(&self.log)?.lines().count())
    }

    /// Returns the requests by `user`, impersonated or not, since line `first`.
    ///
    /// # Errors
    /// Returns an error if the log cannot be read.
    pub fn requests(&self, user: &str, first: usize) -> Outcome<Requests> {
        let mut requests = Requests::default();
        let text = fs::read_to_string(&self.log)?;
        // The last line may be incomplete.
        let events = text.lines().skip(first).filter_map(|it| serde_json::from_str(it).ok());
        let is_of_user = |it: &Value| {
            ["impersonatedUser", "user"].iter().any(|field| it[field]["username"] == user)
        };
        for event in events.filter(is_of_user) {
            let is_lease = event["objectRef"]["resource"] == "leases";
            match (event["verb"].as_str(), event["stage"].as_str()) {
                (Some("watch"), Some("ResponseStarted")) => requests.watches += 1,
                (Some("watch"), _) => requests.watches = requests.watches.saturating_sub(1),
                _ if is_lease => requests.renewals += 1,
                (Some("get" | "list"), _) => requests.reads += 1,
                _ => requests.writes += 1,
            }
        }
        Ok(requests)
    }
}
