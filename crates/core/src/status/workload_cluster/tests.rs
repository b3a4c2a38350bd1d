use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::status::{
    cluster_summary::{ClusterSummary, NodeCount, SummaryProblem, WebhookSummary},
    node_mirror::{FALSE, UNKNOWN},
};

const NOW: &str = "2026-11-29T10:00:00Z";
const LATER: &str = "2026-11-29T11:00:00Z";
const UID: &str = "0d2c1f6e-9f3a-4c0e-8a51-3f1a4c1a2b3c";

#[test]
fn every_name_is_kept() {
    let spec = WorkloadClusterSpec {
        source: ClusterObject {
            api_version: "cluster.x-k8s.io/v1beta2".into(),
            kind: "Cluster".into(),
            name: "a".into(),
        },
    };
    let written = json!({
        "source": { "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": "a" },
    });
    assert_eq!(serde_json::to_value(spec).unwrap(), written);
    let status = WorkloadClusterStatus {
        cluster_uid: "u".into(),
        wanted_revision: Some(2),
        applied_revision: Some(1),
        last_heartbeat_time: Some(NOW.into()),
        nodes: Some(NodesInCluster { total: 3, applied: 2 }),
        node_summary: "2/3".into(),
        webhook: "Fail".into(),
        pods_not_from_mirror: Some(4),
        last_error: Some("e".into()),
        last_error_time: Some(LATER.into()),
        conditions: vec![NodeCondition { kind: APPLIED.into(), ..NodeCondition::default() }],
    };
    let written = json!({
        "clusterUid": "u", "wantedRevision": 2, "appliedRevision": 1, "lastHeartbeatTime": NOW,
        "nodes": { "total": 3, "applied": 2 }, "nodeSummary": "2/3", "webhook": "Fail",
        "podsNotFromMirror": 4, "lastError": "e", "lastErrorTime": LATER,
        "conditions": [{
            "type": "Applied", "status": "", "reason": "", "message": "", "lastTransitionTime": "",
        }],
    });
    assert_eq!(serde_json::to_value(&status).unwrap(), written);
    assert_eq!(serde_json::from_value::<WorkloadClusterStatus>(written).unwrap(), status);
    let empty = serde_json::to_value(WorkloadClusterStatus::default()).unwrap();
    assert_eq!(empty, json!({ "conditions": [] }));
}

#[test]
fn names_never_change() {
    let names = [GROUP, VERSION, KIND, PLURAL, APPLIED, CONFLICT, HEALTHY, REACHABLE];
    let written = [
        "image-swap.io",
        "v1alpha1",
        "WorkloadCluster",
        "workloadclusters",
        "Applied",
        "Conflict",
        "Healthy",
        "Reachable",
    ];
    assert_eq!(names, written);
    let states = [
        "InForce",
        "Updating",
        "Unhealthy",
        "Pending",
        "Applying",
        "Waiting",
        "WaitingForWave",
        "Paused",
        "Unreachable",
        "Refused",
        "Duplicate",
        "Conflict",
        "Failed",
        "Orphaned",
        "Removed",
    ];
    assert_eq!(state::ALL, states);
}

/// Returns the facts about a cluster in which declaration 3 is in force.
fn in_force() -> ClusterFacts {
    ClusterFacts {
        contact: ClusterContact::Reached,
        uid: UID.into(),
        wanted: WantedDeclaration::Revision(3),
        outcome: ApplyOutcome::Complete,
        stored: Some(3),
        heartbeat: HeartbeatFacts {
            summary: Some(ClusterSummary {
                registry_info_revision: Some(3),
                webhook: WebhookSummary::Fail,
                nodes: Some(NodeCount { total: 2, applied: 2, verified: 2 }),
                ..ClusterSummary::default()
            }),
            received: Some(NOW.into()),
            is_stale: false,
        },
        ..ClusterFacts::default()
    }
}

fn rows(status: &WorkloadClusterStatus) -> Vec<(&str, &str, &str)> {
    status.conditions.iter().map(|it| (&*it.kind, &*it.status, &*it.reason)).collect()
}

