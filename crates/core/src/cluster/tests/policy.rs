use proptest::prelude::*;

use super::*;

fn after(probes: &[Probe]) -> Policy {
    let mut earned = Earned::begin(Policy::Ignore);
    for probe in probes {
        earned.observe(*probe);
    }
    earned.policy(Wanted::Fail)
}

#[test]
fn one_probe_that_reached_us_earns_fail() {
    assert_eq!(after(&[]), Policy::Ignore);
    assert_eq!(after(&[Probe::Unreached, Probe::Unknown, Probe::NobodyThere]), Policy::Ignore);
    assert_eq!(after(&[Probe::Unreached, Probe::Reached]), Policy::Fail);
}

#[test]
fn fail_is_taken_back_when_probes_keep_failing_and_returns_slowly() {
    let mut earned = Earned::begin(Policy::Fail);
    for _ in 1..LOWER_AFTER {
        assert_eq!(earned.observe(Probe::Unreached), None);
    }
    assert_eq!(earned.observe(Probe::Unreached), Some(Policy::Ignore));
    for _ in 1..RAISE_AGAIN_AFTER {
        assert_eq!(earned.observe(Probe::Reached), None);
    }
    assert_eq!(earned.observe(Probe::Reached), Some(Policy::Fail));
}

#[test]
fn pods_wait_while_no_replica_runs() {
    let mut earned = Earned::begin(Policy::Fail);
    for _ in 0..1000 {
        assert_eq!(earned.observe(Probe::NobodyThere), None);
    }
    assert_eq!(earned.policy(Wanted::Fail), Policy::Fail);
}

#[test]
fn ignore_and_audit_never_fail() {
    let mut earned = Earned::begin(Policy::Fail);
    earned.observe(Probe::Reached);
    assert_eq!(earned.policy(Wanted::Ignore), Policy::Ignore);
    assert_eq!(earned.policy(Wanted::Audit), Policy::Ignore);
}

fn any_probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Reached),
        Just(Probe::Unreached),
        Just(Probe::NobodyThere),
        Just(Probe::Unknown)
    ]
}

proptest! {
    /// `Fail` is only ever set by a probe that reached us, and only ever taken
    /// back by one that did not although replicas run.
    #[test]
    fn the_policy_follows_what_was_seen(probes in prop::collection::vec(any_probe(), 0..100)) {
        let mut earned = Earned::begin(Policy::Ignore);
        for probe in probes {
            match earned.observe(probe) {
                Some(Policy::Fail) => prop_assert_eq!(probe, Probe::Reached),
                Some(Policy::Ignore) => prop_assert_eq!(probe, Probe::Unreached),
                None => {}
            }
        }
    }
}
