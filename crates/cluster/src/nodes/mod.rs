//! The controller of nodes: rolls the declaration out to the agents of nodes, and keeps a
//! `NodeMirror` for every Node.
//!
//! [`image_swap_core::control::rollout`] decides. A reconciliation begins when a watch shows a
//! change, at most as often as the settings allow, and every five minutes.

mod await_restore;
mod declaration;
#[cfg(test)]
mod fixture;
mod image;
mod in_force;
mod mirrors;
mod names;
mod objects;
mod observed;
mod orders;
mod outcome;
mod report;
mod restarts;
mod taints;
mod trial;
mod view;
mod watches;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use image_swap_core::{
    control::{
        effective::{Effective, Origin},
        rate_limit::RewriteLimit,
        rollout::{RegistryState, RolloutDecision, RolloutInput, RolloutNode, TrialPull, decide},
        startup_taint::TaintRules,
        webhooks::Anchor,
    },
    status::{AgentsStatus, NodeDeclaration, RegistryStatus, node_mirror::reason},
};
use kube::{Client, Config, runtime::watcher::Event};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::{info, warn};

pub use self::{
    await_restore::{PendingNode, RestoreSummary, RestoreWait},
    orders::{AgentSettings, NodeRestartSettings},
};
use self::{
    declaration::DeclarationWriter,
    mirrors::{NodeWrite, NodeWriter, NodeWritten},
    objects::NodeObject,
    observed::{AgentRow, MirrorRow, NodeRow, NodeTables, RestartTables, TrialRow},
    orders::registry_state,
    restarts::{NodeRestarts, RestartMemory},
    trial::{TrialImage, TrialPods, Trials},
    view::{NodeView, views},
    watches::{NodeWatches, Seen},
};
pub(crate) use self::{
    declaration::{StoredNodes, follow},
    in_force::NodesInForce,
    orders::NodeOrders,
};
use crate::{
    clock::now, error::Error, events::Events, helm_mark::HelmMark, release::Release,
    report::send_new,
};

/// Writes to Nodes and their `NodeMirror`s at once.
const AT_ONCE: usize = 16;
/// Writes between two looks at what else happened.
const IN_A_ROW: usize = 256;
/// Time between reconciliations without a change.
const RESYNC: Duration = Duration::from_mins(5);
/// First wait of a write that failed, and the longest.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];
/// Longest time for which the end of a trial waits for the deletion of its pods. A kubelet that
/// does not answer deletes none.
const DELETION: Duration = Duration::from_secs(30);
/// Key of the rollout among the writes that wait.
const ROLLOUT: &str = "";
/// Key of restarts among the writes that wait.
const RESTARTS: &str = " restarts";

/// The controller of nodes, while it leads.
pub(crate) struct NodeController {
    pub(crate) client: Client,
    /// Configuration of clients for each API server; `None` if [`Self::client`] reaches the only
    /// one.
    pub(crate) config: Option<Config>,
    pub(crate) release: Release,
    pub(crate) events: Events,
    pub(crate) settings: AgentSettings,
    /// The declaration that nodes should have.
    pub(crate) orders: watch::Receiver<NodeOrders>,
    /// The Secret `N-nodes`.
    pub(crate) stored: watch::Sender<StoredNodes>,
    /// Helm's mark.
    pub(crate) mark: watch::Receiver<HelmMark>,
    /// Status; `None` before the first reconciliation.
    pub(crate) report: watch::Sender<Option<AgentsStatus>>,
    /// Reason why the declaration cannot be rolled out; `None` without one.
    pub(crate) obstacle: watch::Sender<Option<String>>,
    /// Declaration that is in force on all nodes.
    pub(crate) in_force: watch::Sender<NodesInForce>,
    /// Notified when the report, the obstacle or the declaration in force changes.
    pub(crate) changed: Arc<Notify>,
    /// Shortest interval between the beginnings of two reconciliations.
    pub(crate) gap: Duration,
    /// Time for which a deleted Secret stays away, since Helm writes its own in the same place.
    pub(crate) linger: Duration,
}

