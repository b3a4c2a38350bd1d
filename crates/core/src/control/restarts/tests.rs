use proptest::prelude::*;

use super::*;

const NS: &str = "image-swap-restart";

/// Returns a Ready worker with a ready agent that needs a restart for declaration 5.
fn mk_node(name: &str) -> RestartNode {
    RestartNode {
        name: name.to_owned(),
        is_ready: true,
        is_control_plane: false,
        has_agent: true,
        is_on_trial: false,
        wanted: Some(5),
        report: RestartReport::Required(5),
    }
}

fn mk_control_plane(name: &str) -> RestartNode {
    RestartNode { is_control_plane: true, ..mk_node(name) }
}

fn mk_lease(node: &str) -> RestartLease {
    RestartLease {
        name: format!("restart-{node}"),
        node: node.to_owned(),
        number: Some(5),
        is_resumed: false,
        is_expired: false,
    }
}

fn mk_pod(node: &str, phase: RestartPodPhase) -> RestartPod {
    let (name, node) = (format!("restart-5-{node}"), node.to_owned());
    RestartPod { name, node, number: 5, phase }
}

fn failed(message: &str) -> RestartReport {
    RestartReport::Failed { number: 5, message: message.to_owned() }
}

/// A cluster as the controller sees it.
#[derive(Clone, Debug)]
struct Restarts {
    nodes: Vec<RestartNode>,
    leases: Vec<RestartLease>,
    pods: Vec<RestartPod>,
    api_servers: ApiServersState,
    max_unavailable: usize,
}

impl Restarts {
    fn new(nodes: impl IntoIterator<Item = RestartNode>) -> Self {
        Self {
            nodes: nodes.into_iter().collect(),
            leases: Vec::new(),
            pods: Vec::new(),
            api_servers: ApiServersState::AllOk,
            max_unavailable: 1,
        }
    }

    fn decide(&self) -> RestartDecision {
        decide(&RestartInput {
            nodes: &self.nodes,
            leases: &self.leases,
            pods: &self.pods,
            api_servers: self.api_servers.clone(),
            max_unavailable: self.max_unavailable,
            namespace: NS,
        })
    }

    /// Decides, and writes Leases and pods.
    fn step(&mut self) -> RestartDecision {
        let decision = self.decide();
        self.pods.retain(|pod| !decision.ended_pods.contains(&pod.name));
        self.leases.retain(|lease| !decision.ended_leases.contains(&lease.name));
        for RestartBegin { node, number, has_lease } in &decision.begin {
            if !has_lease {
                assert!(self.leases.iter().all(|lease| lease.node != *node));
                self.leases.push(RestartLease { number: Some(*number), ..mk_lease(node) });
            }
            let (name, number) = (format!("restart-{number}-{node}"), *number);
            assert!(self.pods.iter().all(|pod| pod.node != *node));
            let (node, phase) = (node.clone(), RestartPodPhase::Waiting);
            self.pods.push(RestartPod { name, node, number, phase });
        }
        decision
    }

    fn node(&mut self, name: &str) -> &mut RestartNode {
        self.nodes.iter_mut().find(|it| it.name == name).unwrap()
    }

    fn held(&self) -> Vec<&str> {
        self.leases.iter().map(|it| it.node.as_str()).collect()
    }

    /// Ends the restart of `node` with success.
    fn succeed(&mut self, node: &str) {
        for pod in self.pods.iter_mut().filter(|pod| pod.node == node) {
            pod.phase = RestartPodPhase::Succeeded;
        }
        self.node(node).report = RestartReport::Applied(5);
    }
}

fn begun(decision: &RestartDecision) -> Vec<&str> {
    decision.begin.iter().map(|it| it.node.as_str()).collect()
}

