use serde_json::json;

use super::*;
use crate::status::{
    AdmissionStatus, DeclarationStatus, FailingStep, RegistryOutcome, node_mirror::reason,
};

// A management cluster of another release reads the summary.
#[test]
fn every_name_is_kept() {
    let summary = ClusterSummary {
        version: "0.2.0".into(),
        cluster_uid: Some("0d2c".into()),
        bundle_hash: Some("4567".into()),
        registry_info_revision: Some(7),
        source: Origin::RegistryInfo,
        hash: "0123".into(),
        webhook: WebhookSummary::Fail,
        replicas: Some(ReplicaCount { ready: 1, total: 2 }),
        nodes: Some(NodeCount { total: 5, applied: 4, verified: 3 }),
        pods_not_from_mirror: Some(6),
        problems: vec![SummaryProblem::NodesPending],
    };
    let written = json!({
        "version": "0.2.0", "clusterUid": "0d2c", "bundleHash": "4567",
        "registryInfoRevision": 7, "source": "registry-info", "hash": "0123", "webhook": "Fail", "replicas": { "ready": 1, "total": 2 },
        "nodes": { "total": 5, "applied": 4, "verified": 3 }, "podsNotFromMirror": 6,
        "problems": ["nodes-pending"],
    });
    assert_eq!(serde_json::to_value(&summary).unwrap(), written);
    assert_eq!(ClusterSummary::parse(&written.to_string()), Some(summary));
    let empty = json!({
        "version": "", "registryInfoRevision": null, "source": "none", "hash": "",
        "webhook": "none", "replicas": null, "nodes": null, "podsNotFromMirror": null,
        "problems": [],
    });
    assert_eq!(serde_json::to_value(ClusterSummary::default()).unwrap(), empty);
}

#[test]
fn every_value_is_kept() {
    use SummaryProblem as P;
    let webhooks = ["Fail", "Ignore", "audit", "none"];
    for (nth, name) in webhooks.into_iter().enumerate() {
        let webhook: WebhookSummary = serde_json::from_value(json!(name)).unwrap();
        assert_eq!((webhook.as_str(), webhook as usize), (name, nth));
        assert_eq!(serde_json::to_value(webhook).unwrap(), name);
    }
    let problems = [
        (P::NodeTrialFailed, "node-trial-failed"),
        (P::DeclarationRefused, "declaration-refused"),
        (P::RegistryUnhealthy, "registry-unhealthy"),
        (P::NotRegistered, "not-registered"),
        (P::Unreached, "unreached"),
        (P::OtherImageSwapper, "other-image-swapper"),
        (P::PodsWaitForNodes, "pods-wait-for-nodes"),
        (P::NodeRestartFailed, "node-restart-failed"),
        (P::NodesPending, "nodes-pending"),
        (P::PullSecretsFailing, "pull-secrets-failing"),
        (P::PodsRecreated, "pods-recreated"),
        (P::StepFailed, "step-failed"),
        (P::NotEnforced, "not-enforced"),
        (P::RegistryCertificateExpires, "registry-certificate-expires"),
        (P::Other, "other"),
    ];
    for (problem, name) in problems {
        assert_eq!(serde_json::to_value(problem).unwrap(), name);
        assert!(!problem.message().is_empty());
    }
}

#[test]
fn foreign_summary_is_bounded() {
    let later = r#"{"more":{"a":1},"problems":["new","step-failed","x","y"],"webhook":"Z"}"#;
    let later = ClusterSummary::parse(later).unwrap();
    let other = SummaryProblem::Other;
    assert_eq!(later.problems, [other, SummaryProblem::StepFailed, other]);
    assert_eq!(later.webhook, WebhookSummary::None);
    let long = format!(r#"{{"hash":"{}"}}"#, "a".repeat(SUMMARY_BYTES));
    for invalid in [&*long, "", "1", "{", r#"{"nodes":{"total":-1}}"#] {
        assert_eq!(ClusterSummary::parse(invalid), None);
    }
}

fn healthy() -> ControllerReport {
    ControllerReport {
        version: "0.2.0".into(),
        bundle_hash: Some("45".into()),
        declaration: DeclarationStatus {
            source: Origin::RegistryInfo,
            hash: "01".into(),
            revision: 4,
            registry_info_revision: Some(9),
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
        agents: Some(AgentsStatus {
            nodes: 3,
            applied: 2,
            revision: 5,
            verified_revision: 5,
            current: true,
            ..AgentsStatus::default()
        }),
        ..ControllerReport::default()
    }
}

#[test]
fn healthy_report_has_no_problem() {
    let summary = ClusterSummary::of(&healthy(), None);
    let expected = ClusterSummary {
        version: "0.2.0".into(),
        registry_info_revision: Some(9),
        source: Origin::RegistryInfo,
        hash: "01".into(),
        bundle_hash: Some("45".into()),
        webhook: WebhookSummary::Fail,
        nodes: Some(NodeCount { total: 3, applied: 2, verified: 2 }),
        ..ClusterSummary::default()
    };
    assert_eq!(summary, expected);
}

#[test]
fn former_declaration_counts_no_node() {
    let mut report = healthy();
    let agents = report.agents.as_mut().unwrap();
    (agents.current, agents.failed) = (false, true);
    let summary = ClusterSummary::of(&report, None);
    assert_eq!(summary.nodes, Some(NodeCount { total: 3, applied: 0, verified: 0 }));
    assert_eq!(summary.problems, []);
    let agents = report.agents.as_mut().unwrap();
    (agents.current, agents.verified_revision) = (true, 4);
    let summary = ClusterSummary::of(&report, None);
    assert_eq!(summary.nodes, Some(NodeCount { total: 3, applied: 2, verified: 0 }));
    assert_eq!(summary.problems, [SummaryProblem::NodeTrialFailed]);
}

#[test]
fn three_worst_problems_are_listed() {
    let mut report = healthy();
    report.failing.push(FailingStep { name: "a".into(), error: "secret".into() });
    let pending = PendingNodes { reason: reason::REFUSED.into(), ..PendingNodes::default() };
    report.agents.as_mut().unwrap().pending.push(pending);
    report.policy.failure_policy = Some(FailurePolicy::Ignore);
    report.registry =
        Some(RegistryStatus { outcome: RegistryOutcome::Expired, ..RegistryStatus::default() });
    let summary = ClusterSummary::of(&report, None);
    let expected = [
        SummaryProblem::RegistryUnhealthy,
        SummaryProblem::NodesPending,
        SummaryProblem::StepFailed,
    ];
    assert_eq!(summary.problems, expected);
    assert_eq!(summary.webhook, WebhookSummary::Ignore);
    assert!(!summary.text().contains("secret"), "{}", summary.text());
}

#[test]
fn audit_and_absence_are_told_apart() {
    let mut report = healthy();
    report.policy.mode = Some(Mode::Audit);
    assert_eq!(ClusterSummary::of(&report, None).webhook, WebhookSummary::Audit);
    report.policy.registered = false;
    assert_eq!(ClusterSummary::of(&report, None).webhook, WebhookSummary::None);
}
