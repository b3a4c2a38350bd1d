use proptest::prelude::*;

use super::*;

const STEADY: Duration = Duration::from_secs(10);
const SHARED: ApiServer = ApiServer::Shared;
/// The time that the documentation promises.
const PROMISED: Duration = Duration::from_mins(2);
/// Time until a lost node leaves the endpoints. `--node-monitor-grace-period` is 50 s, the
/// check runs every 5 s, and the controller manager may need an election of 15 s.
const NODE_LOST: Duration = Duration::from_secs(50 + 5 + 15);

fn gate(registered: FailurePolicy) -> FailurePolicyGate {
    FailurePolicyGate::begin(registered, LOWER_AFTER)
}

fn second(at: u64) -> Duration {
    Duration::from_secs(at)
}

/// Probes the shared address once per second, from second `from` on.
fn observe_all(gate: &mut FailurePolicyGate, from: u64, probes: &[Probe]) -> Option<FailurePolicy> {
    let mut changed = None;
    for (at, probe) in (from..).zip(probes) {
        changed = gate.observe(SHARED, *probe, second(at), second(at)).or(changed);
    }
    changed
}

/// Probes `server` as a controller does, until the policy changes or `end` is over.
/// `answer` returns the result of a probe and the time that it takes. Returns the time
/// of the change.
fn drive(
    gate: &mut FailurePolicyGate,
    server: ApiServer,
    end: Duration,
    mut answer: impl FnMut(Duration) -> (Probe, Duration),
) -> Option<Duration> {
    let mut at = Duration::ZERO;
    while at < end {
        let (probe, takes) = answer(at);
        if gate.observe(server, probe, at, at + takes).is_some() {
            return Some(at + takes);
        }
        let wait = match gate.pace(server) {
            ProbePace::Soon => second(1),
            ProbePace::Often => STEADY / 5,
            ProbePace::Steady => STEADY,
        };
        at = (at + wait).max(at + takes);
    }
    None
}

fn addresses(numbers: &[u8]) -> Vec<SocketAddr> {
    numbers.iter().map(|number| ([10, 0, 0, *number], 6443).into()).collect()
}

// guarantee: 4c
#[test]
fn one_successful_probe_earns_fail() {
    for (probes, expected) in [
        (&[][..], FailurePolicy::Ignore),
        (
            &[Probe::Unreached, Probe::Unknown, Probe::NoEndpoints, Probe::Silent],
            FailurePolicy::Ignore,
        ),
        (&[Probe::Unreached, Probe::Reached], FailurePolicy::Fail),
    ] {
        let mut gate = gate(FailurePolicy::Ignore);
        observe_all(&mut gate, 0, probes);
        assert_eq!(gate.policy(RequestedPolicy::Fail), expected, "{probes:?}");
    }
}

// guarantee: 4c
#[test]
fn dropped_packets_lower_fail_in_two_minutes() {
    for timeout in 0..=30 {
        let mut gate = gate(FailurePolicy::Fail);
        gate.observe(SHARED, Probe::Reached, Duration::ZERO, Duration::ZERO);
        let fails = |_| (Probe::Unreached, second(timeout));
        let lowered = drive(&mut gate, SHARED, PROMISED, fails).unwrap();
        // The network breaks right after a success, one interval before the first failure.
        assert!(lowered + STEADY < PROMISED, "{timeout} s: {lowered:?}");
        assert!(lowered > NODE_LOST, "{timeout} s: {lowered:?}");
        assert_eq!(gate.policy(RequestedPolicy::Fail), FailurePolicy::Ignore);
    }
}

#[test]
fn lowered_policy_returns_after_successes_in_a_row() {
    let mut gate = gate(FailurePolicy::Fail);
    assert_eq!(observe_all(&mut gate, 0, &[Probe::Unreached; 100]), Some(FailurePolicy::Ignore));
    assert_eq!(observe_all(&mut gate, 100, &[Probe::Reached; 2]), None);
    assert_eq!(observe_all(&mut gate, 102, &[Probe::Reached]), Some(FailurePolicy::Fail));
}