#[test]
fn nodes_restart_one_after_the_other() {
    let on_trial = RestartNode { is_on_trial: true, ..mk_node("z") };
    let nodes =
        [mk_control_plane("a"), mk_control_plane("b"), mk_node("c"), mk_node("d"), on_trial];
    let mut restarts = Restarts::new(nodes);
    for name in ["z", "c", "d", "a", "b"] {
        let decision = restarts.step();
        let expected = RestartBegin { node: name.into(), number: 5, has_lease: false };
        assert_eq!(decision.begin, [expected], "{decision:?}");
        assert_eq!(
            restarts.step(),
            RestartDecision { summary: restarts.decide().summary, ..RestartDecision::default() }
        );
        restarts.succeed(name);
        let decision = restarts.step();
        assert_eq!(decision.ended_leases, [format!("restart-{name}")].into());
        assert_eq!(decision.ended_pods, [format!("restart-5-{name}")].into());
        assert!(decision.begin.is_empty(), "the Lease counts until it is deleted");
    }
    assert_eq!(restarts.step(), RestartDecision::default());
}

#[test]
fn several_workers_restart_at_once() {
    let mut restarts =
        Restarts::new([mk_node("c"), mk_control_plane("a"), mk_node("b"), mk_node("d")]);
    restarts.max_unavailable = 2;
    assert_eq!(begun(&restarts.step()), ["b", "c"]);
    restarts.succeed("b");
    restarts.step();
    let decision = restarts.step();
    assert_eq!(begun(&decision), ["d"]);
    assert_eq!(decision.summary, "restarts the runtime of c, d; 1 node waits for its restart");
    for name in ["c", "d"] {
        restarts.succeed(name);
        assert!(!restarts.step().needs_readyz);
    }
    restarts.api_servers = ApiServersState::Unknown;
    let decision = restarts.step();
    assert!(decision.needs_readyz && !decision.is_idle() && decision.begin.is_empty());
    restarts.api_servers = ApiServersState::AllOk;
    assert_eq!(begun(&restarts.step()), ["a"]);
    // No worker restarts beside a control-plane node.
    restarts.node("b").report = RestartReport::Required(5);
    assert!(restarts.step().begin.is_empty());
}

#[test]
fn control_plane_node_waits_for_every_api_server() {
    let mut restarts = Restarts::new([mk_control_plane("a"), mk_control_plane("b")]);
    restarts.api_servers = ApiServersState::NotOk("10.0.0.1:6443: etcd failed".into());
    let decision = restarts.step();
    assert!(decision.begin.is_empty() && !decision.needs_readyz);
    let expected = "2 nodes wait for their restart; a waits for /readyz of every API server: \
                    10.0.0.1:6443: etcd failed";
    assert_eq!(decision.summary, expected);
    // A control-plane node on trial delays no worker then.
    restarts.node("a").is_on_trial = true;
    restarts.nodes.push(mk_node("c"));
    assert_eq!(begun(&restarts.step()), ["c"]);
}

#[test]
fn only_nodes_that_are_able_restart() {
    let able = mk_node("a");
    let unable = [
        RestartNode { is_ready: false, ..able.clone() },
        RestartNode { has_agent: false, ..able.clone() },
        RestartNode { wanted: Some(6), ..able.clone() },
        RestartNode { wanted: None, ..able.clone() },
        RestartNode { report: RestartReport::Other, ..able.clone() },
        RestartNode { report: RestartReport::Applied(5), ..able.clone() },
    ];
    for node in unable {
        let decision = Restarts::new([node.clone()]).decide();
        assert!(decision.is_idle(), "{node:?}");
        let is_required = node.required().is_some();
        let expected =
            if is_required { "no restart without a Ready node and a ready agent: a" } else { "" };
        assert_eq!(decision.summary, expected, "{node:?}");
    }
    // Its pod of an earlier restart is deleted first.
    let mut restarts = Restarts::new([able]);
    restarts.pods = vec![mk_pod("a", RestartPodPhase::Running)];
    let decision = restarts.step();
    assert!(decision.begin.is_empty() && decision.ended_pods.contains("restart-5-a"));
    assert_eq!(begun(&restarts.step()), ["a"]);
}

