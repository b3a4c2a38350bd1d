//! A node with all that is known of it.

use std::collections::HashSet;

use image_swap_core::{
    control::{
        node_runtime::{NodeSupport, support},
        rollout::NodeReport,
    },
    status::{
        NodeCondition, NodeMirrorStatus,
        node_mirror::{APPLIED, FALSE, NEEDS_RESTART, TRUE, UNKNOWN, reason},
    },
};

use super::observed::{MirrorRow, NodeRow, NodeTables};

/// Reasons of nodes that cannot put a declaration in force.
const UNABLE: [&str; 5] = [
    reason::RESTART_REQUIRED,
    reason::RESTART_FAILED,
    reason::REFUSED,
    reason::APPLY_FAILED,
    reason::INVALID_DECLARATION,
];
/// The version of a runtime that does not answer the kubelet.
const UNKNOWN_VERSION: &str = "://Unknown";
const NO_AGENT: &str = "no agent has reported for the present Node and boot; look at the pods of \
                        the agent's DaemonSet on this node";

/// A node that has a host.
pub(super) struct NodeView<'f> {
    pub(super) name: &'f str,
    pub(super) row: &'f NodeRow,
    /// The `NodeMirror` that the present Node owns; `None` without one.
    pub(super) mirror: Option<&'f MirrorRow>,
    pub(super) support: NodeSupport,
    /// True if the pod of its agent is ready.
    pub(super) has_agent: bool,
    /// True if the controller restarts runtimes.
    pub(super) is_rolling: bool,
}

/// A condition without its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Returns all nodes that have a host, by name.
pub(super) fn views<'f>(tables: &'f NodeTables) -> Vec<NodeView<'f>> {
    let ready = tables.agents.iter().filter(|(_, agent)| agent.is_ready);
    let ready: HashSet<&str> = ready.map(|(_, agent)| &*agent.node).collect();
    let view = |(name, row): (&'f str, &'f NodeRow)| {
        let NodeRow { facts, uid, .. } = row;
        let mirror = tables.mirrors.get(name).filter(|it| it.owner == *uid);
        let (support, has_agent) = (support(facts), ready.contains(name));
        (support != NodeSupport::Excluded).then_some(NodeView {
            name,
            row,
            mirror,
            support,
            has_agent,
            is_rolling: tables.restarts.is_some(),
        })
    };
    tables.nodes.iter().filter_map(view).collect()
}