// guarantee: 4c
#[test]
fn failures_among_successes_lower_fail() {
    // One of two, three or five API servers behind one address fails, in turn.
    for servers in [2, 3, 5] {
        let mut gate = gate(FailurePolicy::Fail);
        let mut turn = 0;
        let one_fails = |_| {
            turn += 1;
            let fails = turn % servers == 0;
            if fails { (Probe::Unreached, second(5)) } else { (Probe::Reached, second(0)) }
        };
        let lowered = drive(&mut gate, SHARED, PROMISED * 2, one_fails);
        let first = STEADY * servers;
        assert!(lowered.is_some_and(|at| at < first + PROMISED), "{servers}: {lowered:?}");
        // The policy does not return while failures recur.
        let mut turn = 0;
        let one_fails = |_| {
            turn += 1;
            (if turn % servers == 0 { Probe::Unreached } else { Probe::Reached }, second(0))
        };
        assert_eq!(drive(&mut gate, SHARED, PROMISED * 10, one_fails), None);
        assert_eq!(gate.summary(), Probe::Unreached);
        // The policy returns after many probes without failure.
        let reached = |_| (Probe::Reached, second(0));
        assert!(drive(&mut gate, SHARED, PROMISED, reached).is_some());
        assert_eq!((gate.summary(), gate.failures()), (Probe::Reached, 0));
    }
}

#[test]
fn lost_node_lowers_nothing() {
    // All replicas, or one of two, until the node has left the endpoints.
    for share in [1, 2] {
        let mut gate = gate(FailurePolicy::Fail);
        let mut turn = 0;
        let lost = |at| {
            turn += 1;
            let fails = at < NODE_LOST && turn % share == 0;
            if fails { (Probe::Unreached, second(5)) } else { (Probe::Reached, second(0)) }
        };
        assert_eq!(drive(&mut gate, SHARED, PROMISED * 5, lost), None, "{share}");
        assert_eq!(gate.policy(RequestedPolicy::Fail), FailurePolicy::Fail);
    }
}

#[test]
fn rare_failures_lower_nothing() {
    let mut gate = gate(FailurePolicy::Fail);
    let mut turn = 0;
    let rarely = |_| {
        turn += 1;
        (if turn % 20 == 0 { Probe::Unreached } else { Probe::Reached }, second(0))
    };
    assert_eq!(drive(&mut gate, SHARED, PROMISED * 20, rarely), None);
}

// guarantee: 4c
#[test]
fn one_api_server_of_several_lowers_fail() {
    let all = addresses(&[1, 2, 3]);
    let mut gate = gate(FailurePolicy::Fail);
    gate.set_servers(&all);
    let mut lowered = None;
    for at in (0..120).step_by(10) {
        for (nth, address) in all.iter().enumerate() {
            let probe = if nth == 2 { Probe::Unreached } else { Probe::Reached };
            let server = ApiServer::At(*address);
            lowered = lowered.or(gate.observe(server, probe, second(at), second(at)).map(|_| at));
        }
        gate.observe(SHARED, Probe::Reached, second(at), second(at));
    }
    assert_eq!(lowered, Some(80));
    assert_eq!(gate.unreached(), [all[2]]);
    assert_eq!(gate.summary(), Probe::Unreached);
    // The failing API server is removed: the others reach a replica.
    assert_eq!(gate.set_servers(&all[..2]), Some(FailurePolicy::Fail));
}

#[test]
fn silent_api_server_does_not_count() {
    let all = addresses(&[1, 2]);
    let [one, other] = [ApiServer::At(all[0]), ApiServer::At(all[1])];
    let mut gate = gate(FailurePolicy::Ignore);
    gate.set_servers(&all);
    assert_eq!(gate.observe(SHARED, Probe::Reached, second(0), second(0)), None);
    assert_eq!(gate.observe(one, Probe::Reached, second(0), second(0)), None);
    // The other address might be an API server that does not reach a replica.
    assert_eq!(gate.policy(RequestedPolicy::Fail), FailurePolicy::Ignore);
    assert_eq!(gate.observe(other, Probe::Silent, second(0), second(5)), Some(FailurePolicy::Fail));
    for at in 1..1000 {
        assert_eq!(gate.observe(other, Probe::Silent, second(at), second(at)), None);
    }
    assert_eq!(gate.summary(), Probe::Reached);
}

#[test]
fn single_address_equals_the_shared_one() {
    let mut gate = gate(FailurePolicy::Ignore);
    gate.set_servers(&addresses(&[1]));
    assert_eq!(gate.servers().collect::<Vec<_>>(), [SHARED]);
    gate.set_servers(&addresses(&[1, 2]));
    assert_eq!(gate.servers().count(), 3);
    // A probe of a removed API server has no effect.
    let gone = ApiServer::At(addresses(&[9])[0]);
    assert_eq!(gate.observe(gone, Probe::Unreached, second(0), second(900)), None);
}