#[test]
fn lease_ends_by_a_healthy_report_alone() {
    let stays = |change: &dyn Fn(&mut Restarts)| {
        let mut restarts = Restarts::new([mk_node("a")]);
        restarts.step();
        restarts.succeed("a");
        change(&mut restarts);
        let decision = restarts.decide();
        decision.ended_leases.is_empty() && decision.begin.is_empty()
    };
    assert!(!stays(&|_| {}));
    assert!(!stays(&|it| it.node("a").report = RestartReport::Applied(6)));
    // The pod never started, or is gone.
    assert!(!stays(&|it| it.pods[0].phase = RestartPodPhase::Waiting));
    assert!(!stays(&|it| it.pods.clear()));
    // An administrator repaired the node in time, or late.
    assert!(!stays(&|it| it.pods[0].phase = RestartPodPhase::Failed("it failed".into())));
    assert!(!stays(&|it| it.leases[0].is_expired = true));
    assert!(stays(&|it| it.node("a").is_ready = false));
    assert!(stays(&|it| it.node("a").report = RestartReport::Applied(4)));
    assert!(stays(&|it| it.node("a").report = RestartReport::Required(5)));
    assert!(stays(&|it| it.node("a").report = RestartReport::Other));
    assert!(stays(&|it| it.pods[0].phase = RestartPodPhase::Running));
    assert!(stays(&|it| it.leases[0].number = None));
    assert!(stays(&|it| it.nodes.clear()));
}

#[test]
fn failed_restart_stops_all_others() {
    let cases: [(&str, RestartPodPhase, RestartReport, bool, bool); 6] = [
        (
            "the restart of a failed: no health",
            RestartPodPhase::Failed("no health".into()),
            RestartReport::Required(5),
            false,
            true,
        ),
        ("the restart of a failed", RestartPodPhase::Failed(String::new()), failed(""), true, true),
        (
            "the restart of a failed: rolled back",
            RestartPodPhase::Succeeded,
            failed("rolled back"),
            false,
            true,
        ),
        (
            "the restart of a did not end in time",
            RestartPodPhase::Running,
            RestartReport::Other,
            true,
            false,
        ),
        (
            "the restart of a did not end in time",
            RestartPodPhase::Succeeded,
            RestartReport::Required(5),
            true,
            false,
        ),
        // The report is that of an earlier restart.
        ("", RestartPodPhase::Waiting, failed("rolled back"), false, false),
    ];
    for (expected, phase, report, is_expired, has_failed) in cases {
        let mut restarts = Restarts::new([mk_node("a"), mk_node("b")]);
        restarts.max_unavailable = 3;
        let a = RestartNode { report, ..mk_node("a") };
        (restarts.nodes[0], restarts.pods) = (a, vec![mk_pod("a", phase.clone())]);
        restarts.leases = vec![RestartLease { is_expired, ..mk_lease("a") }];
        let decision = restarts.decide();
        let Some(stop) = decision.stops.first() else {
            assert_eq!((expected, begun(&decision)), ("", vec!["b"]));
            continue;
        };
        let command = "kubectl annotate lease --namespace image-swap-restart restart-a \
                       image-swap.io/restart=resume --overwrite";
        assert_eq!((&*stop.message, &*stop.command), (expected, command));
        assert_eq!((&*stop.node, stop.has_failed), ("a", has_failed), "{phase:?}");
        let remedy = format!(
            "{expected}; no other node is restarted; repair the node, then run `{command}` to try \
             it again"
        );
        let stops = decision.stops.clone();
        let expected = RestartDecision { summary: remedy, stops, ..RestartDecision::default() };
        assert_eq!(decision, expected);
    }
}

#[test]
fn administrator_ends_a_lease() {
    let mut restarts = Restarts::new([mk_node("a"), mk_node("b")]);
    restarts.step();
    restarts.pods[0].phase = RestartPodPhase::Failed("no health".into());
    restarts.node("a").report = failed("no health");
    assert_eq!(restarts.step().stops.len(), 1);
    restarts.leases[0] = RestartLease { number: None, is_resumed: true, ..mk_lease("a") };
    let decision = restarts.step();
    assert_eq!(decision.ended_leases, ["restart-a".to_owned()].into());
    assert_eq!(decision.ended_pods, ["restart-5-a".to_owned()].into());
    assert_eq!(begun(&restarts.step()), ["a"], "the node is tried again");
    assert!(restarts.step().stops.is_empty());
}

