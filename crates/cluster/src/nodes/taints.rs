//! The startup taint of Nodes.

use image_swap_core::{
    control::startup_taint::{TaintChange, TaintNeed, TaintNode, TaintRules, changes},
    labels::{NO_SCHEDULE, NOT_CONFIGURED},
};
use serde_json::{Value, json};

use super::{
    mirrors::{FleetWrite, FleetWriteKind},
    observed::{Fleet, NodeRow},
    view::NodeView,
};

/// Returns the writes that are due. `views` are all nodes of `fleet` that have a host, by name.
pub(super) fn plan(
    fleet: &Fleet,
    views: &[NodeView<'_>],
    rules: &TaintRules<'_>,
) -> Vec<FleetWrite> {
    let need = |name: &str| {
        let at = views.binary_search_by(|view| view.name.cmp(name)).ok();
        let view = at.and_then(|at| views.get(at));
        view.map_or(TaintNeed::Free, |view| rules.need(name, &view.support, &view.report()))
    };
    let node = |(name, row)| TaintNode { name, has_taint: has_taint(row), need: need(name) };
    let nodes: Vec<_> = fleet.nodes.iter().map(node).collect();
    let write = |(name, change)| Some(write(name, fleet.nodes.get(name)?, change));
    changes(&nodes).into_iter().filter_map(write).collect()
}

/// Returns the writes that remove the taint from every Node.
pub(super) fn removals(fleet: &Fleet) -> Vec<FleetWrite> {
    let tainted = fleet.nodes.iter().filter(|(_, row)| has_taint(row));
    tainted.map(|(name, row)| write(name, row, TaintChange::Remove)).collect()
}

/// Returns the write of a change. Taints are one list for the API server, so the write carries
/// those of other programs, and the version of the Node that they were read from.
fn write(name: &str, row: &NodeRow, change: TaintChange) -> FleetWrite {
    let others = row.taints.iter().filter(|taint| !is_own(taint)).cloned();
    let added = match change {
        TaintChange::Add => Some(json!({ "key": NOT_CONFIGURED, "effect": NO_SCHEDULE })),
        TaintChange::Remove => None,
    };
    let (version, taints) = (row.version.0.clone(), others.chain(added).collect());
    FleetWrite { name: name.to_owned(), kind: FleetWriteKind::Taints { version, taints } }
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

    fn add(fleet: &mut Fleet, name: &str, taints: &[&str], (status, reason): (&str, &str)) {
        let facts = facts("containerd://2.4.1");
        let (uid, boot_id) = (name.to_owned(), "b".to_owned());
        let taints = taints.iter().map(|key| json!({ "key": key, "effect": "NoSchedule" }));
        let (taints, version) = (taints.collect(), RowVersion("7".into()));
        let row = NodeRow { uid, boot_id, facts, taints, version, ..NodeRow::default() };
        fleet.nodes.set(name, row);
        let mut row = mirror(name, (status, reason), 3);
        row.status.wanted_revision = Some(3);
        fleet.mirrors.set(name, row);
    }

    #[test]
    fn taints_of_other_programs_stay() {
        let mut fleet = Fleet::default();
        let (applied, refused) = ((TRUE, reason::IN_PLACE), (FALSE, reason::REFUSED));
        add(&mut fleet, "a", &["x", NOT_CONFIGURED, "y"], applied);
        add(&mut fleet, "b", &["x"], refused);
        for name in ["c", "d", "e", "f"] {
            add(&mut fleet, name, &["x"], applied);
        }
        let effective = Effective { origin: Origin::Chart, ..Effective::none() };
        let verified = Some(NodeRevision { number: 3, effective, fallback: Fallback::Upstream });
        let declaration = NodeDeclaration { verified, ..NodeDeclaration::default() };
        let mut rules = TaintRules { is_enabled: true, restores: false, declaration: &declaration };
        let planned = |fleet: &Fleet, rules: &TaintRules<'_>| {
            let writes = plan(fleet, &views(fleet), rules).into_iter().map(|it| match it.kind {
                FleetWriteKind::Taints { version, taints } => {
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
        assert_eq!(planned(&fleet, &rules), [removed.clone(), added]);
        rules.is_enabled = false;
        assert_eq!(planned(&fleet, &rules), [removed]);
        assert_eq!(removals(&fleet).len(), 1);
        // Two of six nodes carry it.
        rules.is_enabled = true;
        for name in ["a", "c"] {
            add(&mut fleet, name, &[NOT_CONFIGURED], (FALSE, reason::RESTART_REQUIRED));
        }
        assert_eq!(planned(&fleet, &rules), []);
    }
}
