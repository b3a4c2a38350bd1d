use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::control::effective::SecretData;

/// Returns the declaration of one registry; the absence of one for an empty name.
fn mk_effective(domain: &str) -> Effective {
    if domain.is_empty() {
        return Effective::none();
    }
    let data = [("DOMAIN".to_owned(), domain.as_bytes().to_vec())].into();
    Effective { origin: Origin::RegistryInfo, secret: SecretData { kind: "Opaque".into(), data } }
}

fn mk_revision(number: u64, domain: &str) -> NodeRevision {
    NodeRevision { number, effective: mk_effective(domain), fallback: Fallback::Upstream }
}

/// Returns a worker with a ready agent that has not reported.
fn mk_node(name: &str, class: &str) -> RolloutNode {
    RolloutNode {
        name: name.to_owned(),
        class: class.to_owned(),
        is_control_plane: false,
        has_agent: true,
        report: NodeReport::Silent,
        pull: TrialPull::Absent,
    }
}

fn unable(number: u64) -> NodeReport {
    NodeReport::Unable { number, reason: "RestartRequired".into() }
}

/// A cluster whose controller has stored the last decision.
struct Rollout {
    wanted: Effective,
    fallback: Fallback,
    stored: NodeDeclaration,
    reported: u64,
    nodes: Vec<RolloutNode>,
    registry: RegistryState,
    has_trial_image: bool,
    unserved: Option<String>,
}

impl Rollout {
    /// Returns a cluster in which `old` is verified as number 3, and `new` is wanted.
    fn new(nodes: &[RolloutNode]) -> Self {
        let stored =
            NodeDeclaration { verified: Some(mk_revision(3, "old")), ..Default::default() };
        Self {
            wanted: mk_effective("new"),
            fallback: Fallback::Upstream,
            stored,
            reported: 3,
            nodes: nodes.to_vec(),
            registry: RegistryState::Good,
            has_trial_image: true,
            unserved: None,
        }
    }

    fn decide(&self) -> RolloutDecision {
        decide(&RolloutInput {
            wanted: &self.wanted,
            fallback: self.fallback,
            stored: &self.stored,
            reported: self.reported,
            nodes: &self.nodes,
            registry: self.registry.clone(),
            has_trial_image: self.has_trial_image,
            unserved: self.unserved.clone(),
        })
    }

    /// Decides, and stores the declaration.
    fn step(&mut self) -> RolloutDecision {
        let decision = self.decide();
        self.stored = decision.declaration.clone();
        decision
    }

    fn node(&mut self, name: &str) -> &mut RolloutNode {
        self.nodes.iter_mut().find(|it| it.name == name).unwrap()
    }

    fn on_trial(&self) -> Vec<&str> {
        let nodes = self.stored.trial.iter().flat_map(|it| &it.nodes);
        nodes.map(String::as_str).collect()
    }

    fn verified(&self) -> Option<u64> {
        self.stored.verified.as_ref().map(|it| it.number)
    }
}

#[test]
fn number_rises_with_every_change() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    assert_eq!(rollout.step().declaration.last_number(), 4);
    assert_eq!(rollout.step().declaration.last_number(), 4, "the content is the same");
    rollout.fallback = Fallback::Never;
    assert_eq!(rollout.step().declaration.last_number(), 5);
    rollout.reported = 9;
    assert_eq!(rollout.step().declaration.last_number(), 5, "the content is the same");
    rollout.wanted = mk_effective("newer");
    assert_eq!(rollout.step().declaration.last_number(), 10);
    rollout.reported = u64::MAX;
    rollout.wanted = mk_effective("newest");
    assert_eq!(rollout.step().declaration.last_number(), 11, "no node reports such a number");
}

#[test]
fn lost_secret_continues_after_reported_numbers() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    rollout.stored = NodeDeclaration::default();
    let decision = rollout.step();
    assert_eq!(decision.declaration.last_number(), 4);
    assert_eq!(decision.declaration.verified, None);
}