/// The state of the controller that leads.
#[derive(Default)]
struct NodeWork {
    tables: NodeTables,
    /// Reasons why kinds of objects cannot be watched, by kind.
    unwatched: BTreeMap<&'static str, String>,
    /// True if the last obstacle ended, and no reconciliation has begun since.
    is_unblocked: bool,
    trials: Trials,
    restarts: RestartMemory,
    rewrites: RewriteLimit<String>,
    /// Nodes without a reporting agent, with the time since when.
    silent: HashMap<String, Instant>,
    /// Writes that failed, by the name of the node.
    waiting: BTreeMap<String, FailedWrite>,
    /// Reason of the condition Verified; `None` before the first trial of this leader.
    proof: Option<&'static str>,
    /// The end of a trial, with the time of the decision; `None` unless its pods are being
    /// deleted.
    ending: Option<(RolloutDecision, Instant)>,
}

struct FailedWrite {
    until: Instant,
    wait: Duration,
    reason: String,
}

/// The desired state of a reconciliation.
struct Wanted {
    /// The declaration with its credential.
    effective: Effective,
    owner: Anchor,
    registry: Option<RegistryStatus>,
}

/// The progress of a rollout.
#[derive(Default)]
struct RolloutProgress {
    declaration: NodeDeclaration,
    summary: String,
    failed: bool,
}

