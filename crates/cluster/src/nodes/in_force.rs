//! The declaration that is in force on all nodes.

use image_swap_core::{
    control::{effective::Effective, rollout::NodeReport},
    status::{AgentsStatus, NodeDeclaration, PendingNodes},
};

use super::{report::status, view::NodeView};

/// The declaration that is in force on all nodes that count: agents can configure them, and the
/// scheduler may use them. It holds the password: it must not be printed.
#[derive(Default, PartialEq, Eq)]
pub(crate) struct NodesInForce {
    content: InForceContent,
    /// Declaration that nodes are to have in the end, as [`Effective::for_nodes`] returns it;
    /// `None` before the first.
    pub(crate) wanted: Option<Effective>,
    /// Reason why the wanted declaration is not in force on all nodes; empty if it is.
    pub(crate) reason: String,
    /// True if an administrator has to act on a node first.
    pub(crate) needs_administrator: bool,
}

#[derive(Default, PartialEq, Eq)]
enum InForceContent {
    /// Nodes differ, or their state is unknown.
    #[default]
    Mixed,
    /// Any declaration: an agent can configure no node of the cluster.
    Any,
    /// A declaration, as [`Effective::for_nodes`] returns it.
    One(Effective),
}

impl NodesInForce {
    /// Returns the declaration in force on `views`, all nodes that have a host. `has_nodes` is
    /// true if the cluster has a node of any kind, and `trial` is the progress of the trial.
    pub(super) fn of(
        mut views: Vec<NodeView<'_>>,
        has_nodes: bool,
        declaration: &NodeDeclaration,
        (trial, failed): (&str, bool),
        is_late: impl Fn(&str) -> bool,
    ) -> Self {
        let trial_revision = declaration.trial.as_ref().map(|it| &it.revision);
        let wanted = trial_revision.or(declaration.verified.as_ref());
        let wanted = wanted.map(|it| it.effective.clone());
        views.retain(NodeView::has_support);
        if views.is_empty() && has_nodes {
            let content = InForceContent::Any;
            return Self { content, wanted, ..Self::default() };
        }
        views.retain(|view| !view.row.is_cordoned);
        // A node on trial may be the only one, and goes back if the trial fails.
        let verified = declaration.verified.as_ref().filter(|_| !declaration.restore);
        let has_it =
            |number: u64| views.iter().all(|view| view.report() == NodeReport::Applied(number));
        let content = match verified.filter(|it| has_nodes && has_it(it.number)) {
            Some(verified) => InForceContent::One(verified.effective.clone()),
            None => InForceContent::Mixed,
        };
        let found = status(&views, declaration, trial, failed, is_late);
        let acting = found.pending.iter().find(|row| row.needs_administrator());
        Self {
            content,
            wanted,
            needs_administrator: acting.is_some(),
            reason: reason(&found, acting),
        }
    }

    /// Returns the same with the reason that restarts stopped, if that delays a declaration.
    pub(super) fn stopped(mut self, remedy: &str) -> Self {
        if !self.reason.is_empty() {
            (self.needs_administrator, self.reason) = (true, remedy.to_owned());
        }
        self
    }

    /// Returns true if `wanted`, as [`Effective::for_nodes`] returns it, is in force on all nodes.
    pub(crate) fn covers(&self, wanted: &Effective) -> bool {
        match &self.content {
            InForceContent::Mixed => false,
            InForceContent::Any => true,
            InForceContent::One(effective) => effective == wanted,
        }
    }
}

