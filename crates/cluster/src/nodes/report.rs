//! The report about nodes, and Events about their rollout.

use std::collections::BTreeMap;

use image_swap_core::{
    control::rollout::NodeReport,
    status::{
        AgentsStatus, NodeDeclaration, PendingNodes,
        node_mirror::{APPLIED, FALSE, reason},
    },
};
use kube::runtime::events::EventType;

use super::view::NodeView;
use crate::events::Events;

/// Number of nodes that a report names for each reason.
const NAMED: usize = 10;
/// Reason of a node whose agent has not finished.
const UPDATING: &str = "Updating";
/// Reason of a node whose runtime the controller restarts when its turn comes.
const RESTART_PENDING: &str = "RestartPending";

/// Returns the report. `trial` is the progress of the trial, `failed` is true if it failed.
pub(super) fn status(
    views: &[NodeView<'_>],
    declaration: &NodeDeclaration,
    trial: &str,
    failed: bool,
    is_late: impl Fn(&str) -> bool,
) -> AgentsStatus {
    let verified = declaration.verified.as_ref().map_or(0, |it| it.number);
    let revision = declaration.trial.as_ref().map_or(verified, |it| it.revision.number);
    let mut applied = 0;
    let mut pending: BTreeMap<String, PendingNodes> = BTreeMap::new();
    for view in views {
        if view.is_reporting() && view.report() == NodeReport::Applied(revision) {
            applied += 1;
            continue;
        }
        let (reason, message, command) =
            cause(view, declaration, revision, trial, failed, &is_late);
        let new =
            || PendingNodes { reason: reason.clone(), message, command, ..PendingNodes::default() };
        let row = pending.entry(reason.clone()).or_insert_with(new);
        row.count += 1;
        if row.nodes.len() < NAMED {
            row.nodes.push(view.name.to_owned());
        }
    }
    AgentsStatus {
        nodes: views.len(),
        applied,
        revision,
        verified_revision: verified,
        trial: trial.to_owned(),
        failed,
        pending: pending.into_values().collect(),
        ..AgentsStatus::default()
    }
}

/// Returns reason, message and command of a node without the wanted declaration.
fn cause(
    view: &NodeView<'_>,
    declaration: &NodeDeclaration,
    revision: u64,
    trial: &str,
    failed: bool,
    is_late: &impl Fn(&str) -> bool,
) -> (String, String, Option<String>) {
    let bare = |reason: &str, message: &str| (reason.to_owned(), message.to_owned(), None);
    if let Some(judged) = view.agentless(is_late(view.name)) {
        return bare(judged.reason, &judged.message);
    }
    let command = view.reported().and_then(|status| status.command.clone());
    if let NodeReport::Unable { reason, .. } = view.report() {
        let restart = view.needs_restart().filter(|_| reason == reason::RELOAD_REQUIRED);
        let message = restart.or(view.condition(APPLIED)).map(|it| it.message.clone());
        return (reason, message.unwrap_or_default(), command);
    }
    let is_assigned = declaration.for_node(view.name).is_some_and(|it| it.number == revision);
    match view.condition(APPLIED) {
        _ if !is_assigned && failed => bare(reason::TRIAL_FAILED, trial),
        _ if !is_assigned => bare(reason::ON_TRIAL, trial),
        Some(applied) if view.waits_for_restart() => bare(RESTART_PENDING, &applied.message),
        Some(applied) if applied.status == FALSE => {
            (applied.reason.clone(), applied.message.clone(), command)
        }
        Some(_) => bare(UPDATING, "the agent has not applied the declaration yet"),
        None => bare(UPDATING, "the agent has not reported yet"),
    }
}

/// Publishes the steps of the rollout between two states of the Secret.
pub(super) async fn publish(events: &Events, before: &NodeDeclaration, after: &NodeDeclaration) {
    let number = |it: &NodeDeclaration| it.trial.as_ref().map(|it| it.revision.number);
    let trial = after.trial.as_ref().filter(|it| !it.nodes.is_empty());
    let was_trying = before.trial.as_ref().is_some_and(|it| !it.nodes.is_empty());
    if let Some(trial) = trial.filter(|_| !was_trying || number(before) != number(after)) {
        let nodes = trial.nodes.iter().map(|it| &**it).collect::<Vec<_>>().join(", ");
        let note = format!("declaration {} is on trial on {nodes}", trial.revision.number);
        events.emit(EventType::Normal, "TrialStarted", &note).await;
    }
    if let Some(failed) = after.failed.as_ref().filter(|_| before.failed != after.failed) {
        let note = format!(
            "the trial of declaration {} failed, and the verified declaration stays in force: {}",
            failed.number, failed.reason
        );
        events.emit(EventType::Warning, "TrialFailed", &note).await;
    }
    let verified = |it: &NodeDeclaration| it.verified.as_ref().map(|it| it.number);
    if let Some(number) = verified(after).filter(|_| verified(before) != verified(after)) {
        let note = format!("every node gets declaration {number}");
        events.emit(EventType::Normal, "NodesVerified", &note).await;
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::{
        control::effective::Effective,
        mirror::Fallback,
        status::{
            NodeRevision, NodeTrial,
            node_mirror::{TRUE, UNKNOWN},
        },
    };

    use super::*;
    use crate::nodes::{
        fixture::{facts, mirror},
        observed::{AgentRow, NodeRow, NodeTables, RestartTables},
        view::views,
    };

    fn add(tables: &mut NodeTables, name: &str, (status, reason): (&str, &str), applied: u64) {
        let facts = facts("containerd://2.4.1");
        let (uid, boot_id) = (name.into(), "b".into());
        let node = NodeRow { uid, boot_id, facts, ..NodeRow::default() };
        tables.nodes.set(name, node);
        tables.agents.set(name, AgentRow { node: name.into(), is_ready: true });
        let mut row = mirror(name, (status, reason), applied);
        row.status.command = (reason == reason::RESTART_REQUIRED).then(|| "restart it".to_owned());
        tables.mirrors.set(name, row);
    }

    fn revision(number: u64) -> NodeRevision {
        NodeRevision { number, effective: Effective::none(), fallback: Fallback::Upstream }
    }

    #[test]
    fn pending_nodes_are_grouped_by_reason() {
        let mut tables = NodeTables::default();
        add(&mut tables, "a", (TRUE, reason::IN_PLACE), 3);
        add(&mut tables, "b", (TRUE, reason::IN_PLACE), 2);
        add(&mut tables, "c", (FALSE, reason::RESTART_REQUIRED), 0);
        add(&mut tables, "d", (FALSE, reason::RESTART_REQUIRED), 0);
        add(&mut tables, "e", (UNKNOWN, reason::AGENT_NOT_RUNNING), 3);
        tables.agents.remove("e");
        let mut declaration =
            NodeDeclaration { verified: Some(revision(3)), ..NodeDeclaration::default() };
        let rows = |tables: &NodeTables, declaration: &NodeDeclaration, failed| {
            let found = status(&views(tables), declaration, "t", failed, |name| name == "e");
            let rows = found.pending.iter().map(|it| format!("{}: {:?}", it.reason, it.nodes));
            (found.applied, found.revision, rows.collect::<Vec<_>>(), found.pending)
        };
        let (applied, number, found, pending) = rows(&tables, &declaration, false);
        assert_eq!((applied, number), (1, 3));
        let agent = r#"AgentNotRunning: ["e"]"#;
        let restart = r#"RestartRequired: ["c", "d"]"#;
        assert_eq!(found, [agent, restart, r#"Updating: ["b"]"#]);
        assert_eq!(
            (&*pending[1].message, pending[1].command.as_deref()),
            ("m", Some("restart it"))
        );
        tables.restarts = Some(RestartTables::default());
        let (_, _, found, pending) = rows(&tables, &declaration, false);
        assert_eq!(found, [agent, r#"RestartPending: ["c", "d"]"#, r#"Updating: ["b"]"#]);
        assert!(!pending[1].needs_administrator() && pending[1].command.is_none());
        tables.restarts = None;
        let nodes = ["b".to_owned()].into();
        declaration.trial = Some(NodeTrial { revision: revision(4), nodes });
        let (applied, number, found, _) = rows(&tables, &declaration, false);
        assert_eq!((applied, number), (0, 4));
        assert_eq!(found, [agent, r#"OnTrial: ["a"]"#, restart, r#"Updating: ["b"]"#]);
        declaration.trial = Some(NodeTrial { revision: revision(4), nodes: [].into() });
        let (_, _, found, _) = rows(&tables, &declaration, true);
        assert_eq!(found, [agent, restart, r#"TrialFailed: ["a", "b"]"#]);
    }
}
