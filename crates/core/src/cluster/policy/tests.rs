use proptest::prelude::*;

use super::*;

const STEADY: Duration = Duration::from_secs(10);
const SHARED: ApiServer = ApiServer::Shared;
/// The promise of the documentation.
const PROMISED: Duration = Duration::from_mins(2);
/// A node that is lost leaves the endpoints: `--node-monitor-grace-period` is 50 s, is
/// looked at every 5 s, by a controller manager that may have to be elected: 15 s.
const NODE_LOST: Duration = Duration::from_secs(50 + 5 + 15);

fn gate(registered: Policy) -> FailureGate {
    FailureGate::begin(registered, LOWER_AFTER)
}

fn second(at: u64) -> Duration {
    Duration::from_secs(at)
}

/// Probes the shared address once a second, from second `from` on.
fn observe_all(gate: &mut FailureGate, from: u64, probes: &[Probe]) -> Option<Policy> {
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
    gate: &mut FailureGate,
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
            Pace::Soon => second(1),
            Pace::Often => STEADY / 5,
            Pace::Steady => STEADY,
        };
        at = (at + wait).max(at + takes);
    }
    None
}

fn addresses(numbers: &[u8]) -> Vec<SocketAddr> {
    numbers.iter().map(|number| ([10, 0, 0, *number], 6443).into()).collect()
}

#[test]
fn one_probe_that_reached_us_earns_fail() {
    for (probes, expected) in [
        (&[][..], Policy::Ignore),
        (&[Probe::Unreached, Probe::Unknown, Probe::NoReplica, Probe::Silent], Policy::Ignore),
        (&[Probe::Unreached, Probe::Reached], Policy::Fail),
    ] {
        let mut gate = gate(Policy::Ignore);
        observe_all(&mut gate, 0, probes);
        assert_eq!(gate.policy(Wanted::Fail), expected, "{probes:?}");
    }
}

#[test]
fn dropped_packets_lower_fail_in_two_minutes() {
    for timeout in 0..=30 {
        let mut gate = gate(Policy::Fail);
        gate.observe(SHARED, Probe::Reached, Duration::ZERO, Duration::ZERO);
        let fails = |_| (Probe::Unreached, second(timeout));
        let lowered = drive(&mut gate, SHARED, PROMISED, fails).unwrap();
        // The network breaks right after a success, one interval before the first failure.
        assert!(lowered + STEADY < PROMISED, "{timeout} s: {lowered:?}");
        assert!(lowered > NODE_LOST, "{timeout} s: {lowered:?}");
        assert_eq!(gate.policy(Wanted::Fail), Policy::Ignore);
    }
}

#[test]
fn lowered_policy_returns_after_successes_in_a_row() {
    let mut gate = gate(Policy::Fail);
    assert_eq!(observe_all(&mut gate, 0, &[Probe::Unreached; 100]), Some(Policy::Ignore));
    assert_eq!(observe_all(&mut gate, 100, &[Probe::Reached; 2]), None);
    assert_eq!(observe_all(&mut gate, 102, &[Probe::Reached]), Some(Policy::Fail));
}

#[test]
fn failures_among_successes_lower_fail() {
    // One of two, three or five API servers behind one address, each in its turn.
    for servers in [2, 3, 5] {
        let mut gate = gate(Policy::Fail);
        let mut turn = 0;
        let one_fails = |_| {
            turn += 1;
            let fails = turn % servers == 0;
            if fails { (Probe::Unreached, second(5)) } else { (Probe::Reached, second(0)) }
        };
        let lowered = drive(&mut gate, SHARED, PROMISED * 2, one_fails);
        let first = STEADY * servers;
        assert!(lowered.is_some_and(|at| at < first + PROMISED), "{servers}: {lowered:?}");
        // It does not come back while failures recur.
        let mut turn = 0;
        let one_fails = |_| {
            turn += 1;
            (if turn % servers == 0 { Probe::Unreached } else { Probe::Reached }, second(0))
        };
        assert_eq!(drive(&mut gate, SHARED, PROMISED * 10, one_fails), None);
        assert_eq!(gate.summary(), Probe::Unreached);
        // It comes back once none of many probes has failed.
        let reached = |_| (Probe::Reached, second(0));
        assert!(drive(&mut gate, SHARED, PROMISED, reached).is_some());
        assert_eq!((gate.summary(), gate.failures()), (Probe::Reached, 0));
    }
}

#[test]
fn a_lost_node_lowers_nothing() {
    // All replicas, or one of two, until the node has left the endpoints.
    for share in [1, 2] {
        let mut gate = gate(Policy::Fail);
        let mut turn = 0;
        let lost = |at| {
            turn += 1;
            let fails = at < NODE_LOST && turn % share == 0;
            if fails { (Probe::Unreached, second(5)) } else { (Probe::Reached, second(0)) }
        };
        assert_eq!(drive(&mut gate, SHARED, PROMISED * 5, lost), None, "{share}");
        assert_eq!(gate.policy(Wanted::Fail), Policy::Fail);
    }
}

