//! The startup taint, which keeps pods off a node until its runtime is configured.
//!
//! The administrator registers new nodes with the taint. The controller removes it from a node
//! that is configured, and adds it to one that cannot put the verified declaration in force. It
//! adds none once a third of all nodes have one, so that no declaration makes a cluster
//! unusable.

use crate::{
    control::{effective::Origin, node_runtime::NodeSupport, rollout::NodeReport},
    status::{NodeDeclaration, node_mirror::reason},
};

/// Reasons of a node that keeps its host as it is, and that no restart repairs.
const BROKEN: [&str; 3] = [reason::REFUSED, reason::APPLY_FAILED, reason::INVALID_DECLARATION];
/// Number of nodes for each that the controller may taint.
const SHARE: usize = 3;

/// The need of a node for the taint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintNeed {
    /// Pods may run: the declaration is in force, or the node needs none.
    Free,
    /// The agent has not finished, or an administrator has to act: the taint stays as it is.
    Undecided,
    /// The node cannot put the verified declaration in force.
    Broken,
}

/// Facts for the needs of all nodes.
#[derive(Clone, Copy, Debug)]
pub struct TaintRules<'a> {
    /// True if the administrator registers nodes with the taint.
    pub is_enabled: bool,
    /// True if agents restore their nodes.
    pub restores: bool,
    /// Declaration of the nodes.
    pub declaration: &'a NodeDeclaration,
}

impl TaintRules<'_> {
    /// Returns the need of the node `name`.
    pub fn need(&self, name: &str, support: &NodeSupport, report: &NodeReport) -> TaintNeed {
        let needs_agent = matches!(support, NodeSupport::Agent(_));
        if !self.is_enabled || self.restores || !needs_agent {
            return TaintNeed::Free;
        }
        let is_free = self.declaration.number_of(name).is_some_and(|(number, origin)| {
            origin == Origin::None || *report == NodeReport::Applied(number)
        });
        let verified = self.declaration.verified.as_ref().map(|it| it.number);
        match report {
            _ if is_free => TaintNeed::Free,
            NodeReport::Unable { number, reason }
                if verified == Some(*number) && BROKEN.contains(&&**reason) =>
            {
                TaintNeed::Broken
            }
            _ => TaintNeed::Undecided,
        }
    }
}

/// A node, as far as its taint depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaintNode<'a> {
    /// Name of the Node.
    pub name: &'a str,
    /// True if the Node has the taint.
    pub has_taint: bool,
    /// Need for the taint.
    pub need: TaintNeed,
}

/// A change of the taints of a Node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaintChange {
    /// The taint is added.
    Add,
    /// The taint is removed.
    Remove,
}