#[test]
fn lease_without_a_number_stops_all() {
    let mut restarts = Restarts::new([mk_node("a"), mk_node("b")]);
    restarts.leases = vec![RestartLease { number: None, ..mk_lease("a") }];
    let decision = restarts.decide();
    let expected = "the Lease restart-a has no number in its annotation image-swap.io/restart";
    assert_eq!(decision.stops[0].message, expected);
    assert!(decision.is_idle());
    // Its pod stays, too.
    restarts.pods = vec![mk_pod("a", RestartPodPhase::Running)];
    assert_eq!(restarts.decide(), decision);
}

#[test]
fn interrupted_controller_creates_the_missing_pod() {
    let mut restarts = Restarts::new([mk_node("a"), mk_node("b")]);
    restarts.leases = vec![mk_lease("a")];
    let decision = restarts.step();
    assert_eq!(decision.begin, [RestartBegin { node: "a".into(), number: 5, has_lease: true }]);
    assert_eq!(decision.summary, "restarts the runtime of a; 1 node waits for its restart");
    // A lost pod of a restart that failed is not created again.
    restarts.pods.clear();
    restarts.node("a").report = failed("rolled back");
    assert_eq!(restarts.step().stops.len(), 1);
}

/// Names of nodes; those of the control plane begin with `c`.
const NODES: [&str; 6] = ["c1", "c2", "c3", "w1", "w2", "w3"];

#[derive(Clone, Debug)]
enum RestartEvent {
    Ready(usize, bool),
    Agent(usize, bool),
    Trial(usize, bool),
    Report(usize, RestartReport),
    Wanted(u64),
    Phase(usize, RestartPodPhase),
    PodLost(usize),
    Expire(usize),
    Resume(usize),
    ApiServers(ApiServersState),
}

fn report() -> impl Strategy<Value = RestartReport> {
    prop_oneof![
        Just(RestartReport::Other),
        (4..7_u64).prop_map(RestartReport::Applied),
        (4..7_u64).prop_map(RestartReport::Required),
        (4..7_u64).prop_map(|number| RestartReport::Failed { number, message: "m".into() }),
    ]
}

fn event() -> impl Strategy<Value = RestartEvent> {
    let node = || 0..NODES.len();
    let phase = prop_oneof![
        Just(RestartPodPhase::Running),
        Just(RestartPodPhase::Succeeded),
        Just(RestartPodPhase::Failed("m".into())),
    ];
    let servers = prop_oneof![
        Just(ApiServersState::Unknown),
        Just(ApiServersState::AllOk),
        Just(ApiServersState::NotOk("m".into())),
    ];
    prop_oneof![
        1 => (node(), any::<bool>()).prop_map(|(node, is)| RestartEvent::Ready(node, is)),
        1 => (node(), any::<bool>()).prop_map(|(node, is)| RestartEvent::Agent(node, is)),
        1 => (node(), any::<bool>()).prop_map(|(node, is)| RestartEvent::Trial(node, is)),
        4 => (node(), report()).prop_map(|(node, report)| RestartEvent::Report(node, report)),
        1 => (4..7_u64).prop_map(RestartEvent::Wanted),
        2 => (node(), phase).prop_map(|(node, phase)| RestartEvent::Phase(node, phase)),
        1 => node().prop_map(RestartEvent::PodLost),
        1 => node().prop_map(RestartEvent::Expire),
        2 => node().prop_map(RestartEvent::Resume),
        1 => servers.prop_map(RestartEvent::ApiServers),
    ]
}

impl Restarts {
    fn world(max_unavailable: usize) -> Self {
        let node =
            |name: &&str| RestartNode { is_control_plane: name.starts_with('c'), ..mk_node(name) };
        Self { max_unavailable, ..Self::new(NODES.iter().map(node)) }
    }

