use image_swap_core::status::{
    AdmissionStatus, AgentsStatus, CompetitorStatus, DeclarationStatus, DiagnosticRow, FailingStep,
    PendingNodes, PodWait, PullSecretFailure, PullSecretStatus, RegistryOutcome, RegistryStatus,
    ReplicaStatus,
};

use super::*;
use crate::status::{Leader, Nodes, RegistryPods, Replica, StuckPods};

const NOW: UnixTime = 1_700_000_000;
const DAY: UnixTime = 24 * 60 * 60;

/// Returns the status of a release without problems.
fn good() -> ReleaseStatus {
    let lifetime =
        |life| Some(CertificateLifetime { not_before: NOW - DAY, not_after: NOW + life });
    let answer = ReplicaStatus {
        version: "1".into(),
        hash: "aa".into(),
        rules: Some(2),
        ..ReplicaStatus::default()
    };
    let replica =
        Replica { name: "one".into(), ready: true, answer: Some(answer), ..Replica::default() };
    ReleaseStatus {
        leader: Some(Leader { holder: "c".into(), renewed: NOW - 3, lasts: 15 }),
        report: Some(ControllerReport {
            version: "1".into(),
            declaration: DeclarationStatus {
                source: Origin::Chart,
                hash: "aa".into(),
                ..DeclarationStatus::default()
            },
            policy: AdmissionStatus {
                mode: Some(Mode::Enforce),
                failure_policy: Some(FailurePolicy::Fail),
                requested: Some(RequestedPolicy::Fail),
                registered: true,
                probe: ProbeStatus::Reached,
                ..AdmissionStatus::default()
            },
            authority: lifetime(300 * DAY),
            certificate: lifetime(20 * DAY),
            registry: Some(RegistryStatus {
                outcome: RegistryOutcome::Ok,
                ..RegistryStatus::default()
            }),
            ..ControllerReport::default()
        }),
        replicas: Some(Replicas { wanted: 1, ready: 1, pods: vec![replica] }),
        read: NOW,
        ..ReleaseStatus::default()
    }
}

fn judged(change: impl FnOnce(&mut ReleaseStatus)) -> ReleaseStatus {
    let mut status = good();
    change(&mut status);
    find(&mut status);
    status
}

fn codes(change: impl FnOnce(&mut ReleaseStatus)) -> Vec<String> {
    let status = judged(change);
    assert_eq!(status.healthy, status.problems.is_empty());
    status.problems.into_iter().map(|problem| problem.code).collect()
}

fn report(change: impl FnOnce(&mut ControllerReport)) -> Vec<String> {
    codes(|status| change(status.report.as_mut().unwrap()))
}

#[test]
fn healthy_release_has_no_problems_and_no_notes() {
    let status = judged(|_| ());
    assert!(status.healthy && status.problems.is_empty() && status.notes.is_empty(), "{status:?}");
}

#[test]
fn silent_controller_is_a_problem() {
    assert_eq!(codes(|it| it.leader = None), ["no-leader"]);
    assert_eq!(codes(|it| it.leader.as_mut().unwrap().holder.clear()), ["no-leader"]);
    assert_eq!(codes(|it| it.leader.as_mut().unwrap().renewed = NOW - 76), ["no-leader"]);
    // A clock that is a minute off is no problem.
    assert!(codes(|it| it.leader.as_mut().unwrap().renewed = NOW - 75).is_empty());
    assert!(codes(|it| it.leader.as_mut().unwrap().renewed = NOW + 600).is_empty());
    assert_eq!(codes(|it| it.report = None), ["no-report"]);
    // An unreadable object is not a missing one.
    let unreadable = codes(|it| {
        (it.leader, it.report, it.replicas) = (None, None, None);
        it.unreadable = vec!["replicas: forbidden".into()];
    });
    assert_eq!(unreadable, ["unread"]);
}