impl NodeController {
    /// Applies the orders until the task is dropped.
    pub(crate) async fn run(mut self) {
        let mut work = NodeWork::default();
        work.tables.restarts = self.settings.restart.as_ref().map(|_| RestartTables::default());
        let mut stored = self.stored.subscribe();
        let watches = NodeWatches::new(&self.client, &self.release, &self.settings);
        let NodeWatches { mut nodes, mut mirrors, mut agents, mut trials, mut restarts } = watches;
        let mut begun: Option<Instant> = None;
        let mut wake = None;
        let mut due = false;
        loop {
            due |= std::mem::take(&mut work.is_unblocked);
            let next = begun.map_or_else(Instant::now, |begun| begun + self.gap);
            tokio::select! {
                // Events come before actions.
                biased;
                Some(event) = nodes.next() => if let Some(event) = self.seen(&mut work, event) {
                    due |= work.tables.nodes.note(event, NodeRow::read);
                },
                Some(event) = mirrors.next() => if let Some(event) = self.seen(&mut work, event) {
                    due |= work.tables.mirrors.note(event, MirrorRow::read);
                },
                Some(event) = agents.next() => if let Some(event) = self.seen(&mut work, event) {
                    due |= work.tables.agents.note(event, AgentRow::read);
                },
                Some(event) = trials.next() => if let Some(event) = self.seen(&mut work, event) {
                    due |= work.tables.trials.note(event, TrialRow::read);
                },
                Some(event) = restarts.next() => {
                    let kind = event.kind;
                    if let Some(event) = self.seen(&mut work, event) {
                        due |= work.tables.note_restart(kind, event);
                    }
                }
                Some(answer) = work.trials.answered() => {
                    work.trials.note(answer);
                    due = true;
                }
                changed = self.orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    work.waiting.clear();
                    due = true;
                }
                Ok(()) = stored.changed() => due = true,
                Ok(()) = self.mark.changed() => due = true,
                () = sleep_until(next), if due => {
                    begun = Some(Instant::now());
                    due = Box::pin(self.turn(&mut work)).await;
                    wake = work.wake(self.settings.deadline);
                }
                () = sleep_until(wake.unwrap_or(next + RESYNC)), if !due => due = true,
            }
        }
    }

    /// Returns the event of a watch. Records if the API server refuses the watch.
    fn seen(&self, work: &mut NodeWork, seen: Seen) -> Option<Event<NodeObject>> {
        let Seen { kind, event } = seen;
        let event = match event {
            // Nothing was listed yet.
            Ok(Event::Init) => return Some(Event::Init),
            Ok(event) => {
                let was_refused = work.unwatched.remove(kind).is_some();
                work.is_unblocked |= was_refused && work.unwatched.is_empty();
                Some(event)
            }
            Err(reason) => {
                work.unwatched.insert(kind, reason);
                None
            }
        };
        if send_new(&self.obstacle, work.unwatched.values().next().cloned()) {
            self.changed.notify_one();
        }
        event
    }

    /// Takes a part of the steps that are due. Returns true if more are due.
    async fn turn(&mut self, work: &mut NodeWork) -> bool {
        let wanted = match &*self.orders.borrow_and_update() {
            NodeOrders::Unknown => return false,
            NodeOrders::Present { effective, owner, registry } => Wanted {
                effective: effective.clone(),
                owner: owner.clone(),
                registry: registry.clone(),
            },
        };
        let stored = self.stored.borrow().clone();
        let mark = self.mark.borrow_and_update().clone();
        let is_read = work.tables.is_complete() && stored.is_read && mark.is_read;
        if !is_read || !work.unwatched.is_empty() {
            return false;
        }
        work.note_silence();
        let mut progress = RolloutProgress {
            declaration: stored.declaration().clone(),
            ..RolloutProgress::default()
        };
        let hold = stored.hold(&self.release, &mark, self.linger);
        let is_held = hold.is_some();
        if let Some((reason, until)) = hold {
            if let Some(until) = until {
                work.wait(ROLLOUT, until, String::new());
            }
            progress.summary = reason;
        } else if work.is_due(ROLLOUT, Instant::now()) {
            match self.roll_out(work, &wanted, &stored, &mut progress).await {
                Ok(()) => {
                    work.waiting.remove(ROLLOUT);
                }
                Err(error) => work.note_failure(ROLLOUT, &error),
            }
        }
        let rules = TaintRules {
            is_enabled: self.settings.startup_taint,
            restores: stored.requests_restore(),
            declaration: &progress.declaration,
        };
        let mut is_more = self.write_nodes(work, &rules).await;
        if !is_held && work.ending.is_none() && work.is_due(RESTARTS, Instant::now()) {
            match self.restart(work, &progress.declaration).await {
                Ok(is_written) => {
                    work.waiting.remove(RESTARTS);
                    is_more |= is_written;
                }
                Err(error) => work.note_failure(RESTARTS, &error),
            }
        }
        self.publish(work, progress);
        is_more
    }

    /// Takes the next step of the rollout.
    ///
    /// # Errors
    /// The API server rejects a write.
    async fn roll_out(
        &self,
        work: &mut NodeWork,
        wanted: &Wanted,
        stored: &StoredNodes,
        progress: &mut RolloutProgress,
    ) -> Result<(), Error> {
        let Wanted { effective, owner, .. } = wanted;
        let registry = registry_state(wanted.registry.as_ref());
        let for_nodes = effective.for_nodes(self.settings.credentials);
        let before = stored.declaration().clone();
        let is_verified = before
            .verified
            .as_ref()
            .is_some_and(|it| it.effective == for_nodes && it.fallback == self.settings.fallback);
        let image = if is_verified || effective.origin == Origin::None {
            TrialImage::Unknown
        } else {
            let is_refused = matches!(registry, RegistryState::Bad(_));
            work.trials.image(&self.client, &self.settings, effective, is_refused)
        };
        let (decision, decided) = if let Some(ending) = work.ending.take() {
            ending
        } else {
            let nodes = work.rollout_nodes(&before, effective, &image);
            let decision = decide(&RolloutInput {
                wanted: &for_nodes,
                fallback: self.settings.fallback,
                stored: &before,
                reported: work.reported(),
                nodes: &nodes,
                registry,
                has_trial_image: image != TrialImage::Nothing,
                unserved: match &image {
                    TrialImage::Unserved(reason) => Some(reason.clone()),
                    TrialImage::Unknown => Some("the search has not ended".to_owned()),
                    TrialImage::Nothing | TrialImage::Image(_) => None,
                },
            });
            (decision, Instant::now())
        };
        let pods = TrialPods::new(&self.client, &self.release, &self.settings.trial_namespace);
        let has_pods = work.tables.trials.iter().next().is_some();
        if has_pods && ends_trial(&before, &decision) && decided.elapsed() < DELETION {
            // A kubelet repeats a failed pull. Without the mirrors, the node would request the
            // public registry.
            (progress.summary, progress.failed) = (decision.summary.clone(), decision.failed);
            work.ending = Some((decision, decided));
            let none = BTreeSet::new();
            return work.trials.settle(&pods, &work.tables.trials, (None, &none), &image).await;
        }
        let RolloutDecision { declaration, pulls, summary, failed } = decision;
        (progress.summary, progress.failed) = (summary, failed);
        let (client, release) = (&self.client, &self.release);
        let writer = DeclarationWriter { client, release, owner };
        let written = writer.write(stored, &declaration, &mut work.rewrites, now()).await?;
        if let Some(secret) = written {
            info!(number = declaration.last_number(), "wrote the declaration for nodes");
            self.stored.send_modify(|stored| stored.note(Some(secret)));
        }
        if before != declaration {
            let number = |it: &NodeDeclaration| it.verified.as_ref().map(|it| it.number);
            if !is_verified && number(&before) != number(&declaration) {
                let is_proven = image != TrialImage::Nothing;
                work.proof = Some(if is_proven { reason::PULLED } else { reason::NO_TRIAL_IMAGE });
            }
            report::publish(&self.events, &before, &declaration).await;
        }
        let trial = declaration.trial.as_ref();
        let settled = work.trials.settle(&pods, &work.tables.trials, (trial, &pulls), &image).await;
        progress.declaration = declaration;
        settled
    }

    /// Takes the next step of restarts. Returns true if another one may follow at once.
    ///
    /// # Errors
    /// The API server rejects a read or a write.
    async fn restart(
        &self,
        work: &mut NodeWork,
        declaration: &NodeDeclaration,
    ) -> Result<bool, Error> {
        let Some(settings) = &self.settings.restart else { return Ok(false) };
        let (client, release, events) = (&self.client, &self.release, &self.events);
        let config = self.config.as_ref();
        let restarts = NodeRestarts { client, config, release, events, settings };
        restarts.turn(&mut work.tables, &mut work.restarts, declaration).await
    }

    /// Writes taints, labels and `NodeMirror`s. Returns true if more writes are due.
    async fn write_nodes(&self, work: &mut NodeWork, rules: &TaintRules<'_>) -> bool {
        let deadline = self.settings.deadline;
        let mut due = {
            let views = views(&work.tables);
            let is_late = |name: &str| work.is_late(name, deadline);
            let (release, proof, declaration) = (&self.release, work.proof, rules.declaration);
            // A write of the label changes the version that a write of taints depends on.
            let mut due = taints::plan(&work.tables, &views, rules);
            due.extend(mirrors::plan(release, &work.tables, &views, declaration, proof, is_late));
            due
        };
        let named: HashSet<&str> = due.iter().map(|write| &*write.name).collect();
        work.waiting.retain(|name, _| {
            [ROLLOUT, RESTARTS].contains(&&**name) || named.contains(name.as_str())
        });
        let at = Instant::now();
        due.retain(|write| work.is_due(&write.name, at));
        let mut is_more = due.len() > IN_A_ROW;
        due.truncate(IN_A_ROW);
        let node_writer = NodeWriter::new(&self.client);
        // The writes to one node follow each other: of a former Node and of the new one.
        let mut by_node: BTreeMap<String, Vec<NodeWrite>> = BTreeMap::new();
        for write in due {
            by_node.entry(write.name.clone()).or_default().push(write);
        }
        let batches: Vec<_> =
            by_node.into_values().map(|writes| node_writer.execute(writes)).collect();
        let outcomes: Vec<_> = stream::iter(batches).buffer_unordered(AT_ONCE).collect().await;
        for (name, outcome) in outcomes.into_iter().flatten() {
            // A deletion, and a new object, are followed by another write.
            is_more |= outcome.is_ok();
            work.note_written(&name, outcome);
        }
        is_more
    }

    fn publish(&self, work: &NodeWork, progress: RolloutProgress) {
        let RolloutProgress { declaration, mut summary, failed } = progress;
        let failure = |(_, it): &(&String, &FailedWrite)| !it.reason.is_empty();
        let waiting = || work.waiting.iter().filter(failure);
        if let Some((_, failed)) = waiting().find(|(name, _)| *name != RESTARTS) {
            summary.clone_from(&failed.reason);
        }
        let restarts_fail = waiting().find(|(name, _)| *name == RESTARTS);
        let deadline = self.settings.deadline;
        let is_late = |name: &str| work.is_late(name, deadline);
        let views = views(&work.tables);
        let mut status = report::status(&views, &declaration, &summary, failed, is_late);
        work.restarts.report(restarts_fail.map(|(_, it)| &*it.reason), &mut status);
        let has_nodes = work.tables.nodes.iter().next().is_some();
        let in_force =
            NodesInForce::of(views, has_nodes, &declaration, (&summary, failed), is_late);
        let in_force =
            if status.restarts_stopped { in_force.stopped(&status.restarts) } else { in_force };
        let is_news = send_new(&self.in_force, in_force);
        if send_new(&self.report, Some(status)) || is_news {
            self.changed.notify_one();
        }
    }
}

