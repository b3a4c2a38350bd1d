//! The startup taint of Nodes.

use image_swap_core::{
    control::startup_taint::{TaintChange, TaintNeed, TaintNode, TaintRules, changes},
    labels::{NO_SCHEDULE, NOT_CONFIGURED},
};
use serde_json::{Value, json};

use super::{
    mirrors::{NodeWrite, NodeWriteKind},
    observed::{NodeRow, NodeTables},
    view::NodeView,
};

/// Returns the writes that are due. `views` are all nodes of `tables` that have a host, by name.
pub(super) fn plan(
    tables: &NodeTables,
    views: &[NodeView<'_>],
    rules: &TaintRules<'_>,
) -> Vec<NodeWrite> {
    let need = |name: &str| {
        let at = views.binary_search_by(|view| view.name.cmp(name)).ok();
        let view = at.and_then(|at| views.get(at));
        view.map_or(TaintNeed::Free, |view| rules.need(name, &view.support, &view.report()))
    };
    let node = |(name, row)| TaintNode { name, has_taint: has_taint(row), need: need(name) };
    let nodes: Vec<_> = tables.nodes.iter().map(node).collect();
    let write = |(name, change)| Some(write(name, tables.nodes.get(name)?, change));
    changes(&nodes).into_iter().filter_map(write).collect()
}

/// Returns the writes that remove the taint from every Node.
pub(super) fn removals(tables: &NodeTables) -> Vec<NodeWrite> {
    let tainted = tables.nodes.iter().filter(|(_, row)| has_taint(row));
    tainted.map(|(name, row)| write(name, row, TaintChange::Remove)).collect()
}

/// Returns the write of a change. Taints are one list for the API server, so the write carries
/// those of other programs, and the version of the Node that they were read from.
fn write(name: &str, row: &NodeRow, change: TaintChange) -> NodeWrite {
    let others = row.taints.iter().filter(|taint| !is_own(taint)).cloned();
    let added = match change {
        TaintChange::Add => Some(json!({ "key": NOT_CONFIGURED, "effect": NO_SCHEDULE })),
        TaintChange::Remove => None,
    };
    let (version, taints) = (row.version.0.clone(), others.chain(added).collect());
    NodeWrite { name: name.to_owned(), kind: NodeWriteKind::Taints { version, taints } }
}

fn has_taint(row: &NodeRow) -> bool {
    row.taints.iter().any(is_own)
}

/// Returns true for the startup taint, whatever its effect.
fn is_own(taint: &Value) -> bool {
    taint["key"] == NOT_CONFIGURED
}

#[cfg(test)]
mod tests {
    use image_swap_core::{
        control::effective::{Effective, Origin},
        mirror::Fallback,
        status::{
            NodeDeclaration, NodeRevision,
            node_mirror::{FALSE, TRUE, reason},
        },
    };

    use super::*;
    use crate::nodes::{
        fixture::{facts, mirror},
        observed::RowVersion,
        view::views,
    };

    fn add(tables: &mut NodeTables, name: &str, taints: &[&str], (status, reason): (&str, &str)) {
        let facts = facts("containerd://2.4.1");
        let (uid, boot_id) = (name.to_owned(), "b".to_owned());
        let taints = taints.iter().map(|key| json!({ "key": key, "effect": "NoSchedule" }));
        let (taints, version) = (taints.collect(), RowVersion("7".into()));
        let row = NodeRow { uid, boot_id, facts, taints, version, ..NodeRow::default() };
        tables.nodes.set(name, row);
        let mut row = mirror(name, (status, reason), 3);
        row.status.wanted_revision = Some(3);
        tables.mirrors.set(name, row);
    }

    #[test]
    fn taints_of_other_programs_stay() {
        let mut tables = NodeTables::default();
        let (applied, refused) = ((TRUE, reason::IN_PLACE), (FALSE, reason::REFUSED));
        add(&mut tables, "a", &["x", NOT_CONFIGURED, "y"], applied);
        add(&mut tables, "b", &["x"], refused);
        for name in ["c", "d", "e", "f"] {
            add(&mut tables, name, &["x"], applied);
        }
        let effective = Effective { origin: Origin::Chart, ..Effective::none() };
        let verified = Some(NodeRevision { number: 3, effective, fallback: Fallback::Upstream });
        let declaration = NodeDeclaration { verified, ..NodeDeclaration::default() };
        let mut rules = TaintRules { is_enabled: true, restores: false, declaration: &declaration };
        let planned = |tables: &NodeTables, rules: &TaintRules<'_>| {
            let writes = plan(tables, &views(tables), rules).into_iter().map(|it| match it.kind {
                NodeWriteKind::Taints { version, taints } => {
                    assert_eq!(version, "7");
                    let keys = taints.iter().map(|it| it["key"].as_str().unwrap().to_owned());
                    (it.name, keys.collect::<Vec<_>>().join(" "))
                }
                other => panic!("unexpected {other:?}"),
            });
            writes.collect::<Vec<_>>()
        };
        let removed = ("a".to_owned(), "x y".to_owned());
        let added = ("b".to_owned(), format!("x {NOT_CONFIGURED}"));
        assert_eq!(planned(&tables, &rules), [removed.clone(), added]);
        rules.is_enabled = false;
        assert_eq!(planned(&tables, &rules), [removed]);
        assert_eq!(removals(&tables).len(), 1);
        // Two of six nodes carry it.
        rules.is_enabled = true;
        for name in ["a", "c"] {
            add(&mut tables, name, &[NOT_CONFIGURED], (FALSE, reason::RESTART_REQUIRED));
        }
        assert_eq!(planned(&tables, &rules), []);
    }
}