#[test]
fn invalid_declaration_is_reported_with_line_and_column() {
    let status = judged(|it| {
        let declared = &mut it.report.as_mut().unwrap().declaration;
        declared.refused = vec![Origin::RegistryInfo];
        declared.findings = vec![DiagnosticRow {
            source: Origin::RegistryInfo,
            severity: Severity::Error,
            line: 2,
            column: 9,
            key: Some("MIRROR_REGISTRIES".into()),
            message: "expected a target".into(),
            ..DiagnosticRow::default()
        }];
    });
    assert_eq!(status.problems[0].code, "declaration-refused");
    let place = "line 2, column 9 of MIRROR_REGISTRIES: expected a target";
    assert!(status.problems[0].message.contains(place), "{}", status.problems[0].message);
}

#[test]
fn unenforced_policy_is_a_problem() {
    assert_eq!(report(|it| it.policy.registered = false), ["not-registered"]);
    assert_eq!(report(|it| it.policy.probe = ProbeStatus::Unreached), ["unreached"]);
    assert_eq!(report(|it| it.policy.probe = ProbeStatus::NoEndpoints), ["unreached"]);
    assert_eq!(
        report(|it| it.policy.failure_policy = Some(FailurePolicy::Ignore)),
        ["not-enforced"]
    );
    let foreign = |it: &mut ControllerReport| {
        it.policy.mode = Some(Mode::Audit);
        it.foreign = vec![CompetitorStatus { alive: true, ..CompetitorStatus::default() }];
    };
    assert_eq!(report(foreign), ["other-image-swapper", "audit"]);
    // A configured policy without swapping is a note.
    for wanted in [RequestedPolicy::Audit, RequestedPolicy::Ignore] {
        let status = judged(|it| {
            let held = &mut it.report.as_mut().unwrap().policy;
            (held.requested, held.failure_policy) = (Some(wanted), Some(FailurePolicy::Ignore));
            if wanted == RequestedPolicy::Audit {
                held.mode = Some(Mode::Audit);
            }
        });
        assert_eq!((status.healthy, status.notes.len()), (true, 1), "{wanted:?}");
    }
}

#[test]
fn live_registration_wins_over_the_report() {
    assert_eq!(codes(|it| it.registered = Some(false)), ["not-registered"]);
    assert!(
        codes(|it| {
            it.registered = Some(true);
            it.report.as_mut().unwrap().policy.registered = false;
        })
        .is_empty()
    );
    let leaving = codes(|it| (it.leaving, it.registered) = (true, Some(false)));
    assert_eq!(leaving, ["leaving", "not-registered"]);
    // A release that never reported never registered.
    assert_eq!(codes(|it| (it.report, it.registered) = (None, Some(false))), ["no-report"]);
}

#[test]
fn pods_that_cannot_start_are_named() {
    let stuck = |namespace: &str, name: &str| StuckPod {
        namespace: namespace.into(),
        name: name.into(),
        image: "h.io/image-swap:1".into(),
        reason: "ErrImagePull".into(),
        message: "not found".into(),
        hint: Some("push the image".into()),
        ..StuckPod::default()
    };
    let own = judged(|it| it.stuck = vec![stuck("tools", "one")]);
    let cause = "one cannot start: ErrImagePull of h.io/image-swap:1: not found; push the image";
    let expected = format!("{cause}{OWN_IMAGE}");
    assert_eq!(
        (own.problems[0].code.as_str(), own.problems[0].message.as_str()),
        ("pod-not-starting", expected.as_str())
    );
    let reason = "Unschedulable".to_owned();
    let pending = StuckPod { reason, ..stuck("tools", "one") };
    let pending = judged(|it| it.stuck = vec![pending]);
    assert!(pending.problems[0].message.ends_with("push the image"), "{pending:?}");
    let swapped = judged(|it| {
        it.unpulled = Some(StuckPods { count: 2, pods: vec![stuck("apps", "web")] });
    });
    assert_eq!(swapped.problems[0].code, "pods-not-pulled");
    let message = &swapped.problems[0].message;
    assert!(message.starts_with("2 swapped pods have an image"), "{message}");
    assert!(message.contains("apps/web: ErrImagePull of h.io/image-swap:1"), "{message}");
    assert!(judged(|it| it.unpulled = Some(StuckPods::default())).healthy);
}

