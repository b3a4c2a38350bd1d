//! The restarts of runtimes: a Lease and a pod for each node that is being restarted.
//!
//! [`image_swap_core::control::restarts`] decides. Before each write, Leases and pods are listed
//! again: a watch may be behind.

mod objects;
mod readyz;
mod writer;

use std::{collections::HashSet, time::Duration};

use image_swap_core::{
    control::{
        restarts::{
            ApiServersState, RestartBegin, RestartDecision, RestartInput, RestartLease,
            RestartNode, RestartPod, RestartReport, RestartStop, decide,
        },
        rollout::NodeReport,
    },
    declaration::UnixTime,
    status::{
        AgentsStatus, NodeDeclaration,
        node_mirror::{APPLIED, FALSE, reason},
    },
};
use kube::{
    Client, Config,
    runtime::{events::EventType, watcher::Event},
};
use tokio::time::Instant;
use tracing::{info, warn};

use self::writer::RestartWriter;
use super::{
    objects::NodeObject,
    observed::{NodeTables, RestartLeaseRow, RestartPodRow, RestartTables},
    orders::NodeRestartSettings,
    view::{NodeView, views},
};
use crate::{clock::now, error::Error, events::Events, release::Release};

/// Wait between two looks at API servers that are not ready.
const RETRY: Duration = Duration::from_secs(10);

/// The access of the controller of nodes to restarts.
pub(super) struct NodeRestarts<'c> {
    pub(super) client: &'c Client,
    /// Configuration of clients for each API server; `None` if [`Self::client`] reaches the only
    /// one.
    pub(super) config: Option<&'c Config>,
    pub(super) release: &'c Release,
    pub(super) events: &'c Events,
    pub(super) settings: &'c NodeRestartSettings,
}

/// The memory of restarts. The next leader computes it again.
#[derive(Default)]
pub(super) struct RestartMemory {
    /// Time of the next step if nothing happens; `None` if only an event needs one.
    pub(super) wake: Option<Instant>,
    /// Progress; empty if no node needs a restart.
    summary: String,
    /// Leases that stop all further restarts, whose Events were published.
    stops: Vec<RestartStop>,
    /// UIDs of pods whose deletion was requested.
    ending: HashSet<String>,
    /// Reason why an API server was not ready, and the time of the next look; `None` if all
    /// were ready.
    unready: Option<(String, Instant)>,
}

impl RestartMemory {
    /// Writes the progress of restarts to `status`. `failure` is the reason of a failed write.
    pub(super) fn report(&self, failure: Option<&str>, status: &mut AgentsStatus) {
        status.restarts_stopped = !self.stops.is_empty();
        status.restarts = match failure.filter(|_| !status.restarts_stopped) {
            Some(failure) => failure.to_owned(),
            None => self.summary.clone(),
        };
    }
}

