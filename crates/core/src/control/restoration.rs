//! The restoration of nodes when agents are removed.

use crate::status::{
    NodeMirrorStatus,
    node_mirror::{APPLIED, FALSE, reason},
};

/// Reasons with which an agent reports that it cannot restore its host.
const STUCK: [&str; 3] = [reason::RESTART_REQUIRED, reason::REFUSED, reason::APPLY_FAILED];
/// Reasons of nodes that no agent configures.
const WITHOUT_AGENT: [&str; 2] = [reason::MANAGED, reason::UNSUPPORTED];

/// A Node that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresentNode<'a> {
    /// UID of the Node.
    pub uid: &'a str,
    /// Boot ID of its host.
    pub boot_id: &'a str,
}

/// The progress of the restoration of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restoration {
    /// The node is restored, was never configured, or is gone.
    Done,
    /// The agent has not reported the restoration, for this reason.
    Waiting(&'static str),
    /// The agent cannot restore the host.
    Stuck {
        /// Reason.
        reason: String,
        /// Command that an administrator runs on the host; `None` if the reason has a remedy.
        command: Option<String>,
    },
}

/// Returns the progress of a node with the status `status` of its `NodeMirror`, which the Node
/// with the UID `owner` owns. `node` is the present Node of that name; `None` without one.
pub fn restoration(
    owner: &str,
    status: &NodeMirrorStatus,
    node: Option<PresentNode<'_>>,
) -> Restoration {
    let Some(node) = node.filter(|node| node.uid == owner) else { return Restoration::Done };
    // A restored host has no number in force, whatever its last boot.
    let is_configured = status.node_uid == node.uid && status.applied_revision.is_some();
    let applied = status.condition(APPLIED);
    let reason = applied.map_or("", |it| &*it.reason);
    if !is_configured || WITHOUT_AGENT.contains(&reason) || reason == reason::RESTORED {
        return Restoration::Done;
    }
    if reason == reason::AGENT_NOT_RUNNING {
        return Restoration::Waiting("no agent runs on the node");
    }
    if status.boot_id != node.boot_id {
        return Restoration::Waiting("the agent has not reported since the node started");
    }
    // The request to restore has no number.
    match applied.filter(|it| it.status == FALSE && status.wanted_revision.is_none()) {
        Some(applied) if STUCK.contains(&reason) => {
            Restoration::Stuck { reason: applied.message.clone(), command: status.command.clone() }
        }
        _ => Restoration::Waiting("the agent has not reported the restoration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{
        NodeCondition,
        node_mirror::{TRUE, UNKNOWN},
    };

    const NODE: PresentNode<'static> = PresentNode { uid: "1", boot_id: "b" };

    /// Returns a status with these numbers wanted and applied, and the condition Applied.
    fn status(
        wanted: Option<u64>,
        applied: Option<u64>,
        (status, reason): (&str, &str),
    ) -> NodeMirrorStatus {
        NodeMirrorStatus {
            node_uid: "1".into(),
            boot_id: "b".into(),
            wanted_revision: wanted,
            applied_revision: applied,
            command: Some("c".into()),
            conditions: vec![NodeCondition {
                kind: APPLIED.into(),
                status: status.into(),
                reason: reason.into(),
                message: "m".into(),
                ..NodeCondition::default()
            }],
            ..NodeMirrorStatus::default()
        }
    }

    #[test]
    fn configured_node_waits_for_its_agent() {
        for (wanted, found) in [
            (Some(3), (TRUE, reason::IN_PLACE)),
            (Some(4), (FALSE, reason::REFUSED)),
            (Some(4), (FALSE, reason::RESTART_REQUIRED)),
            (None, (FALSE, reason::NO_DECLARATION)),
            (Some(3), (UNKNOWN, reason::AGENT_NOT_RUNNING)),
        ] {
            let progress = restoration("1", &status(wanted, Some(3), found), Some(NODE));
            assert!(matches!(progress, Restoration::Waiting(_)), "{found:?}: {progress:?}");
        }
    }

    #[test]
    fn restored_or_unchanged_node_is_done() {
        let configured = status(Some(3), Some(3), (TRUE, reason::IN_PLACE));
        for status in [
            status(None, None, (FALSE, reason::RESTORED)),
            // The agent ended meanwhile.
            status(None, None, (UNKNOWN, reason::AGENT_NOT_RUNNING)),
            status(Some(3), None, (FALSE, reason::RESTART_REQUIRED)),
            status(None, Some(3), (FALSE, reason::MANAGED)),
            status(None, Some(3), (FALSE, reason::UNSUPPORTED)),
            NodeMirrorStatus::default(),
            NodeMirrorStatus { node_uid: "0".into(), ..configured.clone() },
        ] {
            assert_eq!(restoration("1", &status, Some(NODE)), Restoration::Done, "{status:?}");
        }
        // The Node is gone or another one.
        assert_eq!(restoration("1", &configured, None), Restoration::Done);
        let other = PresentNode { uid: "2", ..NODE };
        assert_eq!(restoration("1", &configured, Some(other)), Restoration::Done);
    }

    #[test]
    fn refusal_counts_only_after_the_request() {
        for reason in STUCK {
            let found = status(None, Some(3), (FALSE, reason));
            let stuck = Restoration::Stuck { reason: "m".into(), command: Some("c".into()) };
            assert_eq!(restoration("1", &found, Some(NODE)), stuck);
            // Of an earlier boot.
            let rebooted = PresentNode { boot_id: "c", ..NODE };
            let progress = restoration("1", &found, Some(rebooted));
            assert!(matches!(progress, Restoration::Waiting(_)), "{progress:?}");
        }
    }
}
