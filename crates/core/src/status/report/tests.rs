use image_swap_text::position::Position;
use serde_json::json;

use super::*;
use crate::diagnostic::{Code, Diagnostic};

/// A Secret and a `ConfigMap` hold 1 MiB.
#[test]
fn report_of_countless_findings_fits_config_map() {
    let long = "ü".repeat(100_000);
    let mut findings = vec![Diagnostic::warning(Code::DeadRule, Position::START, &*long); 12_000];
    findings.push(Diagnostic::error(Code::Chain, Position::START, &*long).hint(&*long));
    let about = [SourceReport { origin: Origin::RegistryInfo, refused: true, findings }];
    let mut declaration = DeclarationStatus::default();
    declaration.list_findings(&about);
    assert_eq!((declaration.findings.len(), declaration.finding_count), (LISTED, 12_001));
    assert_eq!(declaration.findings[0].severity, Severity::Error);
    let report = ControllerReport { declaration, ..ControllerReport::default() };
    let size = serde_json::to_string(&report).unwrap().len();
    assert!(size < 1024 * 1024 / 2, "{size}");
}

#[test]
fn wait_of_pods_names_both_declarations() {
    let mut declared = DeclarationStatus { hash: "01".into(), ..DeclarationStatus::default() };
    assert_eq!((declared.served(), declared.waiting()), ("01", None));
    declared.waits = Some(PodWait { reason: "a reboots".into(), ..PodWait::default() });
    let images = "pods keep their images until all nodes trust declaration 01: a reboots";
    assert_eq!((declared.served(), declared.waiting().as_deref()), ("01", Some(images)));
    declared.waits.as_mut().unwrap().served = "ff".into();
    let swapped =
        "pods are swapped by declaration ff until all nodes trust declaration 01: a reboots";
    assert_eq!((declared.served(), declared.waiting().as_deref()), ("ff", Some(swapped)));
}

/// `status` of another release reads the report.
#[test]
#[expect(clippy::too_many_lines, reason = "spells the whole contract out")]
fn every_name_is_kept() {
    let report = ControllerReport {
        version: "0.1.0".into(),
        bundle_hash: Some("89ab".into()),
        declaration: DeclarationStatus {
            source: Origin::RegistryInfo,
            hash: "0123".into(),
            revision: 3,
            registry_info_revision: Some(7),
            rules: 2,
            refused: vec![Origin::Chart],
            differs: vec!["DOMAIN".into()],
            findings: vec![DiagnosticRow {
                source: Origin::Chart,
                severity: Severity::Warning,
                code: "dead-rule".into(),
                line: 1,
                column: 2,
                key: Some("MIRROR_REGISTRIES".into()),
                message: "found".into(),
                hint: Some("remedy".into()),
            }],
            finding_count: 1,
            waits: Some(PodWait {
                served: "4567".into(),
                rules: 1,
                reason: "a: no agent".into(),
                needs_administrator: true,
            }),
        },
        policy: AdmissionStatus {
            mode: Some(Mode::Enforce),
            failure_policy: Some(FailurePolicy::Fail),
            requested: Some(RequestedPolicy::Fail),
            label: "k8s.twr.io/imageswap".into(),
            opt_in: true,
            registered: true,
            probe: ProbeStatus::Reached,
            failures: 4,
            unreached: vec!["10.0.0.1:6443".into()],
        },
        authority: Some(CertificateLifetime { not_before: 1, not_after: 2 }),
        certificate: Some(CertificateLifetime { not_before: 3, not_after: 4 }),
        registry: Some(RegistryStatus {
            domain: "h.example.org".into(),
            outcome: RegistryOutcome::Ok,
            detail: "it answers".into(),
            checked: 5,
            expires: Some(6),
            expires_soon: true,
        }),
        pull_secrets: PullSecretStatus {
            kept: true,
            namespaces: 1,
            foreign: vec!["a".into()],
            foreign_count: 1,
            failed: 1,
            failures: vec![PullSecretFailure { namespace: "b".into(), reason: "quota".into() }],
            writes: 9,
        },
        recreated: vec![RecreatedPods {
            namespace: "shop".into(),
            pod: "db-0".into(),
            kind: "Database".into(),
            group: "example.org".into(),
            owner: "db".into(),
            times: 5,
        }],
        foreign: vec![CompetitorStatus::new("other", "kuik", Liveness::Live)],
        nodes: vec!["requirement".into()],
        trust: "abcd".into(),
        node_requirements: 1,
        repairs: 2,
        failing: vec![FailingStep { name: "status".into(), error: "forbidden".into() }],
        agents: Some(AgentsStatus { nodes: 3, ..AgentsStatus::default() }),
        uninstall_mark: Some("uid".into()),
    };
    let written = json!({
        "version": "0.1.0",
        "bundleHash": "89ab",
        "declaration": {
            "source": "registry-info", "hash": "0123", "revision": 3, "registryInfoRevision": 7,
            "rules": 2, "refused": ["chart"], "differs": ["DOMAIN"],
            "findings": [{
                "source": "chart", "severity": "warning", "code": "dead-rule", "line": 1,
                "column": 2, "key": "MIRROR_REGISTRIES", "message": "found", "hint": "remedy",
            }],
            "findingCount": 1,
            "waits": {
                "served": "4567", "rules": 1, "reason": "a: no agent", "needsAdministrator": true,
            },
        },
        "policy": {
            "mode": "enforce", "failurePolicy": "Fail", "requested": "fail",
            "label": "k8s.twr.io/imageswap", "optIn": true, "registered": true,
            "probe": "reached", "failures": 4, "unreached": ["10.0.0.1:6443"],
        },
        "authority": { "notBefore": 1, "notAfter": 2 },
        "certificate": { "notBefore": 3, "notAfter": 4 },
        "registry": {
            "domain": "h.example.org", "outcome": "ok", "detail": "it answers", "checked": 5,
            "expires": 6, "expiresSoon": true,
        },
        "pullSecrets": {
            "kept": true, "namespaces": 1, "foreign": ["a"], "foreignCount": 1, "failed": 1,
            "failures": [{ "namespace": "b", "reason": "quota" }], "writes": 9,
        },
        "recreated": [{
            "namespace": "shop", "pod": "db-0", "kind": "Database", "group": "example.org",
            "owner": "db", "times": 5,
        }],
        "foreign": [{ "configuration": "other", "program": "kuik", "alive": true }],
        "nodes": ["requirement"],
        "trust": "abcd",
        "nodeNeeds": 1,
        "agents": {
            "nodes": 3, "applied": 0, "revision": 0, "verifiedRevision": 0, "trial": "",
            "failed": false, "restarts": "", "restartsStopped": false, "pending": [],
            "current": false,
        },
        "repairs": 2,
        "failing": [{ "name": "status", "error": "forbidden" }],
        "uninstallMark": "uid",
    });
    assert_eq!(serde_json::to_value(&report).unwrap(), written);
    assert_eq!(serde_json::from_value::<ControllerReport>(written).unwrap(), report);
}