#[test]
fn pods_wait_while_no_replica_runs() {
    let mut gate = gate(FailurePolicy::Fail);
    assert_eq!(observe_all(&mut gate, 0, &[Probe::NoEndpoints; 1000]), None);
    assert_eq!(gate.policy(RequestedPolicy::Fail), FailurePolicy::Fail);
    // Failures from before a time without replicas do not count after it.
    observe_all(&mut gate, 1000, &[Probe::Unreached; 70]);
    observe_all(&mut gate, 1070, &[Probe::NoEndpoints]);
    assert_eq!(observe_all(&mut gate, 1071, &[Probe::Unreached; 70]), None);
}

// guarantee: 4c
#[test]
fn ignore_and_audit_never_fail() {
    let mut gate = gate(FailurePolicy::Fail);
    observe_all(&mut gate, 0, &[Probe::Reached]);
    assert_eq!(gate.policy(RequestedPolicy::Ignore), FailurePolicy::Ignore);
    assert_eq!(gate.policy(RequestedPolicy::Audit), FailurePolicy::Ignore);
}

#[test]
fn probes_are_frequent_while_policy_may_change() {
    let mut new = gate(FailurePolicy::Ignore);
    assert_eq!(new.pace(SHARED), ProbePace::Soon);
    observe_all(&mut new, 0, &[Probe::NoEndpoints]);
    assert_eq!(new.pace(SHARED), ProbePace::Soon);
    // The endpoint is new: the API server reads it with a delay.
    observe_all(&mut new, 1, &[Probe::Unreached; NEW_ENDPOINT as usize]);
    assert_eq!(new.pace(SHARED), ProbePace::Soon);
    observe_all(&mut new, 40, &[Probe::Unreached]);
    assert_eq!(new.pace(SHARED), ProbePace::Steady);
    observe_all(&mut new, 41, &[Probe::Reached]);
    assert_eq!(new.pace(SHARED), ProbePace::Steady);
    observe_all(&mut new, 42, &[Probe::Unreached, Probe::Reached]);
    assert_eq!(new.pace(SHARED), ProbePace::Often);
    observe_all(&mut new, 44, &[Probe::Reached; CLEARED_AFTER as usize]);
    assert_eq!(new.pace(SHARED), ProbePace::Steady);
}

fn any_probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Reached),
        Just(Probe::Unreached),
        Just(Probe::NoEndpoints),
        Just(Probe::Unknown),
        Just(Probe::Silent),
    ]
}

proptest! {
    /// Lowers `Fail` only by a failure, after enough time and failures. Sets it only while the
    /// last probe of every API server succeeded.
    // guarantee: 4c
    #[test]
    fn policy_follows_the_evidence(
        probes in prop::collection::vec((0_u8..3, any_probe(), 0_u64..40), 0..200),
    ) {
        let all = addresses(&[1, 2]);
        let server = |nth: u8| match nth {
            0 => SHARED,
            nth => ApiServer::At(all[usize::from(nth) - 1]),
        };
        let mut gate = gate(FailurePolicy::Ignore);
        gate.set_servers(&all);
        let (mut now, mut last, mut failures) = (0, BTreeMap::new(), BTreeMap::new());
        for (nth, probe, takes) in probes {
            let began = now;
            now += takes;
            last.insert(nth, probe);
            if probe == Probe::Unreached {
                failures.entry(nth).or_insert_with(Vec::new).push(began);
            }
            match gate.observe(server(nth), probe, second(began), second(now)) {
                Some(FailurePolicy::Fail) => prop_assert!(
                    last.len() == 3
                        && last.values().all(|it| matches!(it, Probe::Reached | Probe::Silent))
                        && last.values().any(|it| *it == Probe::Reached)
                ),
                Some(FailurePolicy::Ignore) => {
                    prop_assert_eq!(probe, Probe::Unreached);
                    let begins = &failures[&nth];
                    prop_assert!(begins.len() >= FAILURES_TO_LOWER as usize);
                    prop_assert!(second(now - begins[0]) >= LOWER_AFTER);
                }
                None => {}
            }
        }
    }
}