#[test]
fn declaration_in_force_has_no_error() {
    let status = status_of(&in_force(), None, NOW);
    let expected = [
        (APPLIED, TRUE, reason::IN_FORCE),
        (CONFLICT, FALSE, reason::NO_CONFLICT),
        (HEALTHY, TRUE, reason::HEALTHY),
        (REACHABLE, TRUE, reason::REACHED),
    ];
    assert_eq!(rows(&status), expected);
    assert_eq!((status.state(), status.last_error.as_ref()), (state::IN_FORCE, None));
    assert_eq!((&*status.node_summary, &*status.webhook), ("2/2", "Fail"));
    assert_eq!((status.wanted_revision, status.applied_revision), (Some(3), Some(3)));
    assert_eq!((&*status.cluster_uid, status.last_heartbeat_time), (UID, None));
}

#[test]
fn former_bundle_waits_for_its_wave() {
    let bundle_wave = Some("bundle: stopped: fleet/a: crash".to_owned());
    let mut facts = ClusterFacts { bundle_wave, ..in_force() };
    let status = status_of(&facts, None, NOW);
    let applied = status.condition(APPLIED).unwrap();
    assert_eq!((&*applied.status, &*applied.reason), (FALSE, reason::WAITING_FOR_WAVE));
    assert_eq!(applied.message, "declaration 3 is stored; bundle: stopped: fleet/a: crash");
    assert_eq!((&*status.condition(HEALTHY).unwrap().status, &status.last_error), (TRUE, &None));
    // A declaration that is refused is an error all the same.
    facts.stored = Some(2);
    let waiting = status_of(&facts, None, NOW);
    assert_eq!(waiting.condition(APPLIED).unwrap().message, "bundle: stopped: fleet/a: crash");
    facts.outcome = ApplyOutcome::Failed("denied".into());
    assert_eq!(status_of(&facts, None, NOW).state(), reason::FAILED);
}

#[test]
fn cluster_that_pulls_is_known_by_its_heartbeats() {
    let mut facts = ClusterFacts { contact: ClusterContact::Pulls, ..in_force() };
    let status = status_of(&facts, None, NOW);
    let expected = [
        (APPLIED, TRUE, reason::IN_FORCE),
        (CONFLICT, UNKNOWN, reason::NOT_COMPARED),
        (HEALTHY, TRUE, reason::HEALTHY),
        (REACHABLE, UNKNOWN, reason::NOT_CONNECTED),
    ];
    assert_eq!(rows(&status), expected);
    assert_eq!((status.state(), status.applied_revision), (state::IN_FORCE, Some(3)));
    // A restart of the fleet controller, before the Lease is read.
    let untried = ClusterFacts { contact: ClusterContact::Unknown, ..ClusterFacts::default() };
    assert_eq!(status_of(&untried, Some(&status), LATER), status);
    facts.heartbeat.is_stale = true;
    assert_eq!(status_of(&facts, None, NOW).state(), state::UNHEALTHY);
    (facts.heartbeat, facts.stored) = (HeartbeatFacts::default(), None);
    let status = status_of(&facts, None, NOW);
    assert_eq!((status.state(), status.applied_revision), (reason::APPLYING, None));
}

/// Returns the facts of a cluster that never sent a heartbeat.
fn overdue() -> HeartbeatFacts {
    HeartbeatFacts { is_stale: true, ..HeartbeatFacts::default() }
}

#[test]
fn overdue_first_heartbeat_is_an_error() {
    let pulls = ClusterFacts {
        contact: ClusterContact::Pulls,
        stored: None,
        heartbeat: overdue(),
        ..in_force()
    };
    let status = status_of(&pulls, None, NOW);
    assert_eq!(status.state(), state::UNHEALTHY, "the manifest was never applied");
    assert!(status.last_error.as_ref().unwrap().contains("manifest"), "{status:?}");
    // Nothing runs in a cluster that waits for its first declaration, or is a duplicate.
    let reached = ClusterFacts { contact: ClusterContact::Reached, ..pulls };
    let waiting = ClusterFacts { wave: Some("waits for a".into()), ..reached.clone() };
    let duplicate =
        ClusterFacts { stored: Some(3), duplicate_of: Some("x/y".into()), ..reached.clone() };
    for facts in [reached, waiting] {
        let status = status_of(&facts, None, NOW);
        assert_eq!(status.condition(HEALTHY).unwrap().reason, reason::NO_HEARTBEAT);
        assert_eq!(status.last_error, None);
    }
    let status = status_of(&duplicate, None, NOW);
    assert_eq!(status.condition(HEALTHY).unwrap().reason, reason::NO_HEARTBEAT);
}