    fn apply(&mut self, event: RestartEvent) {
        match event {
            RestartEvent::Ready(node, is) => self.nodes[node].is_ready = is,
            RestartEvent::Agent(node, is) => self.nodes[node].has_agent = is,
            RestartEvent::Trial(node, is) => self.nodes[node].is_on_trial = is,
            RestartEvent::Report(node, report) => self.nodes[node].report = report,
            RestartEvent::Wanted(number) => {
                self.nodes.iter_mut().for_each(|node| node.wanted = Some(number));
            }
            RestartEvent::Phase(node, phase) => {
                let pods = self.pods.iter_mut().filter(|it| it.node == NODES[node]);
                pods.for_each(|pod| pod.phase = phase.clone());
            }
            RestartEvent::PodLost(node) => self.pods.retain(|it| it.node != NODES[node]),
            RestartEvent::Expire(node) => {
                let leases = self.leases.iter_mut().filter(|it| it.node == NODES[node]);
                leases.for_each(|lease| lease.is_expired = true);
            }
            RestartEvent::Resume(node) => {
                for lease in self.leases.iter_mut().filter(|it| it.node == NODES[node]) {
                    (lease.number, lease.is_resumed) = (None, true);
                }
            }
            RestartEvent::ApiServers(state) => self.api_servers = state,
        }
    }

    /// Takes a step, and checks that the brake holds.
    fn checked_step(&mut self) -> Result<(), TestCaseError> {
        let before = self.clone();
        let decision = self.step();
        for lease in &before.leases {
            let node = before.nodes.iter().find(|it| it.name == lease.node).unwrap();
            let applied = match node.report {
                RestartReport::Applied(number) => Some(number),
                _ => None,
            };
            let is_healthy = node.is_ready && applied.is_some() && applied >= lease.number;
            if !lease.is_resumed && !is_healthy {
                prop_assert!(self.held().contains(&lease.node.as_str()), "{lease:?}");
                let is_failed = before.pods.iter().any(|pod| {
                    pod.node == lease.node
                        && Some(pod.number) == lease.number
                        && matches!(pod.phase, RestartPodPhase::Failed(_))
                });
                if lease.is_expired || is_failed {
                    prop_assert!(decision.begin.is_empty() && !decision.stops.is_empty());
                }
            }
        }
        let held = self.held();
        let control_plane = held.iter().filter(|name| name.starts_with('c')).count();
        prop_assert!(held.len() <= self.max_unavailable.max(1), "{held:?}");
        prop_assert!(control_plane == 0 || held.len() == 1, "{held:?}");
        for RestartBegin { node, number, has_lease } in &decision.begin {
            let node = before.nodes.iter().find(|it| it.name == *node).unwrap();
            if !has_lease {
                prop_assert!(node.is_ready && node.has_agent && node.wanted == Some(*number));
                prop_assert!(
                    !node.is_control_plane || before.api_servers == ApiServersState::AllOk
                );
            }
        }
        prop_assert!(self.pods.iter().all(|pod| held.contains(&pod.node.as_str())));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever happens, the brake holds.
    #[test]
    fn restarts_are_safe(
        events in prop::collection::vec(event(), 0..120),
        max_unavailable in 1..4_usize,
    ) {
        let mut world = Restarts::world(max_unavailable);
        for event in events {
            world.apply(event);
            world.checked_step()?;
        }
    }

    /// Once every restart succeeds and an administrator ends old Leases, every node is restarted.
    #[test]
    fn restarts_end(events in prop::collection::vec(event(), 0..60)) {
        let mut world = Restarts::world(2);
        for event in events {
            world.apply(event);
            world.checked_step()?;
        }
        for (lease, node) in (0..NODES.len()).map(|node| (RestartEvent::Resume(node), node)) {
            world.apply(lease);
            world.nodes[node] = RestartNode { name: NODES[node].into(), ..mk_node("") };
            world.nodes[node].is_control_plane = NODES[node].starts_with('c');
        }
        world.api_servers = ApiServersState::AllOk;
        for _ in 0..NODES.len() * 3 {
            world.checked_step()?;
            for name in world.held().into_iter().map(str::to_owned).collect::<Vec<_>>() {
                world.succeed(&name);
            }
        }
        prop_assert!(world.nodes.iter().all(|it| it.report == RestartReport::Applied(5)));
        prop_assert!(world.leases.is_empty() && world.pods.is_empty());
    }
}