#[test]
fn rare_failures_lower_nothing() {
    let mut gate = gate(Policy::Fail);
    let mut turn = 0;
    let rarely = |_| {
        turn += 1;
        (if turn % 20 == 0 { Probe::Unreached } else { Probe::Reached }, second(0))
    };
    assert_eq!(drive(&mut gate, SHARED, PROMISED * 20, rarely), None);
}

#[test]
fn one_api_server_of_several_lowers_fail() {
    let all = addresses(&[1, 2, 3]);
    let mut gate = gate(Policy::Fail);
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
    // The API server that fails is gone: the others reach a replica.
    assert_eq!(gate.set_servers(&all[..2]), Some(Policy::Fail));
}

#[test]
fn a_silent_api_server_does_not_count() {
    let all = addresses(&[1, 2]);
    let [one, other] = [ApiServer::At(all[0]), ApiServer::At(all[1])];
    let mut gate = gate(Policy::Ignore);
    gate.set_servers(&all);
    assert_eq!(gate.observe(SHARED, Probe::Reached, second(0), second(0)), None);
    assert_eq!(gate.observe(one, Probe::Reached, second(0), second(0)), None);
    // It might be an API server that does not reach us.
    assert_eq!(gate.policy(Wanted::Fail), Policy::Ignore);
    assert_eq!(gate.observe(other, Probe::Silent, second(0), second(5)), Some(Policy::Fail));
    for at in 1..1000 {
        assert_eq!(gate.observe(other, Probe::Silent, second(at), second(at)), None);
    }
    assert_eq!(gate.summary(), Probe::Reached);
}

#[test]
fn a_single_address_adds_nothing_to_the_shared_one() {
    let mut gate = gate(Policy::Ignore);
    gate.set_servers(&addresses(&[1]));
    assert_eq!(gate.servers().collect::<Vec<_>>(), [SHARED]);
    gate.set_servers(&addresses(&[1, 2]));
    assert_eq!(gate.servers().count(), 3);
    // An outcome of an API server that is gone is nothing.
    let gone = ApiServer::At(addresses(&[9])[0]);
    assert_eq!(gate.observe(gone, Probe::Unreached, second(0), second(900)), None);
}

#[test]
fn pods_wait_while_no_replica_runs() {
    let mut gate = gate(Policy::Fail);
    assert_eq!(observe_all(&mut gate, 0, &[Probe::NoReplica; 1000]), None);
    assert_eq!(gate.policy(Wanted::Fail), Policy::Fail);
    // Failures from before a time without replicas do not count after it.
    observe_all(&mut gate, 1000, &[Probe::Unreached; 70]);
    observe_all(&mut gate, 1070, &[Probe::NoReplica]);
    assert_eq!(observe_all(&mut gate, 1071, &[Probe::Unreached; 70]), None);
}

#[test]
fn ignore_and_audit_never_fail() {
    let mut gate = gate(Policy::Fail);
    observe_all(&mut gate, 0, &[Probe::Reached]);
    assert_eq!(gate.policy(Wanted::Ignore), Policy::Ignore);
    assert_eq!(gate.policy(Wanted::Audit), Policy::Ignore);
}

#[test]
fn probes_are_frequent_while_something_may_change() {
    let mut new = gate(Policy::Ignore);
    assert_eq!(new.pace(SHARED), Pace::Soon);
    observe_all(&mut new, 0, &[Probe::NoReplica]);
    assert_eq!(new.pace(SHARED), Pace::Soon);
    // The endpoint is new: the API server learns of it a moment later.
    observe_all(&mut new, 1, &[Probe::Unreached; NEW_ENDPOINT as usize]);
    assert_eq!(new.pace(SHARED), Pace::Soon);
    observe_all(&mut new, 40, &[Probe::Unreached]);
    assert_eq!(new.pace(SHARED), Pace::Steady);
    observe_all(&mut new, 41, &[Probe::Reached]);
    assert_eq!(new.pace(SHARED), Pace::Steady);
    observe_all(&mut new, 42, &[Probe::Unreached, Probe::Reached]);
    assert_eq!(new.pace(SHARED), Pace::Often);
    observe_all(&mut new, 44, &[Probe::Reached; CLEARED_AFTER as usize]);
    assert_eq!(new.pace(SHARED), Pace::Steady);
}

fn any_probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Reached),
        Just(Probe::Unreached),
        Just(Probe::NoReplica),
        Just(Probe::Unknown),
        Just(Probe::Silent),
    ]
}

proptest! {
    /// `Fail` is lowered by a failure alone, after enough time and failures. It is set
    /// only while the last answer of every API server is a success.
    #[test]
    fn the_policy_follows_what_was_seen(
        probes in prop::collection::vec((0_u8..3, any_probe(), 0_u64..40), 0..200),
    ) {
        let all = addresses(&[1, 2]);
        let server = |nth: u8| match nth {
            0 => SHARED,
            nth => ApiServer::At(all[usize::from(nth) - 1]),
        };
        let mut gate = gate(Policy::Ignore);
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
                Some(Policy::Fail) => prop_assert!(
                    last.len() == 3
                        && last.values().all(|it| matches!(it, Probe::Reached | Probe::Silent))
                        && last.values().any(|it| *it == Probe::Reached)
                ),
                Some(Policy::Ignore) => {
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