/// Returns the changes that are due, by the name of the Node. `nodes` are all of the cluster.
///
/// A taint that is being removed still counts: its removal may fail.
pub fn changes<'a>(nodes: &[TaintNode<'a>]) -> Vec<(&'a str, TaintChange)> {
    let limit = nodes.len() / SHARE;
    let mut tainted = nodes.iter().filter(|node| node.has_taint).count();
    let mut changes = Vec::new();
    for node in nodes {
        match (node.has_taint, node.need) {
            (true, TaintNeed::Free) => changes.push((node.name, TaintChange::Remove)),
            (false, TaintNeed::Broken) if tainted < limit => {
                tainted += 1;
                changes.push((node.name, TaintChange::Add));
            }
            _ => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        control::{effective::Effective, node_runtime::AgentRuntime},
        mirror::Fallback,
        status::{FailedTrial, NodeRevision, NodeTrial},
    };

    fn revision(number: u64, origin: Origin) -> NodeRevision {
        let effective = Effective { origin, ..Effective::none() };
        NodeRevision { number, effective, fallback: Fallback::Upstream }
    }

    /// Returns a declaration with the verified number 3, and number 4 on trial on the node `t`.
    fn declaration() -> NodeDeclaration {
        let nodes = ["t".to_owned()].into();
        let trial = Some(NodeTrial { revision: revision(4, Origin::Chart), nodes });
        let verified = Some(revision(3, Origin::Chart));
        NodeDeclaration { verified, trial, ..NodeDeclaration::default() }
    }

    fn unable(number: u64, reason: &str) -> NodeReport {
        NodeReport::Unable { number, reason: reason.into() }
    }

    #[test]
    fn need_follows_the_report() {
        let (agent, declaration) = (NodeSupport::Agent(AgentRuntime::Containerd), declaration());
        let rules = TaintRules { is_enabled: true, restores: false, declaration: &declaration };
        for (name, report, expected) in [
            ("a", NodeReport::Applied(3), TaintNeed::Free),
            ("a", NodeReport::Applied(2), TaintNeed::Undecided),
            ("a", NodeReport::Applied(4), TaintNeed::Undecided),
            ("a", NodeReport::Silent, TaintNeed::Undecided),
            ("a", NodeReport::Pending, TaintNeed::Undecided),
            ("a", unable(3, reason::REFUSED), TaintNeed::Broken),
            ("a", unable(3, reason::APPLY_FAILED), TaintNeed::Broken),
            ("a", unable(3, reason::INVALID_DECLARATION), TaintNeed::Broken),
            ("a", unable(3, reason::RESTART_REQUIRED), TaintNeed::Undecided),
            ("a", unable(3, reason::RELOAD_REQUIRED), TaintNeed::Undecided),
            ("a", unable(2, reason::REFUSED), TaintNeed::Undecided),
            ("t", NodeReport::Applied(4), TaintNeed::Free),
            ("t", NodeReport::Applied(3), TaintNeed::Undecided),
            // Another node proves the declaration on trial, or it fails.
            ("t", unable(4, reason::REFUSED), TaintNeed::Undecided),
        ] {
            assert_eq!(rules.need(name, &agent, &report), expected, "{name} {report:?}");
        }
    }

    #[test]
    fn nodes_are_free_without_declaration_or_agent() {
        let agent = NodeSupport::Agent(AgentRuntime::Containerd);
        let (declaration, silent) = (declaration(), NodeReport::Silent);
        let rules = TaintRules { is_enabled: true, restores: false, declaration: &declaration };
        for support in [
            NodeSupport::Managed(String::new()),
            NodeSupport::Unsupported(String::new()),
            NodeSupport::Excluded,
        ] {
            assert_eq!(rules.need("a", &support, &silent), TaintNeed::Free, "{support:?}");
        }
        let disabled = TaintRules { is_enabled: false, ..rules };
        let restoring = TaintRules { restores: true, ..rules };
        let broken = unable(3, reason::REFUSED);
        assert_eq!(disabled.need("a", &agent, &broken), TaintNeed::Free);
        assert_eq!(restoring.need("a", &agent, &broken), TaintNeed::Free);
        let verified = Some(revision(3, Origin::None));
        let none = NodeDeclaration { verified, ..NodeDeclaration::default() };
        let undeclared = TaintRules { declaration: &none, ..rules };
        assert_eq!(undeclared.need("a", &agent, &silent), TaintNeed::Free);
        // The first declaration is on trial, or its trial failed.
        let mut first = NodeDeclaration { verified: None, ..declaration.clone() };
        for failed in [None, Some(FailedTrial { number: 4, reason: String::new() })] {
            first.failed = failed;
            let first = TaintRules { declaration: &first, ..rules };
            assert_eq!(first.need("a", &agent, &silent), TaintNeed::Undecided);
            assert_eq!(first.need("t", &agent, &silent), TaintNeed::Undecided);
        }
    }

    fn node(name: &'static str, has_taint: bool, need: TaintNeed) -> TaintNode<'static> {
        TaintNode { name, has_taint, need }
    }

    #[test]
    fn less_than_a_third_of_nodes_get_the_taint() {
        let broken = ["a", "b", "c", "d", "e", "f", "g"];
        let broken = broken.map(|name| node(name, false, TaintNeed::Broken));
        let added = |count: usize| {
            let found = changes(&broken[..count]);
            assert!(found.iter().all(|(_, change)| *change == TaintChange::Add));
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!((added(1), added(2)), (vec![], vec![]));
        assert_eq!((added(3), added(5)), (vec!["a"], vec!["a"]));
        assert_eq!(added(7), ["a", "b"]);
    }

    #[test]
    fn taint_is_removed_from_a_free_node_alone() {
        let nodes = [
            node("a", true, TaintNeed::Free),
            node("b", true, TaintNeed::Undecided),
            node("c", true, TaintNeed::Broken),
            node("d", false, TaintNeed::Free),
            node("e", false, TaintNeed::Undecided),
            node("f", false, TaintNeed::Broken),
        ];
        assert_eq!(changes(&nodes), [("a", TaintChange::Remove)]);
    }

    proptest! {
        #[test]
        fn additions_stay_below_a_third(
            all in prop::collection::vec((any::<bool>(), 0_usize..3), 0..40),
        ) {
            let needs = [TaintNeed::Free, TaintNeed::Undecided, TaintNeed::Broken];
            let names: Vec<String> = (0..all.len()).map(|at| at.to_string()).collect();
            let nodes: Vec<TaintNode<'_>> = all.iter().zip(&names).map(|((has_taint, need), name)| {
                TaintNode { name, has_taint: *has_taint, need: needs[*need] }
            }).collect();
            let before = nodes.iter().filter(|it| it.has_taint).count();
            let found = changes(&nodes);
            let added = found.iter().filter(|it| it.1 == TaintChange::Add).count();
            // Even if every removal fails.
            prop_assert!(added == 0 || before + added <= nodes.len() / 3);
            for (name, change) in found {
                let node = nodes.iter().find(|it| it.name == name).unwrap();
                let expected = match change {
                    TaintChange::Add => (false, TaintNeed::Broken),
                    TaintChange::Remove => (true, TaintNeed::Free),
                };
                prop_assert_eq!((node.has_taint, node.need), expected);
            }
        }
    }
}