#[test]
fn every_value_is_kept() {
    fn values<T: Serialize>(all: &[T]) -> Vec<serde_json::Value> {
        all.iter().map(|one| serde_json::to_value(one).unwrap()).collect()
    }
    let probes = [
        ProbeStatus::Reached,
        ProbeStatus::Unreached,
        ProbeStatus::NoEndpoints,
        ProbeStatus::Unknown,
    ];
    assert_eq!(values(&probes), ["reached", "unreached", "no-endpoints", "unknown"]);
    assert_eq!(
        values(&[RequestedPolicy::Fail, RequestedPolicy::Ignore, RequestedPolicy::Audit]),
        ["fail", "ignore", "audit"]
    );
    assert_eq!(values(&[FailurePolicy::Fail, FailurePolicy::Ignore]), ["Fail", "Ignore"]);
    assert_eq!(values(&[Mode::Enforce, Mode::Audit]), ["enforce", "audit"]);
    assert_eq!(values(&[Severity::Error, Severity::Warning]), ["error", "warning"]);
    let origins = [Origin::RegistryInfo, Origin::Chart, Origin::None];
    assert_eq!(values(&origins), ["registry-info", "chart", "none"]);
    let outcomes = [
        "ok",
        "unverified",
        "unresolved",
        "unreachable",
        "untrusted",
        "expired",
        "unauthorized",
        "unexpected",
    ];
    assert_eq!(values(&RegistryOutcome::ALL), outcomes);
    assert_eq!(RegistryOutcome::ALL.map(RegistryOutcome::as_str), outcomes);
}

#[test]
fn report_of_former_and_later_releases_is_read() {
    let read = |text: &str| serde_json::from_str::<ControllerReport>(text).unwrap();
    let former = read(r#"{"policy":{"wanted":"audit","probe":"nobody-there"}}"#).policy;
    assert_eq!(
        (former.requested, former.probe),
        (Some(RequestedPolicy::Audit), ProbeStatus::NoEndpoints)
    );
    let later = read(r#"{"policy":{"probe":"new"},"registry":{"outcome":"new"},"more":1}"#);
    assert_eq!(later.policy.probe, ProbeStatus::Unknown);
    assert_eq!(later.registry.unwrap().outcome, RegistryOutcome::Unexpected);
}

#[test]
fn message_names_owner_and_remedy() {
    let recreated = RecreatedPods {
        namespace: "shop".into(),
        pod: "db-0".into(),
        kind: "Database".into(),
        group: "example.org".into(),
        owner: "db".into(),
        times: 6,
    };
    let message = recreated.message();
    assert!(message.starts_with("pod shop/db-0 of Database db was deleted"), "{message}");
    assert!(message.contains("exemptions.owners: [Database.example.org]"), "{message}");
    let set = RecreatedPods { kind: "StatefulSet".into(), group: "apps".into(), ..recreated };
    assert!(set.message().contains("exemptions.labels"));
}