impl NodeRestarts<'_> {
    /// Takes the next step. Returns true if another one may follow at once.
    ///
    /// # Errors
    /// The API server rejects a read or a write.
    pub(super) async fn turn(
        &self,
        node_tables: &mut NodeTables,
        memory: &mut RestartMemory,
        declaration: &NodeDeclaration,
    ) -> Result<bool, Error> {
        let nodes: Vec<_> = views(node_tables)
            .iter()
            .filter(|view| view.has_support())
            .map(|view| node(view, declaration))
            .collect();
        let Some(tables) = &mut node_tables.restarts else { return Ok(false) };
        let at = now();
        let mut decision = self.decide(&nodes, tables, memory, ApiServersState::Unknown, at);
        if !decision.is_idle() {
            self.refresh(tables).await?;
            let servers = if decision.needs_readyz {
                self.api_servers(memory).await
            } else {
                ApiServersState::Unknown
            };
            decision = self.decide(&nodes, tables, memory, servers, at);
        }
        self.announce(memory, &decision).await;
        memory.wake = wake(memory, tables, &decision, at);
        let is_written = self.execute(tables, memory, &decision).await?;
        Ok(is_written || decision.needs_readyz)
    }

    /// Decides on the next step. Pods whose deletion was requested are not deleted again.
    fn decide(
        &self,
        nodes: &[RestartNode],
        tables: &RestartTables,
        memory: &RestartMemory,
        api_servers: ApiServersState,
        at: UnixTime,
    ) -> RestartDecision {
        let lease = |(name, row): (&str, &RestartLeaseRow)| RestartLease {
            name: name.to_owned(),
            node: row.node.clone(),
            number: row.number,
            is_resumed: row.is_resumed,
            is_expired: row.until.is_none_or(|until| until <= at),
        };
        let pod = |(name, row): (&str, &RestartPodRow)| RestartPod {
            name: name.to_owned(),
            node: row.node.clone(),
            number: row.number,
            phase: row.phase.clone(),
        };
        let leases: Vec<_> = tables.leases.iter().map(lease).collect();
        let pods: Vec<_> = tables.pods.iter().map(pod).collect();
        let mut decision = decide(&RestartInput {
            nodes,
            leases: &leases,
            pods: &pods,
            api_servers,
            max_unavailable: self.settings.max_unavailable,
            namespace: &self.settings.namespace,
        });
        let is_ending =
            |name: &str| tables.pods.get(name).is_some_and(|pod| memory.ending.contains(&pod.uid));
        decision.ended_pods.retain(|name| !is_ending(name));
        decision
    }

    /// Reads all Leases and pods again.
    async fn refresh(&self, tables: &mut RestartTables) -> Result<(), Error> {
        let [leases, pods] = self.writer().list().await?;
        let name = |object: &NodeObject| object.name().to_owned();
        let lease = |it: &NodeObject| Some((name(it), RestartLeaseRow::read(it)?));
        tables.leases.replace(leases.iter().filter_map(lease));
        let pod = |it: &NodeObject| Some((name(it), RestartPodRow::read(it)?));
        tables.pods.replace(pods.iter().filter_map(pod));
        Ok(())
    }

    /// Returns the state of the API servers, at most as often as [`RETRY`] allows.
    async fn api_servers(&self, memory: &mut RestartMemory) -> ApiServersState {
        if let Some((reason, until)) = &memory.unready
            && *until > Instant::now()
        {
            return ApiServersState::NotOk(reason.clone());
        }
        let state = readyz::look(self.client, self.config).await;
        memory.unready = match &state {
            ApiServersState::NotOk(reason) => Some((reason.clone(), Instant::now() + RETRY)),
            ApiServersState::Unknown | ApiServersState::AllOk => None,
        };
        state
    }

    /// Records the progress, and publishes what stops restarts.
    async fn announce(&self, memory: &mut RestartMemory, decision: &RestartDecision) {
        memory.summary.clone_from(&decision.summary);
        let before = std::mem::replace(&mut memory.stops, decision.stops.clone());
        for stop in decision.stops.iter().filter(|stop| !before.contains(stop)) {
            warn!(node = stop.node, reason = stop.message, "a restart stops all others");
            if stop.has_failed {
                self.events.emit(EventType::Warning, "RestartFailed", &stop.message).await;
            }
        }
        if let Some(first) = decision.stops.first().filter(|_| before.is_empty()) {
            self.events.emit(EventType::Warning, "RestartsStopped", &first.remedy()).await;
        }
    }

    /// Deletes pods, then Leases, and creates Leases, each before its pod. Returns true if a
    /// Lease was written.
    async fn execute(
        &self,
        tables: &mut RestartTables,
        memory: &mut RestartMemory,
        decision: &RestartDecision,
    ) -> Result<bool, Error> {
        let writer = self.writer();
        let present: HashSet<&str> = tables.pods.iter().map(|(_, pod)| &*pod.uid).collect();
        memory.ending.retain(|uid| present.contains(uid.as_str()));
        for name in &decision.ended_pods {
            let Some(pod) = tables.pods.get(name) else { continue };
            writer.delete_pod(name, &pod.uid).await?;
            memory.ending.insert(pod.uid.clone());
        }
        for name in &decision.ended_leases {
            let Some(uid) = tables.leases.get(name).map(|it| it.uid.clone()) else { continue };
            writer.delete_lease(name, &uid).await?;
            tables.leases.remove(name);
            info!(name, "deleted the Lease of a restart");
        }
        for RestartBegin { node, number, has_lease } in &decision.begin {
            if !has_lease {
                let lease = writer.create_lease(node, *number).await?;
                tables.leases.note(Event::Apply(lease), RestartLeaseRow::read);
            }
            let pod = writer.create_pod(node, *number).await?;
            tables.pods.note(Event::Apply(pod), RestartPodRow::read);
            info!(node, number, "created a restart pod");
            let note = format!("the runtime of {node} is restarted for declaration {number}");
            self.events.emit(EventType::Normal, "RestartStarted", &note).await;
        }
        Ok(!decision.ended_leases.is_empty() || !decision.begin.is_empty())
    }

    const fn writer(&self) -> RestartWriter<'_> {
        let Self { client, release, settings, .. } = self;
        RestartWriter { client, release, settings }
    }
}

/// Returns the node of `view` as restarts need it.
fn node(view: &NodeView<'_>, declaration: &NodeDeclaration) -> RestartNode {
    let wanted = declaration.for_node(view.name).filter(|_| !declaration.restores(view.name));
    let wanted = wanted.map(|it| it.number);
    let trial = declaration.trial.as_ref();
    RestartNode {
        name: view.name.to_owned(),
        is_ready: view.row.is_ready,
        is_control_plane: view.row.is_control_plane,
        has_agent: view.has_agent,
        is_on_trial: trial.is_some_and(|it| Some(it.revision.number) == wanted),
        wanted,
        report: report(view),
    }
}

/// Returns the report of the agent, as far as restarts depend on it.
fn report(view: &NodeView<'_>) -> RestartReport {
    if let NodeReport::Applied(number) = view.report() {
        return RestartReport::Applied(number);
    }
    let number = view.reported().and_then(|status| status.wanted_revision);
    let applied = view.condition(APPLIED).filter(|it| it.status == FALSE);
    let Some((applied, number)) = applied.zip(number) else { return RestartReport::Other };
    match &*applied.reason {
        reason::RESTART_REQUIRED => RestartReport::Required(number),
        reason::RESTART_FAILED => {
            RestartReport::Failed { number, message: applied.message.clone() }
        }
        _ => RestartReport::Other,
    }
}

/// Returns the time of the next step: a Lease expires, or API servers may be ready.
fn wake(
    memory: &RestartMemory,
    tables: &RestartTables,
    decision: &RestartDecision,
    at: UnixTime,
) -> Option<Instant> {
    let ends = tables.leases.iter().filter_map(|(_, lease)| lease.until);
    let ends = ends.filter(|until| *until > at);
    let next = ends.map(|until| Instant::now() + Duration::from_secs(until - at)).min();
    let look = memory.unready.as_ref().filter(|_| decision.begin.is_empty());
    next.into_iter().chain(look.map(|(_, until)| *until)).min()
}

#[cfg(test)]
mod tests;