type Change = fn(&mut ClusterFacts);

#[test]
fn first_obstacle_is_the_reason() {
    // Each obstacle comes before those of the rows above it.
    let rows: [(Change, &str); 10] = [
        (|it| it.stored = Some(2), reason::APPLYING),
        (|it| it.conflicts.push("a field".into()), reason::CONFLICT),
        (|it| it.outcome = ApplyOutcome::Failed("status 500".into()), reason::FAILED),
        (|it| it.wave = Some("waits for a".into()), reason::WAITING_FOR_WAVE),
        (|it| it.wanted = WantedDeclaration::Orphaned, reason::ORPHANED),
        (|it| it.removal = RemovalProgress::Removed, reason::REMOVED),
        (|it| it.duplicate_of = Some("x/y".into()), reason::DUPLICATE),
        (|it| it.contact = ClusterContact::Unreachable("refused".into()), reason::UNREACHABLE),
        (|it| it.access = AccessState::Refused("exec".into()), reason::REFUSED),
        (|it| it.is_paused = true, reason::PAUSED),
    ];
    let mut facts = in_force();
    for (change, expected) in rows {
        change(&mut facts);
        let status = status_of(&facts, None, NOW);
        assert_eq!(status.condition(APPLIED).unwrap().reason, expected);
        assert_eq!(status.state(), expected);
    }
}

#[test]
fn later_phases_that_wait_are_named() {
    let rows: [(Change, &str, &str); 4] = [
        (|it| it.conflicts.push("a".into()), APPLIED, "other writers hold a; the webhook waits"),
        (|it| it.outcome = ApplyOutcome::Failed("x".repeat(900)), APPLIED, "…; the webhook waits"),
        (
            |it| {
                it.drift.push("a".into());
                it.stored = Some(2);
            },
            APPLIED,
            "another writer changes a again and again; the webhook waits",
        ),
        (
            |it| it.drift.push("a".into()),
            HEALTHY,
            "another writer changes a again and again; the webhook waits",
        ),
    ];
    for (change, kind, expected) in rows {
        let mut facts = ClusterFacts { waiting: "the webhook waits", ..in_force() };
        change(&mut facts);
        let status = status_of(&facts, None, NOW);
        let message = &status.condition(kind).unwrap().message;
        assert!(message.ends_with(expected), "{message}");
    }
}

#[test]
fn stored_declaration_waits_for_no_wave() {
    let facts = ClusterFacts { wave: Some("waits for a".into()), ..in_force() };
    assert_eq!(status_of(&facts, None, NOW).state(), state::IN_FORCE);
}