#[test]
fn report_before_ready_replicas_is_early() {
    let early = |probe: ProbeStatus, ready: u64| {
        let mut status = good();
        status.report.as_mut().unwrap().policy.probe = probe;
        status.replicas.as_mut().unwrap().ready = ready;
        is_early(&status)
    };
    assert!(early(ProbeStatus::NoEndpoints, 1));
    assert!(
        !early(ProbeStatus::NoEndpoints, 0)
            && !early(ProbeStatus::Reached, 1)
            && !early(ProbeStatus::Unreached, 1)
    );
}

#[test]
fn certificate_that_is_not_renewed_is_a_problem() {
    let ends = |at| report(|it| it.certificate.as_mut().unwrap().not_after = at);
    assert_eq!(ends(NOW), ["certificate-expired"]);
    assert_eq!(ends(NOW + 1), ["certificate-expires"]);
    assert!(ends(NOW + 10 * DAY).is_empty());
    assert_eq!(
        report(|it| it.authority.as_mut().unwrap().not_after = NOW - 1),
        ["certificate-expired"]
    );
}

#[test]
fn unhealthy_registry_and_pull_secret_failures_are_problems() {
    let outcome = |outcome| report(|it| it.registry.as_mut().unwrap().outcome = outcome);
    assert_eq!(outcome(RegistryOutcome::Unauthorized), ["registry-unhealthy"]);
    assert!(outcome(RegistryOutcome::Unverified).is_empty());
    let soon = |it: &mut ControllerReport| {
        let health = it.registry.as_mut().unwrap();
        (health.expires, health.expires_soon) = (Some(NOW + DAY), true);
    };
    assert_eq!(report(soon), ["registry-certificate-expires"]);
    let foreign = PullSecretStatus {
        foreign_count: 1,
        foreign: vec!["apps".into()],
        ..PullSecretStatus::default()
    };
    assert_eq!(report(|it| it.pull_secrets = foreign), ["pull-secret-foreign"]);
    let failure = |number| PullSecretFailure {
        namespace: format!("team-{number}"),
        reason: "Forbidden (403): exceeded quota: q".into(),
    };
    let failing = PullSecretStatus {
        failed: 8,
        failures: (0..7).map(failure).collect(),
        ..PullSecretStatus::default()
    };
    assert_eq!(report(|it| it.pull_secrets = failing.clone()), ["pull-secrets-failing"]);
    let status = judged(|it| it.report.as_mut().unwrap().pull_secrets = failing.clone());
    let message = &status.problems[0].message;
    assert!(message.contains("team-0: Forbidden (403): exceeded quota: q; team-1"), "{message}");
    assert!(message.ends_with("and 3 more") && !message.contains("team-5"), "{message}");
}

#[test]
fn silent_replica_is_only_a_note() {
    let one =
        |change: fn(&mut Replica)| judged(|it| change(&mut it.replicas.as_mut().unwrap().pods[0]));
    assert_eq!(codes(|it| it.replicas.as_mut().unwrap().ready = 0), ["replicas-missing"]);
    assert_eq!(codes(|it| it.replicas = None), ["replicas-missing"]);
    let behind = one(|it| it.answer.as_mut().unwrap().hash = "bb".into());
    assert_eq!(behind.problems[0].message, "one serves declaration bb, expected declaration aa");
    let fresh = one(|it| it.answer.as_mut().unwrap().rules = None);
    assert_eq!(fresh.problems[0].code, "replica-behind");
    let older = one(|it| it.answer.as_mut().unwrap().version = "0".into());
    assert!(older.healthy && older.notes[0].contains("version 0"));
    let silent = one(|it| it.answer = None);
    assert!(silent.healthy && silent.notes == ["cannot query 1 of 1 replicas"]);
}

