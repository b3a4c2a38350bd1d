//! The nodes in the report of the controller.

use serde::{Deserialize, Serialize};

use super::node_mirror::reason;

/// The agents of nodes; see [`super::NodeMirrorStatus`] for one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentsStatus {
    /// Number of nodes.
    pub nodes: usize,
    /// Number of nodes on which the wanted declaration is in force.
    pub applied: usize,
    /// Number of the declaration that nodes are to have in the end; 0 before the first.
    pub revision: u64,
    /// Number of the verified declaration, which every node not on trial has; 0 before the
    /// first.
    pub verified_revision: u64,
    /// Progress of the trial, or the reason why none runs; empty if none is needed.
    pub trial: String,
    /// True if the last trial failed: [`Self::trial`] has the reason.
    pub failed: bool,
    /// Progress of restarts, or the reason why they stopped, with the remedy; empty if no node
    /// needs one.
    pub restarts: String,
    /// True if no node is restarted until an administrator acts.
    pub restarts_stopped: bool,
    /// Numbers of nodes by the reason why the declaration is not in force.
    pub pending: Vec<PendingNodes>,
    /// True if all of this is about the declaration in the same report. The controller of nodes
    /// reports a change of the declaration later.
    pub current: bool,
}

/// Nodes on which the wanted declaration is not in force, for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PendingNodes {
    /// Reason of the condition `Applied`.
    pub reason: String,
    /// Number of nodes.
    pub count: usize,
    /// Names of nodes; 10 at most.
    pub nodes: Vec<String>,
    /// Message of the first node.
    pub message: String,
    /// Command for an administrator; `None` if there is none.
    pub command: Option<String>,
}

/// Reasons that no process resolves by itself.
const OF_ADMINISTRATORS: [&str; 9] = [
    reason::RESTART_REQUIRED,
    reason::RESTART_FAILED,
    reason::RELOAD_REQUIRED,
    reason::REFUSED,
    reason::INVALID_DECLARATION,
    reason::APPLY_FAILED,
    reason::AGENT_NOT_RUNNING,
    reason::MANAGED,
    reason::UNSUPPORTED,
];

impl PendingNodes {
    /// Returns true if the nodes stay as they are until an administrator acts.
    pub fn needs_administrator(&self) -> bool {
        OF_ADMINISTRATORS.contains(&self.reason.as_str())
    }

    /// Returns the problem and its remedy, for people.
    pub fn message(&self) -> String {
        let Self { reason, count, nodes, message, command } = self;
        let place = match nodes.first() {
            Some(node) if *count == 1 => node.clone(),
            Some(node) => format!("{count} nodes, such as {node}"),
            None => format!("{count} nodes"),
        };
        let cause = if message.is_empty() { reason } else { message };
        let remedy = command.as_ref().map(|it| format!("; run `{it}` there")).unwrap_or_default();
        format!("the declaration is not in force on {place}: {cause}{remedy}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_name_is_kept() {
        let status = AgentsStatus {
            nodes: 3,
            applied: 1,
            revision: 5,
            verified_revision: 4,
            trial: "waiting".into(),
            failed: true,
            restarts: "a restarts".into(),
            restarts_stopped: true,
            pending: vec![PendingNodes {
                reason: "Refused".into(),
                count: 2,
                nodes: vec!["a".into()],
                message: "m".into(),
                command: Some("c".into()),
            }],
            current: true,
        };
        let written = json!({
            "nodes": 3, "applied": 1, "revision": 5, "verifiedRevision": 4, "trial": "waiting",
            "failed": true, "restarts": "a restarts", "restartsStopped": true,
            "pending": [
                { "reason": "Refused", "count": 2, "nodes": ["a"], "message": "m", "command": "c" },
            ],
            "current": true,
        });
        assert_eq!(serde_json::to_value(&status).unwrap(), written);
        assert_eq!(serde_json::from_value::<AgentsStatus>(written).unwrap(), status);
    }

    #[test]
    fn pending_nodes_are_described_with_their_remedy() {
        let mut pending = PendingNodes {
            reason: reason::RESTART_REQUIRED.into(),
            count: 12,
            nodes: vec!["a".into(), "b".into()],
            message: "config.toml does not set config_path".into(),
            command: Some("image-swap node apply".into()),
        };
        let expected = "the declaration is not in force on 12 nodes, such as a: \
                        config.toml does not set config_path; run `image-swap node apply` there";
        assert_eq!(pending.message(), expected);
        assert!(pending.needs_administrator());
        pending = PendingNodes {
            reason: reason::NO_DECLARATION.into(),
            count: 1,
            nodes: vec!["a".into()],
            ..PendingNodes::default()
        };
        assert_eq!(pending.message(), "the declaration is not in force on a: NoDeclaration");
        assert!(!pending.needs_administrator());
    }
}