#[test]
fn health_follows_the_heartbeat() {
    let rows: [(Change, &str, &str); 9] = [
        (|it| it.heartbeat = HeartbeatFacts::default(), reason::NO_HEARTBEAT, state::UPDATING),
        (|it| it.heartbeat = overdue(), reason::HEARTBEAT_STALE, state::UNHEALTHY),
        (|it| it.heartbeat.is_stale = true, reason::HEARTBEAT_STALE, state::UNHEALTHY),
        (
            |it| {
                it.stored_hash = "a".into();
                it.heartbeat.summary.as_mut().unwrap().hash = "edited".into();
            },
            reason::UPDATING,
            state::UPDATING,
        ),
        (|it| it.heartbeat.summary = None, reason::SUMMARY_INVALID, state::UNHEALTHY),
        (
            |it| it.refused_declaration = Some("no DOMAIN".into()),
            reason::DECLARATION_REFUSED,
            state::UNHEALTHY,
        ),
        (|it| it.drift.push("a".into()), reason::DRIFT, state::UNHEALTHY),
        (
            |it| {
                let summary = it.heartbeat.summary.as_mut().unwrap();
                summary.problems.push(SummaryProblem::NodesPending);
            },
            reason::PROBLEMS,
            state::UNHEALTHY,
        ),
        (
            |it| it.heartbeat.summary.as_mut().unwrap().registry_info_revision = Some(2),
            reason::UPDATING,
            state::UPDATING,
        ),
    ];
    for (change, expected, state) in rows {
        let mut facts = in_force();
        change(&mut facts);
        let status = status_of(&facts, None, NOW);
        assert_eq!(
            (&*status.condition(HEALTHY).unwrap().reason, status.state()),
            (expected, state)
        );
        assert_eq!(status.last_error.is_some(), state == state::UNHEALTHY, "{expected}");
    }
    let mut facts = in_force();
    facts.heartbeat.is_stale = true;
    assert_eq!(status_of(&facts, None, LATER).last_heartbeat_time.as_deref(), Some(NOW));
}

#[test]
fn error_keeps_the_time_of_its_beginning() {
    let mut facts = in_force();
    facts.contact = ClusterContact::Unreachable("timed out".into());
    let first = status_of(&facts, None, NOW);
    facts.contact = ClusterContact::Unreachable("connection refused".into());
    let second = status_of(&facts, Some(&first), LATER);
    assert_eq!(second.last_error.as_deref(), Some("connection refused"));
    assert_eq!(second.last_error_time.as_deref(), Some(NOW));
    assert_eq!(second.condition(REACHABLE).unwrap().last_transition_time, NOW);
    let third = status_of(&in_force(), Some(&second), LATER);
    assert_eq!((&third.last_error, &third.last_error_time), (&None, &None));
    assert_eq!(third.condition(REACHABLE).unwrap().last_transition_time, LATER);
}

#[test]
fn status_survives_a_restart() {
    let before = status_of(&in_force(), None, NOW);
    let started =
        ClusterFacts { wanted: WantedDeclaration::Revision(3), ..ClusterFacts::default() };
    assert_eq!(status_of(&started, Some(&before), LATER), before);
    // The last known values of an unreachable cluster stay, too.
    let contact = ClusterContact::Unreachable("timed out".into());
    let gone = status_of(&ClusterFacts { contact, ..started }, Some(&before), LATER);
    assert_eq!((gone.applied_revision, &*gone.webhook), (Some(3), "Fail"));
    assert_eq!((&*gone.node_summary, &*gone.cluster_uid), ("2/2", UID));
    assert_eq!(gone.state(), reason::UNREACHABLE);
}

#[test]
fn status_outlasts_the_first_contact_after_a_restart() {
    let identified = ClusterFacts {
        contact: ClusterContact::Reached,
        uid: UID.into(),
        wanted: WantedDeclaration::Revision(3),
        ..ClusterFacts::default()
    };
    let changes: [Change; 6] = [
        |_| {},
        |it| it.conflicts.push("a field".into()),
        |it| it.outcome = ApplyOutcome::Failed("status 500".into()),
        |it| it.heartbeat.is_stale = true,
        |it| {
            it.drift.push("a".into());
            it.stored = Some(2);
        },
        |it| {
            it.wave = Some("waits for a".into());
            it.stored = Some(2);
        },
    ];
    for change in changes {
        let mut facts = in_force();
        change(&mut facts);
        let before = status_of(&facts, None, NOW);
        assert_eq!(status_of(&identified, Some(&before), LATER), before);
    }
    // Another declaration, another cluster, and a comparison have a status of their own.
    let before = status_of(&in_force(), None, NOW);
    let reason = |facts: &ClusterFacts| {
        let status = status_of(facts, Some(&before), LATER);
        (status.condition(APPLIED).unwrap().reason.clone(), status.applied_revision)
    };
    let newer = ClusterFacts { wanted: WantedDeclaration::Revision(4), ..identified.clone() };
    assert_eq!(reason(&newer), (reason::APPLYING.to_owned(), Some(3)));
    let other = ClusterFacts { uid: "1".into(), ..identified.clone() };
    assert_eq!(reason(&other), (reason::APPLYING.to_owned(), None));
    let compared = ClusterFacts { outcome: ApplyOutcome::Failed("denied".into()), ..identified };
    assert_eq!(reason(&compared), (reason::FAILED.to_owned(), None));
}

