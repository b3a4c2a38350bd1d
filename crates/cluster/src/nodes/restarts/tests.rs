use image_swap_core::{
    control::effective::Effective,
    mirror::Fallback,
    status::{FailedTrial, NodeRevision, NodeTrial, node_mirror::TRUE},
};

use serde_json::json;

use super::*;
use crate::nodes::{
    fixture,
    observed::{AgentRow, NodeRow},
};

fn revision(number: u64) -> NodeRevision {
    NodeRevision { number, effective: Effective::none(), fallback: Fallback::Upstream }
}

/// Returns the node `a`, whose agent has reported this condition Applied about declaration 4.
fn node_of(status: &str, reason: &str, declaration: &NodeDeclaration) -> RestartNode {
    let (uid, boot_id, facts) = ("1".into(), "b".into(), fixture::facts("containerd://2.4.1"));
    let row = NodeRow { uid, boot_id, facts, is_ready: true, ..NodeRow::default() };
    let mut mirror = fixture::mirror("1", (status, reason), 4);
    mirror.status.wanted_revision = Some(4);
    let mut tables =
        NodeTables { restarts: Some(RestartTables::default()), ..NodeTables::default() };
    tables.nodes.set("a", row);
    tables.mirrors.set("a", mirror);
    tables.agents.set("agent-1", AgentRow { node: "a".into(), is_ready: true });
    node(&views(&tables)[0], declaration)
}

#[test]
fn report_has_the_number_of_its_declaration() {
    let verified = Some(revision(4));
    let declaration = NodeDeclaration { verified, ..NodeDeclaration::default() };
    let failed = RestartReport::Failed { number: 4, message: "m".into() };
    let reports = [
        (TRUE, reason::IN_PLACE, RestartReport::Applied(4)),
        (FALSE, reason::RESTART_REQUIRED, RestartReport::Required(4)),
        (FALSE, reason::RESTART_FAILED, failed),
        (FALSE, reason::REFUSED, RestartReport::Other),
        (FALSE, reason::RESTORED, RestartReport::Other),
    ];
    for (status, reason, report) in reports {
        let expected = RestartNode {
            name: "a".into(),
            is_ready: true,
            is_control_plane: false,
            has_agent: true,
            is_on_trial: false,
            wanted: Some(4),
            report,
        };
        assert_eq!(node_of(status, reason, &declaration), expected);
    }
}

#[test]
fn node_on_trial_wants_the_declaration_on_trial() {
    let nodes = ["a".to_owned()].into();
    let trial = Some(NodeTrial { revision: revision(4), nodes });
    let mut declaration =
        NodeDeclaration { verified: Some(revision(3)), trial, ..NodeDeclaration::default() };
    let wanted = |declaration: &NodeDeclaration| {
        let node = node_of(FALSE, reason::RESTART_REQUIRED, declaration);
        (node.wanted, node.is_on_trial)
    };
    assert_eq!(wanted(&declaration), (Some(4), true));
    declaration.failed = Some(FailedTrial { number: 4, reason: "r".into() });
    assert_eq!(wanted(&declaration), (Some(3), false));
    // The node removes everything.
    declaration.verified = None;
    assert_eq!(wanted(&declaration), (None, false));
}

#[tokio::test]
async fn next_step_is_due_when_a_lease_expires() {
    tokio::time::pause();
    let mut tables = RestartTables::default();
    let lease = |name: &str, acquired: Option<&str>| -> NodeObject {
        let spec = json!({ "acquireTime": acquired, "leaseDurationSeconds": 30 });
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
    };
    for (name, acquired) in [
        ("restart-a", Some("1970-01-01T00:02:10.000000Z")),
        ("restart-b", Some("1970-01-01T00:01:00.000000Z")),
        ("restart-c", None),
    ] {
        tables.leases.note(Event::Apply(lease(name, acquired)), RestartLeaseRow::read);
    }
    let decision = RestartDecision::default();
    let mut memory = RestartMemory::default();
    let due = Instant::now() + Duration::from_mins(1);
    assert_eq!(wake(&memory, &tables, &decision, 100), Some(due));
    let soon = Instant::now() + RETRY;
    memory.unready = Some(("etcd failed".into(), soon));
    assert_eq!(wake(&memory, &tables, &decision, 100), Some(soon));
    assert_eq!(wake(&memory, &tables, &decision, 200), Some(soon));
}