#[test]
fn absence_of_a_declaration_needs_no_trial() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    rollout.step();
    rollout.wanted = Effective::none();
    let decision = rollout.step();
    let verified = Some(mk_revision(5, ""));
    assert_eq!(decision.declaration, NodeDeclaration { verified, ..Default::default() });
    assert_eq!(rollout.step(), decision);
    let mut first = Rollout { stored: NodeDeclaration::default(), reported: 0, ..rollout };
    assert_eq!(first.step().declaration.verified, Some(mk_revision(1, "")));
}

#[test]
fn verified_declaration_needs_no_second_trial() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    rollout.wanted = mk_effective("old");
    assert_eq!(rollout.step().declaration.verified, Some(mk_revision(3, "old")));
    rollout.wanted = mk_effective("new");
    rollout.step();
    rollout.wanted = mk_effective("old");
    let decision = rollout.step();
    let verified = Some(mk_revision(5, "old"));
    assert_eq!(decision.declaration, NodeDeclaration { verified, ..Default::default() });
    assert_eq!(rollout.step(), decision);
}

#[test]
fn worker_of_each_class_tries_first() {
    let mut rollout = Rollout::new(&[
        RolloutNode { is_control_plane: true, ..mk_node("a", "x") },
        RolloutNode { has_agent: false, ..mk_node("b", "x") },
        mk_node("d", "x"),
        mk_node("c", "x"),
        RolloutNode { is_control_plane: true, ..mk_node("e", "y") },
    ]);
    let decision = rollout.step();
    assert_eq!(decision.summary, "c (x) gets the declaration; e (y) gets the declaration");
    assert_eq!(rollout.on_trial(), ["c", "e"]);
    assert_eq!(rollout.verified(), Some(3));
    assert!(decision.pulls.is_empty() && !decision.failed);
}

#[test]
fn next_node_tries_if_one_cannot() {
    let mut rollout = Rollout::new(&[mk_node("a", "x"), mk_node("b", "x"), mk_node("c", "x")]);
    rollout.step();
    rollout.node("a").report = unable(3);
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a"], "the report is about an earlier declaration");
    rollout.node("a").report = unable(4);
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a", "b"]);
    rollout.node("b").has_agent = false;
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a", "b", "c"]);
    rollout.node("c").report = unable(4);
    rollout.step();
    assert_eq!(rollout.verified(), Some(4), "no node is left that could prove anything");
}

#[test]
fn pull_on_every_class_verifies() {
    let mut rollout = Rollout::new(&[mk_node("a", "x"), mk_node("b", "y"), mk_node("c", "y")]);
    rollout.step();
    rollout.node("a").report = NodeReport::Applied(4);
    assert_eq!(rollout.step().pulls, ["a".to_owned()].into());
    rollout.node("a").pull = TrialPull::Pulled;
    let decision = rollout.step();
    assert_eq!(decision.pulls, ["a".to_owned()].into(), "the pod is the proof");
    assert_eq!(decision.summary, "b (y) applies the declaration");
    rollout.node("a").has_agent = false;
    rollout.node("b").report = NodeReport::Applied(4);
    assert_eq!(rollout.step().summary, "b (y) pulls the trial image");
    rollout.node("b").pull = TrialPull::Pulled;
    let decision = rollout.step();
    let verified = Some(mk_revision(4, "new"));
    assert_eq!(decision.declaration, NodeDeclaration { verified, ..Default::default() });
    assert_eq!((decision.pulls.len(), &*decision.summary), (0, ""));
}

// guarantee: 3c
#[test]
fn failed_pull_ends_the_trial() {
    for (pull, reason) in [
        (TrialPull::Failed("401".into()), "a: 401"),
        (TrialPull::Late, "a: no answer of the kubelet to the trial pod"),
    ] {
        let mut rollout = Rollout::new(&[mk_node("a", "x"), mk_node("b", "y")]);
        rollout.step();
        *rollout.node("a") =
            RolloutNode { report: NodeReport::Applied(4), pull, ..mk_node("a", "x") };
        let decision = rollout.step();
        assert!(decision.failed && decision.pulls.is_empty());
        assert_eq!(decision.summary, reason);
        assert!(rollout.on_trial().is_empty());
        assert_eq!(rollout.verified(), Some(3));
        assert_eq!(rollout.step(), decision, "it stays failed");
        rollout.wanted = mk_effective("newer");
        let decision = rollout.step();
        assert_eq!(rollout.on_trial(), ["a", "b"]);
        assert_eq!((decision.declaration.last_number(), decision.failed), (5, false));
    }
}