impl NodeView<'_> {
    /// Returns true if an agent can configure the runtime.
    pub(super) const fn has_support(&self) -> bool {
        matches!(self.support, NodeSupport::Agent(_))
    }

    /// Returns the name and version of the runtime, such as `containerd://2.4.1`. The kubelet
    /// reports [`UNKNOWN_VERSION`] while the runtime does not answer: the last version counts then.
    pub(super) fn runtime_version(&self) -> &str {
        let reported = &*self.row.facts.container_runtime_version;
        let last = self.mirror.map(|it| &*it.spec.container_runtime_version);
        last.filter(|it| reported.ends_with(UNKNOWN_VERSION) && !it.is_empty()).unwrap_or(reported)
    }

    /// Returns the status of the agent's last report; `None` unless it is about the present Node
    /// and boot.
    pub(super) fn reported(&self) -> Option<&NodeMirrorStatus> {
        let NodeRow { uid, boot_id, .. } = self.row;
        let status = self.mirror.map(|it| &it.status);
        status.filter(|it| it.node_uid == *uid && it.boot_id == *boot_id && !uid.is_empty())
    }

    /// Returns the agent's condition of the type `kind`.
    pub(super) fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.reported()?.condition(kind)
    }

    /// Returns true if a ready agent has reported about the present Node and boot.
    pub(super) fn is_reporting(&self) -> bool {
        self.has_agent && self.reported().is_some()
    }

    /// Returns the report of the agent.
    pub(super) fn report(&self) -> NodeReport {
        let Some(status) = self.reported() else { return NodeReport::Silent };
        let Some(applied) = status.condition(APPLIED) else { return NodeReport::Silent };
        let unable = |reason: &str| NodeReport::Unable {
            number: status.wanted_revision.unwrap_or(0),
            reason: reason.to_owned(),
        };
        match &*applied.status {
            _ if applied.reason == reason::AGENT_NOT_RUNNING => NodeReport::Silent,
            TRUE if self.needs_restart().is_some() => unable(reason::RELOAD_REQUIRED),
            TRUE => status.applied_revision.map_or(NodeReport::Pending, NodeReport::Applied),
            FALSE if self.waits_for_restart() => NodeReport::Pending,
            FALSE if UNABLE.contains(&&*applied.reason) => unable(&applied.reason),
            _ => NodeReport::Pending,
        }
    }

    /// Returns true if the controller restarts the runtime of the node when its turn comes.
    pub(super) fn waits_for_restart(&self) -> bool {
        let is_required =
            |it: &NodeCondition| it.status == FALSE && it.reason == reason::RESTART_REQUIRED;
        self.is_rolling && self.condition(APPLIED).is_some_and(is_required)
    }

    /// Returns the condition that a runtime has to be restarted or reloaded, if it does.
    pub(super) fn needs_restart(&self) -> Option<&NodeCondition> {
        self.condition(NEEDS_RESTART).filter(|it| it.status == TRUE)
    }

    /// Returns the condition Applied of a node without a reporting agent; `None` if its agent
    /// reports, or may still do so. `is_late` is true after the deadline.
    pub(super) fn agentless(&self, is_late: bool) -> Option<Judgement> {
        let (status, reason, message) = match &self.support {
            NodeSupport::Managed(how) => (FALSE, reason::MANAGED, how.as_str()),
            NodeSupport::Unsupported(how) => (FALSE, reason::UNSUPPORTED, how.as_str()),
            NodeSupport::Agent(_) if is_late && !self.is_reporting() => {
                (UNKNOWN, reason::AGENT_NOT_RUNNING, NO_AGENT)
            }
            NodeSupport::Agent(_) | NodeSupport::Excluded => return None,
        };
        Some(Judgement { kind: APPLIED, status, reason, message: message.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::control::node_runtime::NodeFacts;

    use super::*;
    use crate::nodes::{fixture::facts, observed::RestartTables};

    /// Returns the report of a node with these conditions: type, status and reason.
    fn report(uid: &str, boot: &str, conditions: &[(&str, &str, &str)]) -> NodeReport {
        report_of(NodeTables::default(), uid, boot, conditions)
    }

    fn report_of(
        mut tables: NodeTables,
        uid: &str,
        boot: &str,
        conditions: &[(&str, &str, &str)],
    ) -> NodeReport {
        let conditions = conditions.iter().map(|(kind, status, reason)| NodeCondition {
            kind: (*kind).into(),
            status: (*status).into(),
            reason: (*reason).into(),
            ..NodeCondition::default()
        });
        let status = NodeMirrorStatus {
            node_uid: uid.into(),
            boot_id: boot.into(),
            wanted_revision: Some(4),
            applied_revision: Some(3),
            conditions: conditions.collect(),
            ..NodeMirrorStatus::default()
        };
        let facts = facts("containerd://2.4.1");
        let (uid, boot_id) = ("1".into(), "b".into());
        let node = NodeRow { uid, boot_id, facts, ..NodeRow::default() };
        tables.nodes.set("a", node);
        let owner = "1".into();
        tables.mirrors.set("a", MirrorRow { owner, status, ..MirrorRow::default() });
        views(&tables)[0].report()
    }

    #[test]
    fn silent_runtime_keeps_its_last_version() {
        let version = |reported: &str, last: &str| {
            let facts = NodeFacts {
                os: "linux".into(),
                container_runtime_version: reported.into(),
                ..NodeFacts::default()
            };
            let mut tables = NodeTables::default();
            tables.nodes.set("a", NodeRow { uid: "1".into(), facts, ..NodeRow::default() });
            let mut mirror = MirrorRow { owner: "1".into(), ..MirrorRow::default() };
            mirror.spec.container_runtime_version = last.into();
            tables.mirrors.set("a", mirror);
            views(&tables)[0].runtime_version().to_owned()
        };
        let (old, new, silent) =
            ("containerd://1.6.20", "containerd://2.4.1", "containerd://Unknown");
        assert_eq!(version(new, old), new);
        assert_eq!(version(silent, old), old);
        assert_eq!(version(silent, ""), silent);
    }

    #[test]
    fn report_counts_for_the_present_node_and_boot() {
        let applied = [(APPLIED, TRUE, reason::IN_PLACE)];
        assert_eq!(report("1", "b", &applied), NodeReport::Applied(3));
        assert_eq!(report("2", "b", &applied), NodeReport::Silent);
        assert_eq!(report("1", "c", &applied), NodeReport::Silent);
        assert_eq!(report("1", "b", &[]), NodeReport::Silent);
    }

    #[test]
    fn unable_node_differs_from_a_slow_one() {
        let unable = |reason: &str| NodeReport::Unable { number: 4, reason: reason.into() };
        for reason in UNABLE {
            assert_eq!(report("1", "b", &[(APPLIED, FALSE, reason)]), unable(reason));
        }
        let reload = (NEEDS_RESTART, TRUE, reason::RELOAD_REQUIRED);
        let reload = report("1", "b", &[(APPLIED, TRUE, reason::IN_PLACE), reload]);
        assert_eq!(reload, unable(reason::RELOAD_REQUIRED));
        for reason in [reason::NO_DECLARATION, reason::RESTORED] {
            assert_eq!(report("1", "b", &[(APPLIED, FALSE, reason)]), NodeReport::Pending);
        }
        // The controller restarts the runtime when its turn comes.
        let rolling = |reason: &str| {
            let restarts = Some(RestartTables::default());
            let tables = NodeTables { restarts, ..NodeTables::default() };
            report_of(tables, "1", "b", &[(APPLIED, FALSE, reason)])
        };
        assert_eq!(rolling(reason::RESTART_REQUIRED), NodeReport::Pending);
        assert_eq!(rolling(reason::RESTART_FAILED), unable(reason::RESTART_FAILED));
        let gone = [(APPLIED, UNKNOWN, reason::AGENT_NOT_RUNNING)];
        assert_eq!(report("1", "b", &gone), NodeReport::Silent);
    }
}
