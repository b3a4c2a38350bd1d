use super::*;
use crate::{
    health::Health,
    report::{Declared, FailingStep, Found, Held, Other, PullSecretFailure, PullSecrets},
    status::{Answer, Leader, Nodes, Registry, Replica, StuckPods},
};

const NOW: UnixTime = 1_700_000_000;
const DAY: UnixTime = 24 * 60 * 60;

/// A release that is as it should be.
fn good() -> Status {
    let lifetime = |life| Some(Lifetime { not_before: NOW - DAY, not_after: NOW + life });
    let answer =
        Answer { version: "1".into(), hash: "aa".into(), rules: Some(2), ..Answer::default() };
    let replica =
        Replica { name: "one".into(), ready: true, answer: Some(answer), ..Replica::default() };
    Status {
        leader: Some(Leader { holder: "c".into(), renewed: NOW - 3, lasts: 15 }),
        report: Some(Report {
            version: "1".into(),
            declaration: Declared {
                source: "chart".into(),
                hash: "aa".into(),
                ..Declared::default()
            },
            policy: Held {
                mode: "enforce".into(),
                failure_policy: "Fail".into(),
                wanted: "fail".into(),
                registered: true,
                probe: "reached".into(),
                ..Held::default()
            },
            authority: lifetime(300 * DAY),
            certificate: lifetime(20 * DAY),
            registry: Some(Health { outcome: "ok".into(), ..Health::default() }),
            ..Report::default()
        }),
        replicas: Some(Replicas { wanted: 1, ready: 1, pods: vec![replica] }),
        read: NOW,
        ..Status::default()
    }
}

fn judged(change: impl FnOnce(&mut Status)) -> Status {
    let mut status = good();
    change(&mut status);
    judge(&mut status);
    status
}

fn codes(change: impl FnOnce(&mut Status)) -> Vec<String> {
    let status = judged(change);
    assert_eq!(status.healthy, status.news.is_empty());
    status.news.into_iter().map(|news| news.code).collect()
}

fn report(change: impl FnOnce(&mut Report)) -> Vec<String> {
    codes(|status| change(status.report.as_mut().unwrap()))
}

#[test]
fn a_release_that_is_as_it_should_be_has_neither_news_nor_notes() {
    let status = judged(|_| ());
    assert!(status.healthy && status.news.is_empty() && status.notes.is_empty(), "{status:?}");
}

#[test]
fn a_controller_that_is_silent_is_bad_news() {
    assert_eq!(codes(|it| it.leader = None), ["no-leader"]);
    assert_eq!(codes(|it| it.leader.as_mut().unwrap().holder.clear()), ["no-leader"]);
    assert_eq!(codes(|it| it.leader.as_mut().unwrap().renewed = NOW - 76), ["no-leader"]);
    // A clock that is a minute off is none.
    assert!(codes(|it| it.leader.as_mut().unwrap().renewed = NOW - 75).is_empty());
    assert!(codes(|it| it.leader.as_mut().unwrap().renewed = NOW + 600).is_empty());
    assert_eq!(codes(|it| it.report = None), ["no-report"]);
    // What may not be read is not gone.
    let unread = codes(|it| {
        (it.leader, it.report, it.replicas) = (None, None, None);
        it.unread = vec!["replicas: forbidden".into()];
    });
    assert_eq!(unread, ["unread"]);
}

#[test]
fn a_refused_declaration_is_told_with_line_and_column() {
    let status = judged(|it| {
        let declared = &mut it.report.as_mut().unwrap().declaration;
        declared.refused = vec!["registry-info".into()];
        declared.findings = vec![Found {
            source: "registry-info".into(),
            severity: "error".into(),
            line: 2,
            column: 9,
            key: Some("MIRROR_REGISTRIES".into()),
            message: "expected a target".into(),
            ..Found::default()
        }];
    });
    assert_eq!(status.news[0].code, "declaration-refused");
    let told = "line 2, column 9 of MIRROR_REGISTRIES: expected a target";
    assert!(status.news[0].message.contains(told), "{}", status.news[0].message);
}