#[test]
fn late_pull_on_dead_node_does_not_fail() {
    let mut rollout = Rollout::new(&[mk_node("a", "x"), mk_node("b", "x")]);
    rollout.step();
    rollout.node("a").report = NodeReport::Applied(4);
    rollout.node("a").has_agent = false;
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a"], "the kubelet may pull without the agent");
    rollout.node("a").pull = TrialPull::Late;
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a", "b"]);
}

// guarantee: 3c
#[test]
fn nodes_remove_the_first_declaration_if_it_failed() {
    let mut rollout = Rollout::new(&[mk_node("a", "x"), mk_node("b", "x")]);
    rollout.stored = NodeDeclaration::default();
    rollout.step();
    rollout.node("a").report = NodeReport::Applied(4);
    rollout.node("a").pull = TrialPull::Failed("404".into());
    rollout.step();
    assert!(rollout.stored.restores("a") && !rollout.stored.restores("b"));
    assert_eq!(rollout.stored.for_node("a"), None);
}

#[test]
fn failure_of_the_registry_is_retried() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    rollout.step();
    rollout.node("a").report = NodeReport::Applied(4);
    rollout.node("a").pull = TrialPull::Failed("refused".into());
    rollout.registry = RegistryState::Unreachable("timeout".into());
    assert_eq!(rollout.step().summary, "registry unreachable: a: refused");
    assert!(rollout.step().failed);
    rollout.registry = RegistryState::Good;
    rollout.node("a").pull = TrialPull::Absent;
    assert!(!rollout.step().failed);
    assert_eq!((rollout.on_trial(), rollout.stored.last_number()), (vec!["a"], 4));
    rollout.node("a").pull = TrialPull::Failed("404".into());
    assert_eq!(rollout.step().summary, "a: 404");
    assert!(rollout.step().failed, "a second failure is the fault of the declaration");
}

#[test]
fn registry_check_replaces_the_pull() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    rollout.has_trial_image = false;
    rollout.registry = RegistryState::Unchecked;
    rollout.step();
    rollout.node("a").report = NodeReport::Applied(4);
    rollout.registry = RegistryState::Unreachable("timeout".into());
    let decision = rollout.step();
    assert_eq!(decision.summary, "a (x) waits for the check of the registry");
    assert!(decision.pulls.is_empty());
    rollout.registry = RegistryState::Bad("401".into());
    assert_eq!(rollout.step().summary, "registry check failed: 401");
    assert!(rollout.step().failed && rollout.on_trial().is_empty());
    rollout.registry = RegistryState::Good;
    rollout.step();
    rollout.step();
    assert_eq!(rollout.verified(), Some(4));
}

#[test]
fn trial_waits_until_the_mirror_serves_an_image() {
    let mut rollout = Rollout::new(&[mk_node("a", "x")]);
    rollout.unserved = Some("the mirror does not serve nginx:1".into());
    let waits = "waits for an image: the mirror does not serve nginx:1";
    assert_eq!(rollout.step().summary, waits);
    assert!(rollout.on_trial().is_empty() && !rollout.step().failed);
    rollout.unserved = None;
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a"]);
    // A trial that has begun goes on.
    rollout.unserved = Some("the mirror does not serve nginx:1".into());
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a"]);
}

#[test]
fn trial_waits_for_agents_and_the_registry() {
    let mut rollout = Rollout::new(&[RolloutNode { has_agent: false, ..mk_node("a", "x") }]);
    assert_eq!(rollout.step().summary, "waits for a node with a ready agent");
    rollout.node("a").has_agent = true;
    rollout.registry = RegistryState::Unreachable("timeout".into());
    assert_eq!(rollout.step().summary, "waits for the registry: timeout");
    assert!(rollout.on_trial().is_empty());
    assert_eq!((rollout.verified(), rollout.stored.last_number()), (Some(3), 4));
    rollout.registry = RegistryState::Good;
    rollout.step();
    assert_eq!(rollout.on_trial(), ["a"]);
}

