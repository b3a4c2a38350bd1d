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
mod rollout;
mod taints;
mod trial;
mod view;
mod watches;
mod work;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use image_swap_core::{
    control::{effective::Effective, startup_taint::TaintRules, webhooks::Anchor},
    status::{AgentsStatus, NodeDeclaration, RegistryStatus},
};
use kube::{Client, Config, runtime::watcher::Event};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

pub use self::{
    await_restore::{PendingNode, RestoreSummary, RestoreWait},
    orders::{AgentSettings, NodeRestartSettings},
};
pub(crate) use self::{
    declaration::{StoredNodes, follow},
    in_force::NodesInForce,
    orders::NodeOrders,
};
use self::{
    mirrors::{NodeWrite, NodeWriter},
    objects::NodeObject,
    observed::{AgentRow, MirrorRow, NodeRow, RestartTables, TrialRow},
    restarts::NodeRestarts,
    view::views,
    watches::{NodeWatches, Seen},
    work::{FailedWrite, NodeWork, RESTARTS, ROLLOUT},
};
use crate::{
    error::Error, events::Events, helm_mark::HelmMark, release::Release, report::send_new,
};

/// Writes to Nodes and their `NodeMirror`s at once.
const AT_ONCE: usize = 16;
/// Writes between two looks at what else happened.
const IN_A_ROW: usize = 256;
/// Time between reconciliations without a change.
const RESYNC: Duration = Duration::from_mins(5);

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