#[test]
fn whatever_keeps_pods_from_being_held_is_bad_news() {
    assert_eq!(report(|it| it.policy.registered = false), ["not-registered"]);
    assert_eq!(report(|it| it.policy.probe = "unreached".into()), ["unreached"]);
    assert_eq!(report(|it| it.policy.probe = "nobody-there".into()), ["unreached"]);
    assert_eq!(report(|it| it.policy.failure_policy = "Ignore".into()), ["not-enforced"]);
    let foreign = |it: &mut Report| {
        it.policy.mode = "audit".into();
        it.foreign = vec![Other { alive: true, ..Other::default() }];
    };
    assert_eq!(report(foreign), ["other-image-swapper", "audit"]);
    // By choice it is none, and told.
    for wanted in ["audit", "ignore"] {
        let status = judged(|it| {
            let held = &mut it.report.as_mut().unwrap().policy;
            (held.wanted, held.failure_policy) = (wanted.into(), "Ignore".into());
            if wanted == "audit" {
                held.mode = "audit".into();
            }
        });
        assert_eq!((status.healthy, status.notes.len()), (true, 1), "{wanted}");
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
    let expected = "one cannot start: ErrImagePull of h.io/image-swap:1: not found; push the image";
    assert_eq!(
        (own.news[0].code.as_str(), own.news[0].message.as_str()),
        ("pod-not-starting", expected)
    );
    let swapped = judged(|it| {
        it.unpulled = Some(StuckPods { count: 2, pods: vec![stuck("apps", "web")] });
    });
    assert_eq!(swapped.news[0].code, "pods-not-pulled");
    let message = &swapped.news[0].message;
    assert!(message.starts_with("2 swapped pods have an image"), "{message}");
    assert!(message.contains("apps/web: ErrImagePull of h.io/image-swap:1"), "{message}");
    assert!(judged(|it| it.unpulled = Some(StuckPods::default())).healthy);
}

#[test]
fn report_before_ready_replicas_is_early() {
    let early = |probe: &str, ready: u64| {
        let mut status = good();
        probe.clone_into(&mut status.report.as_mut().unwrap().policy.probe);
        status.replicas.as_mut().unwrap().ready = ready;
        is_early(&status)
    };
    assert!(early("nobody-there", 1));
    assert!(!early("nobody-there", 0) && !early("reached", 1) && !early("unreached", 1));
}

#[test]
fn certificates_that_nobody_renews_are_bad_news() {
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
fn the_registry_and_the_pull_secrets_are_bad_news_when_pods_wait_in_vain() {
    let outcome =
        |outcome: &str| report(|it| outcome.clone_into(&mut it.registry.as_mut().unwrap().outcome));
    assert_eq!(outcome("unauthorized"), ["registry-unhealthy"]);
    assert!(outcome("unverified").is_empty());
    let soon = |it: &mut Report| {
        let health = it.registry.as_mut().unwrap();
        (health.expires, health.expires_soon) = (Some(NOW + DAY), true);
    };
    assert_eq!(report(soon), ["registry-certificate-expires"]);
    let foreign =
        PullSecrets { foreign_count: 1, foreign: vec!["apps".into()], ..PullSecrets::default() };
    assert_eq!(report(|it| it.pull_secrets = foreign), ["pull-secret-foreign"]);
    let failure = |number| PullSecretFailure {
        namespace: format!("team-{number}"),
        reason: "Forbidden (403): exceeded quota: q".into(),
    };
    let failing = PullSecrets {
        failed: 8,
        failures: (0..7).map(failure).collect(),
        ..PullSecrets::default()
    };
    assert_eq!(report(|it| it.pull_secrets = failing.clone()), ["pull-secrets-failing"]);
    let status = judged(|it| it.report.as_mut().unwrap().pull_secrets = failing.clone());
    let message = &status.news[0].message;
    assert!(message.contains("team-0: Forbidden (403): exceeded quota: q; team-1"), "{message}");
    assert!(message.ends_with("and 3 more") && !message.contains("team-5"), "{message}");
}

#[test]
fn replicas_that_are_gone_or_behind_are_bad_news_and_silent_ones_a_note() {
    let one =
        |change: fn(&mut Replica)| judged(|it| change(&mut it.replicas.as_mut().unwrap().pods[0]));
    assert_eq!(codes(|it| it.replicas.as_mut().unwrap().ready = 0), ["replicas-missing"]);
    assert_eq!(codes(|it| it.replicas = None), ["replicas-missing"]);
    let behind = one(|it| it.answer.as_mut().unwrap().hash = "bb".into());
    assert_eq!(behind.news[0].message, "one serves declaration bb, expected declaration aa");
    let fresh = one(|it| it.answer.as_mut().unwrap().rules = None);
    assert_eq!(fresh.news[0].code, "replica-behind");
    let older = one(|it| it.answer.as_mut().unwrap().version = "0".into());
    assert!(older.healthy && older.notes[0].contains("version 0"));
    let silent = one(|it| it.answer = None);
    assert!(silent.healthy && silent.notes == ["1 of 1 replicas could not be asked"]);
}

#[test]
fn what_nodes_need_is_noted_until_all_of_them_are_known_to_have_been_told() {
    let with = |nodes: Option<Nodes>| {
        let status = judged(|it| {
            it.report.as_mut().unwrap().nodes = vec!["nodes must trust x".into()];
            it.nodes = nodes;
        });
        assert!(status.healthy);
        status.notes
    };
    assert_eq!(with(None), ["nodes must trust x; it is not known which were told"]);
    let some = Nodes { all: 3, told: 1 };
    assert_eq!(with(Some(some)), ["nodes must trust x; 1 of 3 are known to have been told"]);
    assert!(with(Some(Nodes { all: 3, told: 3 })).is_empty());
}

#[test]
fn pods_from_before_are_noted() {
    let status = judged(|it| it.pods = Some(vec![Registry { outdated: 2, ..Registry::default() }]));
    assert!(status.healthy && status.notes[0].starts_with("2 running pods"), "{:?}", status.notes);
}

#[test]
fn a_step_that_fails_is_bad_news_with_its_reason() {
    let failing = FailingStep { name: "jet-system".into(), error: "it is forbidden".into() };
    let status = judged(|status| status.report.as_mut().unwrap().failing.push(failing));
    assert!(!status.healthy);
    let message = "the step jet-system fails: it is forbidden";
    assert_eq!((&*status.news[0].code, &*status.news[0].message), ("step-failed", message));
}