#[test]
fn summary_is_short() {
    let nodes: Vec<_> = (0..9).map(|it| mk_node(&it.to_string(), &it.to_string())).collect();
    let summary = Rollout::new(&nodes).step().summary;
    assert!(summary.ends_with("4 (4) gets the declaration; 4 more"), "{summary}");
}

/// An event in a cluster; a number is that of a node.
#[derive(Clone, Debug)]
enum RolloutEvent {
    Declare(usize),
    LoseSecret,
    Check(RegistryState),
    Image(bool),
    /// The agent follows the Secret.
    Follow(usize),
    /// The agent starts or ends.
    Agent(usize),
    Reboot(usize),
    /// The kubelet pulls.
    Pull(usize),
    Delay(usize),
}

/// Contents of declarations. The second half cannot be pulled through.
const DOMAINS: [&str; 5] = ["", "good", "fine", "bad", "worse"];
/// Names of nodes, by class. Every third node cannot apply a declaration.
const NODES: [(&str, &str); 7] =
    [("a", "x"), ("b", "x"), ("c", "y"), ("d", "x"), ("e", "y"), ("f", "z"), ("g", "x")];

fn event() -> impl Strategy<Value = RolloutEvent> {
    let registry = prop_oneof![
        Just(RegistryState::Unchecked),
        Just(RegistryState::Good),
        Just(RegistryState::Unreachable("r".into())),
        Just(RegistryState::Bad("r".into())),
    ];
    let node = 0..NODES.len();
    prop_oneof![
        2 => (0..DOMAINS.len()).prop_map(RolloutEvent::Declare),
        1 => Just(RolloutEvent::LoseSecret),
        1 => registry.prop_map(RolloutEvent::Check),
        1 => any::<bool>().prop_map(RolloutEvent::Image),
        12 => node.clone().prop_map(RolloutEvent::Follow),
        2 => node.clone().prop_map(RolloutEvent::Agent),
        1 => node.clone().prop_map(RolloutEvent::Reboot),
        8 => node.clone().prop_map(RolloutEvent::Pull),
        1 => node.prop_map(RolloutEvent::Delay),
    ]
}

/// A cluster, and the history of it.
struct RolloutWorld {
    rollout: Rollout,
    /// Numbers in the status of nodes, which outlive reboots.
    statuses: BTreeMap<String, u64>,
    pulls: BTreeSet<String>,
    /// Contents by number.
    contents: BTreeMap<u64, (Effective, Fallback)>,
}