#[test]
fn requirements_are_noted_until_all_nodes_are_configured() {
    let with = |nodes: Option<Nodes>| {
        let status = judged(|it| {
            it.report.as_mut().unwrap().nodes = vec!["nodes must trust x".into()];
            it.nodes = nodes;
        });
        assert!(status.healthy);
        status.notes
    };
    assert_eq!(with(None), ["nodes must trust x; it is unknown which nodes are configured"]);
    let some = Nodes { all: 3, configured: 1 };
    assert_eq!(with(Some(some)), ["nodes must trust x; 1 of 3 nodes are marked as configured"]);
    assert!(with(Some(Nodes { all: 3, configured: 3 })).is_empty());
}

#[test]
fn node_that_needs_an_administrator_is_a_problem() {
    let row = |reason: &str, count: usize| PendingNodes {
        reason: reason.into(),
        count,
        nodes: (0..count.min(10)).map(|nth| format!("n{nth}")).collect(),
        message: "m".into(),
        command: (reason == "RestartRequired").then(|| "image-swap node apply".to_owned()),
    };
    let pending = vec![row("OnTrial", 4), row("RestartRequired", 1), row("Refused", 40)];
    let agents = AgentsStatus {
        nodes: 45,
        revision: 4,
        verified_revision: 3,
        trial: "n0: not found".into(),
        failed: true,
        restarts: "the restart of n1 failed".into(),
        restarts_stopped: true,
        pending,
        ..AgentsStatus::default()
    };
    let status = judged(|it| it.report.as_mut().unwrap().agents = Some(agents));
    let found: Vec<_> = status.problems.iter().map(|it| (&*it.code, &*it.message)).collect();
    let failed = "the trial of declaration 4 failed, and nodes keep declaration 3: n0: not found";
    let expected = [
        ("node-trial-failed", failed),
        ("node-restart-failed", "the restart of n1 failed"),
        (
            "nodes-pending",
            "the declaration is not in force on n0: m; run `image-swap node apply` there",
        ),
        ("nodes-pending", "the declaration is not in force on 40 nodes, such as n0: m"),
    ];
    assert_eq!(found, expected);
    assert!(
        judged(|it| it.report.as_mut().unwrap().agents = Some(AgentsStatus::default())).healthy
    );
}

#[test]
fn wait_that_needs_an_administrator_is_a_problem() {
    let waiting = |needs_administrator: bool| {
        judged(|it| {
            let report = it.report.as_mut().unwrap();
            report.policy.mode = Some(Mode::Audit);
            report.agents = Some(AgentsStatus::default());
            // The annotation of nodes does not count.
            report.nodes = vec!["nodes must trust x".into()];
            let reason = "a reboots".to_owned();
            report.declaration.waits =
                Some(PodWait { reason, needs_administrator, ..PodWait::default() });
        })
    };
    let message = "pods keep their images until all nodes trust declaration aa: a reboots";
    let noted = waiting(false);
    assert!(noted.healthy && noted.notes == [message], "{noted:?}");
    let found = waiting(true);
    let found: Vec<_> = found.problems.iter().map(|it| (&*it.code, &*it.message)).collect();
    assert_eq!(found, [("pods-wait-for-nodes", message)]);
    // Replicas serve the former declaration.
    let served = |hash: &str| {
        let waits = Some(PodWait { served: hash.into(), ..PodWait::default() });
        report(|it| {
            it.declaration.waits = waits;
            it.declaration.hash = "bb".into();
        })
    };
    assert!(served("aa").is_empty());
    assert_eq!(served("cc"), ["replica-behind"]);
}

#[test]
fn outdated_pods_are_noted() {
    let status =
        judged(|it| it.pods = Some(vec![RegistryPods { outdated: 2, ..RegistryPods::default() }]));
    assert!(status.healthy && status.notes[0].starts_with("2 running pods"), "{:?}", status.notes);
}

#[test]
fn failing_step_is_reported_with_its_reason() {
    let failing = FailingStep { name: "jet-system".into(), error: "it is forbidden".into() };
    let status = judged(|status| status.report.as_mut().unwrap().failing.push(failing));
    assert!(!status.healthy);
    let message = "the step jet-system fails: it is forbidden";
    assert_eq!((&*status.problems[0].code, &*status.problems[0].message), ("step-failed", message));
}