/// Returns the reason why the wanted declaration is not in force everywhere. `acting` are nodes on
/// which an administrator has to act.
fn reason(status: &AgentsStatus, acting: Option<&PendingNodes>) -> String {
    match acting.or(status.pending.first()) {
        None if status.nodes == 0 && status.trial.is_empty() => {
            "the cluster has no node".to_owned()
        }
        Some(row) if acting.is_some() || status.trial.is_empty() => row.message(),
        _ => status.trial.clone(),
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::{
        control::effective::Origin,
        mirror::Fallback,
        status::{
            NodeRevision, NodeTrial,
            node_mirror::{FALSE, TRUE, reason},
        },
    };

    use super::*;
    use crate::nodes::{
        fixture::{facts, mirror},
        observed::{AgentRow, NodeRow, NodeTables, RestartTables},
        view::views,
    };

    fn effective(origin: Origin) -> Effective {
        Effective { origin, ..Effective::none() }
    }

    fn revision(number: u64, origin: Origin) -> NodeRevision {
        NodeRevision { number, effective: effective(origin), fallback: Fallback::Upstream }
    }

    fn add(tables: &mut NodeTables, name: &str, runtime: &str, is_cordoned: bool) {
        let facts = facts(runtime);
        let (uid, boot_id) = (name.into(), "b".into());
        tables.nodes.set(name, NodeRow { uid, is_cordoned, boot_id, facts, ..NodeRow::default() });
        tables.agents.set(name, AgentRow { node: name.into(), is_ready: true });
    }

    fn report(tables: &mut NodeTables, name: &str, (status, reason): (&str, &str), applied: u64) {
        tables.mirrors.set(name, mirror(name, (status, reason), applied));
    }

    fn found(tables: &NodeTables, declaration: &NodeDeclaration, trial: &str) -> NodesInForce {
        let has_nodes = tables.nodes.iter().next().is_some();
        NodesInForce::of(views(tables), has_nodes, declaration, (trial, false), |_| false)
    }

    #[test]
    fn declaration_is_in_force_once_counted_nodes_report() {
        let (chart, wanted) = (effective(Origin::Chart), effective(Origin::RegistryInfo));
        let verified = Some(revision(3, Origin::RegistryInfo));
        let declaration = NodeDeclaration { verified, ..NodeDeclaration::default() };
        let applied = (TRUE, reason::IN_PLACE);
        let mut tables = NodeTables::default();
        let none = found(&tables, &declaration, "");
        assert!(!none.covers(&wanted) && none.reason == "the cluster has no node");
        // No agent can configure dockerd.
        add(&mut tables, "unsupported", "docker://28.0.0", false);
        assert!(found(&tables, &declaration, "").covers(&chart));
        add(&mut tables, "cordoned", "containerd://2.4.1", true);
        for name in ["a", "b"] {
            add(&mut tables, name, "containerd://2.4.1", false);
        }
        report(&mut tables, "a", applied, 3);
        report(&mut tables, "b", applied, 2);
        let waiting = found(&tables, &declaration, "");
        assert!(!waiting.covers(&wanted) && !waiting.needs_administrator);
        assert!(waiting.reason.contains(" on b: "), "{}", waiting.reason);
        report(&mut tables, "b", (FALSE, reason::RESTART_REQUIRED), 2);
        let waiting = found(&tables, &declaration, "t");
        assert!(!waiting.covers(&wanted) && waiting.needs_administrator);
        assert_eq!(waiting.reason, "the declaration is not in force on b: m");
        tables.restarts = Some(RestartTables::default());
        let waiting = found(&tables, &declaration, "");
        assert!(!waiting.covers(&wanted) && !waiting.needs_administrator);
        let stopped = waiting.stopped("the restart of b failed");
        assert!(stopped.needs_administrator && stopped.reason == "the restart of b failed");
        report(&mut tables, "b", applied, 3);
        let ready = found(&tables, &declaration, "").stopped("the restart of b failed");
        assert!(ready.covers(&wanted) && !ready.covers(&chart) && !ready.needs_administrator);
    }

    // guarantee: 3c
    #[test]
    fn unverified_declaration_is_not_in_force() {
        let wanted = effective(Origin::RegistryInfo);
        let nodes = ["a".to_owned()].into();
        let trial = Some(NodeTrial { revision: revision(3, Origin::RegistryInfo), nodes });
        let mut declaration = NodeDeclaration { trial, ..NodeDeclaration::default() };
        let mut tables = NodeTables::default();
        add(&mut tables, "a", "containerd://2.4.1", false);
        report(&mut tables, "a", (TRUE, reason::IN_PLACE), 3);
        let waiting = found(&tables, &declaration, "a pulls the trial image");
        assert!(!waiting.covers(&wanted));
        assert_eq!(waiting.reason, "a pulls the trial image");
        assert_eq!(waiting.wanted.as_ref(), Some(&wanted));
        // The agent reports the same number, whatever the fallback.
        declaration.verified = declaration.trial.take().map(|it| it.revision);
        assert!(found(&tables, &declaration, "").covers(&wanted));
        declaration.restore = true;
        assert!(!found(&tables, &declaration, "").covers(&wanted));
    }
}