impl RolloutWorld {
    fn new() -> Self {
        let nodes: Vec<_> = NODES.iter().map(|(name, class)| mk_node(name, class)).collect();
        let rollout =
            Rollout { stored: NodeDeclaration::default(), reported: 0, ..Rollout::new(&nodes) };
        Self {
            rollout,
            statuses: BTreeMap::new(),
            pulls: BTreeSet::new(),
            contents: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: &RolloutEvent) {
        let rollout = &mut self.rollout;
        match *event {
            RolloutEvent::Declare(content) => rollout.wanted = mk_effective(DOMAINS[content]),
            RolloutEvent::LoseSecret => {
                rollout.stored = NodeDeclaration::default();
                // Numbers that no node has reported are forgotten.
                self.contents.retain(|&number, _| number <= rollout.reported);
            }
            RolloutEvent::Check(ref state) => rollout.registry = state.clone(),
            RolloutEvent::Image(has_one) => rollout.has_trial_image = has_one,
            RolloutEvent::Follow(index) => {
                let node = &mut rollout.nodes[index];
                let wanted = rollout.stored.for_node(&node.name).map(|it| it.number);
                if let (true, Some(number)) = (node.has_agent, wanted) {
                    node.report =
                        if index % 3 == 0 { unable(number) } else { NodeReport::Applied(number) };
                    self.statuses.insert(node.name.clone(), number);
                }
            }
            RolloutEvent::Agent(index) => rollout.nodes[index].has_agent ^= true,
            RolloutEvent::Reboot(index) => rollout.nodes[index].report = NodeReport::Silent,
            RolloutEvent::Pull(index) => {
                let node = &mut rollout.nodes[index];
                let number = rollout.stored.trial.as_ref().map(|it| it.revision.number);
                let is_good = number.is_some_and(|number| is_good(&self.contents[&number].0));
                if self.pulls.contains(&node.name) {
                    let failed = || TrialPull::Failed("r".into());
                    node.pull = if is_good { TrialPull::Pulled } else { failed() };
                }
            }
            RolloutEvent::Delay(index) => {
                let node = &mut rollout.nodes[index];
                if self.pulls.contains(&node.name) && node.pull == TrialPull::Absent {
                    node.pull = TrialPull::Late;
                }
            }
        }
        rollout.reported = self.statuses.values().copied().max().unwrap_or(0);
    }

    /// Decides, checks the decision, and stores it. Returns true if it changes anything.
    fn step(&mut self) -> Result<bool, TestCaseError> {
        let before = self.rollout.stored.clone();
        let decision = self.rollout.step();
        let after = &decision.declaration;
        self.check_numbers(&before, after)?;
        self.check_nodes(&before, after)?;
        prop_assert!(!after.restore);
        prop_assert_eq!(
            decision.failed,
            after.trial.as_ref().is_some_and(|it| {
                after.failed.as_ref().is_some_and(|failed| failed.number == it.revision.number)
            })
        );
        prop_assert_eq!(decision.summary.is_empty(), after.trial.is_none());
        if before.verified != after.verified {
            self.check_verified(&before, after)?;
            prop_assert!(after.trial.is_none() && after.failed.is_none());
        }
        let number = after.trial.as_ref().map(|it| it.revision.number);
        let is_same = before.trial.as_ref().map(|it| it.revision.number) == number;
        let has_changed = before != *after || self.pulls != decision.pulls;
        for node in &mut self.rollout.nodes {
            if !is_same || !decision.pulls.contains(&node.name) {
                node.pull = TrialPull::Absent;
            }
        }
        self.pulls = decision.pulls;
        Ok(has_changed)
    }

    /// A number never falls, and never names two contents.
    fn check_numbers(
        &mut self,
        before: &NodeDeclaration,
        after: &NodeDeclaration,
    ) -> Result<(), TestCaseError> {
        prop_assert!(after.last_number() >= before.last_number());
        for revision in after.verified.iter().chain(after.trial.iter().map(|it| &it.revision)) {
            let content = (revision.effective.clone(), revision.fallback);
            let known = self.contents.entry(revision.number).or_insert_with(|| content.clone());
            prop_assert_eq!(known, &content);
        }
        Ok(())
    }

    /// Nodes join a trial one by one, and only if the others of their class cannot prove it.
    fn check_nodes(
        &self,
        before: &NodeDeclaration,
        after: &NodeDeclaration,
    ) -> Result<(), TestCaseError> {
        let Some(trial) = &after.trial else { return Ok(()) };
        let number = trial.revision.number;
        let was = before.trial.as_ref().filter(|it| it.revision.number == number);
        let is_failed =
            |it: &NodeDeclaration| it.failed.as_ref().map(|it| it.number) == Some(number);
        if is_failed(after) {
            prop_assert!(after.verified.is_none() || trial.nodes.is_empty());
            prop_assert_eq!(&before.verified, &after.verified);
            return Ok(());
        }
        let was = was.filter(|_| !is_failed(before)).map(|it| it.nodes.clone()).unwrap_or_default();
        prop_assert!(trial.nodes.is_superset(&was));
        let mut classes = BTreeSet::new();
        for node in self.rollout.nodes.iter().filter(|it| trial.nodes.contains(&it.name)) {
            if was.contains(&node.name) {
                continue;
            }
            prop_assert!(node.has_agent && classes.insert(&node.class), "{} joins", node.name);
            for other in self.rollout.nodes.iter().filter(|it| was.contains(&it.name)) {
                prop_assert!(other.class != node.class || cannot_prove(other, number));
            }
        }
        Ok(())
    }

    /// Apart from the absence of a declaration, each new content comes from a trial that no node
    /// has failed, and each class has proven it or cannot.
    fn check_verified(
        &self,
        before: &NodeDeclaration,
        after: &NodeDeclaration,
    ) -> Result<(), TestCaseError> {
        let Some(verified) = &after.verified else { return Err(TestCaseError::fail("lost")) };
        let was_verified = before.verified.as_ref().is_some_and(|it| it.is_like(verified));
        if verified.effective.origin == Origin::None || was_verified {
            return Ok(());
        }
        let Some(trial) = &before.trial else { return Err(TestCaseError::fail("no trial")) };
        prop_assert_eq!(&trial.revision, verified);
        let number = verified.number;
        let on_trial = |it: &&RolloutNode| trial.nodes.contains(&it.name);
        for node in self.rollout.nodes.iter().filter(|it| it.has_agent) {
            let mut class =
                self.rollout.nodes.iter().filter(|it| it.class == node.class).filter(on_trial);
            let is_proven = class.any(|it| {
                let pulled = it.pull == TrialPull::Pulled && is_good(&verified.effective);
                let checked = self.rollout.registry == RegistryState::Good;
                it.report == NodeReport::Applied(number)
                    && if self.rollout.has_trial_image { pulled } else { checked }
            });
            let is_exhausted = on_trial(&node) && cannot_prove(node, number);
            prop_assert!(is_proven || is_exhausted, "{} proves nothing", node.name);
        }
        Ok(())
    }

    /// Decides until nothing changes.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..NODES.len() + 3 {
            if !self.step()? {
                return Ok(());
            }
        }
        Err(TestCaseError::fail("decisions change for ever"))
    }
}