impl NodeWork {
    /// Returns the nodes that an agent can configure.
    fn rollout_nodes(
        &mut self,
        stored: &NodeDeclaration,
        effective: &Effective,
        image: &TrialImage,
    ) -> Vec<RolloutNode> {
        let number = stored.trial.as_ref().map(|trial| trial.revision.number);
        let mut pulls = HashMap::new();
        for (_, pod) in self.tables.trials.iter() {
            if Some(pod.number) == number {
                let pull = self.trials.pull(pod, effective, image);
                pulls.insert(pod.node.clone(), pull);
            }
        }
        let views = views(&self.tables);
        let agents = views.into_iter().filter(NodeView::has_support);
        let node = |view: NodeView<'_>| RolloutNode {
            name: view.name.to_owned(),
            class: view.runtime_version().to_owned(),
            is_control_plane: view.row.is_control_plane,
            has_agent: view.has_agent,
            report: view.report(),
            pull: pulls.remove(view.name).unwrap_or(TrialPull::Absent),
        };
        agents.map(node).collect()
    }

    /// Returns the highest number that a `NodeMirror` reports.
    fn reported(&self) -> u64 {
        let numbers = self.tables.mirrors.iter().flat_map(|(_, mirror)| {
            [mirror.status.applied_revision, mirror.status.wanted_revision]
        });
        numbers.flatten().max().unwrap_or(0)
    }

    /// Records since when each node has no reporting agent.
    fn note_silence(&mut self) {
        let views = views(&self.tables);
        let silent = views.iter().filter(|view| !view.is_reporting()).map(|view| view.name);
        let at = |name: &str| self.silent.get(name).copied().unwrap_or_else(Instant::now);
        self.silent = silent.map(|name| (name.to_owned(), at(name))).collect();
    }

    /// Returns true if the node `name` has had no reporting agent for the time `deadline`.
    fn is_late(&self, name: &str, deadline: Duration) -> bool {
        self.silent.get(name).is_some_and(|since| since.elapsed() >= deadline)
    }

    fn is_due(&self, name: &str, at: Instant) -> bool {
        self.waiting.get(name).is_none_or(|it| it.until <= at)
    }

    /// Returns the time of the next step if nothing happens.
    fn wake(&self, deadline: Duration) -> Option<Instant> {
        let now = Instant::now();
        let waiting = self.waiting.values().map(|it| it.until);
        let silent = self.silent.values().map(|since| *since + deadline);
        let ending = self.ending.iter().map(|(_, decided)| *decided + DELETION);
        let restarts = self.restarts.wake;
        let steps = waiting.chain(silent).chain(ending).chain(restarts).filter(|at| *at > now);
        steps.chain(self.trials.wake()).min()
    }

    fn wait(&mut self, name: &str, until: Instant, reason: String) {
        let wait = RETRY[0];
        self.waiting.insert(name.to_owned(), FailedWrite { until, wait, reason });
    }

    /// Records a write that failed.
    fn note_failure(&mut self, name: &str, error: &Error) {
        let [first, longest] = RETRY;
        let before = self.waiting.get(name);
        let wait = before.map_or(first, |it| (it.wait * 2).min(longest));
        let wait = match error {
            Error::Paced { seconds, .. } => Duration::from_secs(*seconds),
            _ => wait,
        };
        let reason = if error.is_conflict() { String::new() } else { error.to_string() };
        if !reason.is_empty() && before.is_none_or(|before| before.reason != reason) {
            warn!(reason, "cannot roll the declaration out to nodes; retrying");
        }
        let until = Instant::now() + wait;
        self.waiting.insert(name.to_owned(), FailedWrite { until, wait, reason });
    }

    /// Records the outcome of a write to the node `name`.
    fn note_written(&mut self, name: &str, outcome: Result<NodeWritten, Error>) {
        let tables = &mut self.tables;
        match outcome {
            Ok(NodeWritten::Node(node)) => {
                tables.nodes.note(Event::Apply(node), NodeRow::read);
            }
            Ok(NodeWritten::Mirror(mirror)) => {
                tables.mirrors.note(Event::Apply(mirror), MirrorRow::read);
            }
            Ok(NodeWritten::Gone) => {
                tables.mirrors.remove(name);
            }
            Err(error) => return self.note_failure(name, &error),
        }
        self.waiting.remove(name);
    }
}

/// Returns true if `decision` takes a declaration on trial away from its nodes.
fn ends_trial(before: &NodeDeclaration, decision: &RolloutDecision) -> bool {
    let after = &decision.declaration;
    before.trial.as_ref().is_some_and(|trial| {
        let number = trial.revision.number;
        let is_verified = after.verified.as_ref().is_some_and(|it| it.number == number);
        let is_kept = |node: &String| after.for_node(node).is_some_and(|it| it.number == number);
        !is_verified && !trial.nodes.iter().all(is_kept)
    })
}