#[test]
fn foreign_uid_is_no_status() {
    let facts = ClusterFacts { uid: "<script>".into(), ..in_force() };
    assert_eq!(status_of(&facts, None, NOW).cluster_uid, "");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,20}", "\\PC{0,600}", "[\\n\\r\\x1b é]{0,10}"]
}

fn heartbeat() -> impl Strategy<Value = HeartbeatFacts> {
    let problems = prop::collection::vec(Just(SummaryProblem::Unreached), 0..3);
    let nodes = prop::option::of((0..4_u32, 0..4_u32));
    let summary = (prop::option::of(0..3_u64), nodes, problems).prop_map(
        |(registry_info_revision, nodes, problems)| ClusterSummary {
            registry_info_revision,
            nodes: nodes.map(|(total, applied)| NodeCount { total, applied, verified: 0 }),
            problems,
            ..ClusterSummary::default()
        },
    );
    let received = prop::option::of(Just(NOW.to_owned()));
    (prop::option::of(summary), received, any::<bool>())
        .prop_map(|(summary, received, is_stale)| HeartbeatFacts { summary, received, is_stale })
}

fn facts() -> impl Strategy<Value = ClusterFacts> {
    let access = prop_oneof![
        4 => Just(AccessState::Usable),
        1 => text().prop_map(AccessState::Waiting),
        1 => text().prop_map(AccessState::Refused),
    ];
    let contact = prop_oneof![
        1 => Just(ClusterContact::Unknown),
        4 => Just(ClusterContact::Reached),
        1 => Just(ClusterContact::Pulls),
        1 => text().prop_map(ClusterContact::Unreachable),
    ];
    let removal = prop_oneof![
        6 => Just(RemovalProgress::None),
        1 => Just(RemovalProgress::Removing),
        1 => Just(RemovalProgress::Removed),
    ];
    let wanted = prop_oneof![
        1 => Just(WantedDeclaration::None),
        1 => Just(WantedDeclaration::Orphaned),
        6 => (0..3_u64).prop_map(WantedDeclaration::Revision),
    ];
    let outcome = prop_oneof![
        1 => Just(ApplyOutcome::Pending),
        3 => Just(ApplyOutcome::Complete),
        1 => text().prop_map(ApplyOutcome::Failed),
    ];
    let lists = (prop::collection::vec(text(), 0..6), prop::collection::vec(text(), 0..6));
    let rare = || prop::option::weighted(0.1, text());
    (
        (access, contact, removal, wanted, outcome, lists),
        (text(), prop::option::of(0..3_u64), prop::bool::weighted(0.1), rare()),
        rare(),
        (prop::option::weighted(0.1, text()), prop::option::weighted(0.1, text()), heartbeat()),
        prop::collection::vec(text(), 0..6),
    )
        .prop_map(
            |(one, two, bundle_wave, (wave, refused_declaration, heartbeat), duplicates)| {
                let (access, contact, removal, wanted, outcome, (conflicts, drift)) = one;
                let (uid, stored, is_paused, duplicate_of) = two;
                ClusterFacts {
                    access,
                    is_paused,
                    contact,
                    uid,
                    duplicate_of,
                    duplicates,
                    removal,
                    wanted,
                    refused_declaration,
                    wave,
                    bundle_wave,
                    outcome,
                    stored,
                    stored_hash: "a".to_owned(),
                    stored_bundle: String::new(),
                    conflicts,
                    drift,
                    waiting: "the webhook waits",
                    heartbeat,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn conditions_contradict_each_other_never(facts in facts()) {
        let status = status_of(&facts, None, NOW);
        let of = |kind| status.condition(kind).unwrap();
        let kinds: Vec<&str> = status.conditions.iter().map(|it| &*it.kind).collect();
        prop_assert_eq!(kinds, [APPLIED, CONFLICT, HEALTHY, REACHABLE]);
        for condition in &status.conditions {
            prop_assert!([TRUE, FALSE, UNKNOWN].contains(&&*condition.status));
            prop_assert!(!condition.reason.is_empty());
            prop_assert!(condition.message.len() <= 500);
            prop_assert!(!condition.message.contains(char::is_control));
        }
        let is_applied = of(APPLIED).status == TRUE;
        prop_assert_eq!(is_applied, of(APPLIED).reason == reason::IN_FORCE);
        let is_unreachable = status.conditions.iter().any(|it| it.reason == reason::UNREACHABLE);
        prop_assert!(!(is_applied && is_unreachable));
        prop_assert_eq!(of(APPLIED).reason == reason::UNREACHABLE, of(REACHABLE).status == FALSE);
        if is_applied {
            prop_assert_eq!(status.wanted_revision, status.applied_revision);
            // A cluster that pulls reports no conflicts.
            let expected =
                if facts.contact == ClusterContact::Pulls { UNKNOWN } else { FALSE };
            prop_assert_eq!(&*of(CONFLICT).status, expected);
        }
        if of(HEALTHY).status == TRUE {
            prop_assert_eq!(&*of(REACHABLE).status, TRUE);
            prop_assert!(!facts.heartbeat.is_stale);
        }
        prop_assert_eq!(status.last_error.is_some(), status.last_error_time.is_some());
        prop_assert!(state::ALL.contains(&status.state()));
        let is_uid = |it: char| it.is_ascii_hexdigit() || it == '-';
        prop_assert!(status.cluster_uid.chars().all(is_uid));
    }

    #[test]
    fn unchanged_facts_change_no_status(facts in facts(), others in facts()) {
        let before = status_of(&others, None, NOW);
        let first = status_of(&facts, Some(&before), NOW);
        prop_assert_eq!(&status_of(&facts, Some(&first), LATER), &first);
    }

    #[test]
    fn transition_time_changes_with_the_condition(facts in facts(), others in facts()) {
        let before = status_of(&others, None, NOW);
        let after = status_of(&facts, Some(&before), LATER);
        for (old, new) in before.conditions.iter().zip(&after.conditions) {
            let time = if old.status == new.status { NOW } else { LATER };
            prop_assert_eq!(&*new.last_transition_time, time);
        }
    }
}

#[test]
fn only_errors_and_their_ends_are_events() {
    let status = |facts: &ClusterFacts| status_of(facts, None, NOW);
    let nothing = WorkloadClusterStatus::default();
    let good = status(&in_force());
    let down = |text: &str| {
        status(&ClusterFacts { contact: ClusterContact::Unreachable(text.into()), ..in_force() })
    };
    let failed =
        status(&ClusterFacts { outcome: ApplyOutcome::Failed("denied".into()), ..in_force() });
    let newer = status(&ClusterFacts { stored: Some(2), ..in_force() });
    let event = |before: &WorkloadClusterStatus, after: &WorkloadClusterStatus| {
        ClusterEvent::of(before, after).map(|it| (it.is_warning, it.reason, it.note))
    };
    let begun = |reason: &str, note: &str| Some((true, reason.to_owned(), note.to_owned()));
    let ended = |reason: &str, note: &str| Some((false, reason.to_owned(), note.to_owned()));
    assert_eq!(event(&nothing, &good), None);
    assert_eq!(event(&good, &newer), None);
    assert_eq!(event(&nothing, &failed), begun("Failed", "denied"));
    assert_eq!(event(&good, &down("timed out")), begun("Unreachable", "timed out"));
    assert_eq!(event(&down("timed out"), &down("refused")), None);
    assert_eq!(event(&down("timed out"), &failed), begun("Failed", "denied"));
    let note = "Failed has ended; the state is InForce";
    assert_eq!(event(&failed, &good), ended("Recovered", note));
    let paused = status(&ClusterFacts { is_paused: true, ..in_force() });
    let note = "Failed has ended; the state is Paused";
    assert_eq!(event(&failed, &paused), ended("Recovered", note));
}