fn is_good(effective: &Effective) -> bool {
    [DOMAINS[1], DOMAINS[2]].map(mk_effective).contains(effective)
}

fn cannot_prove(node: &RolloutNode, number: u64) -> bool {
    let is_unable = matches!(node.report, NodeReport::Unable { number: it, .. } if it == number);
    let is_late = node.report != NodeReport::Applied(number) || node.pull == TrialPull::Late;
    is_unable || (!node.has_agent && is_late)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever happens, an unproven declaration stays on few nodes, numbers are unique, and
    /// decisions come to an end.
    // guarantee: 3c
    #[test]
    fn rollout_is_safe(events in prop::collection::vec((event(), any::<bool>()), 0..80)) {
        let mut world = RolloutWorld::new();
        for (event, settles) in events {
            world.apply(&event);
            if settles { world.settle()? } else { world.step().map(drop)? }
        }
    }

    /// Once every part works, the declaration is verified if it is good, and else refused.
    #[test]
    fn rollout_ends(
        events in prop::collection::vec(event(), 0..40),
        content in 0..DOMAINS.len(),
    ) {
        let mut world = RolloutWorld::new();
        for event in &events {
            world.apply(event);
            world.step()?;
        }
        world.rollout.nodes = NODES.iter().map(|(name, class)| mk_node(name, class)).collect();
        world.apply(&RolloutEvent::Check(RegistryState::Good));
        world.apply(&RolloutEvent::Image(true));
        // Another declaration in between: one that failed before is not tried again.
        world.apply(&RolloutEvent::Declare(if content == 1 { 2 } else { 1 }));
        world.settle()?;
        let verified = world.rollout.stored.verified.clone();
        world.apply(&RolloutEvent::Declare(content));
        world.settle()?;
        for _ in 0..NODES.len() {
            for index in 0..NODES.len() {
                world.apply(&RolloutEvent::Follow(index));
                world.settle()?;
                world.apply(&RolloutEvent::Pull(index));
                world.settle()?;
            }
        }
        let stored = &world.rollout.stored;
        let wanted = mk_effective(DOMAINS[content]);
        let was_verified = verified.as_ref().is_some_and(|it| it.effective == wanted);
        if content == 0 || is_good(&wanted) || was_verified {
            prop_assert_eq!(stored.verified.as_ref().map(|it| &it.effective), Some(&wanted));
            prop_assert!(stored.trial.is_none());
        } else {
            prop_assert_eq!(&stored.verified, &verified);
            prop_assert!(stored.failed.is_some());
        }
    }
}
