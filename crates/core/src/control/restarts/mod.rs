//! Restarts of container runtimes, node by node, which bring a declaration into force.
//!
//! A Lease for each node that is being restarted is the brake. The controller writes it before
//! the pod that restarts the runtime. It ends when the node is Ready and reports the declaration
//! in force. A Lease whose restart failed, or that has expired, stops all further restarts until
//! an administrator acts.

use std::collections::BTreeSet;

use crate::labels::{RESTART, RESUME};

/// Maximum number of nodes that a summary names.
const NAMED: usize = 5;

/// Observations that restarts are decided from.
#[derive(Clone, Debug)]
pub struct RestartInput<'a> {
    /// Nodes on which agents are supported.
    pub nodes: &'a [RestartNode],
    /// Leases of the release in [`Self::namespace`].
    pub leases: &'a [RestartLease],
    /// Restart pods of the release in [`Self::namespace`].
    pub pods: &'a [RestartPod],
    /// Last look at the API servers.
    pub api_servers: ApiServersState,
    /// Maximum number of workers that are restarted at once.
    pub max_unavailable: usize,
    /// Namespace of Leases and pods.
    pub namespace: &'a str,
}

/// A node whose runtime may have to be restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct RestartNode {
    /// Name of the Node.
    pub name: String,
    /// True if the condition Ready of the Node holds.
    pub is_ready: bool,
    /// True if the node is part of the control plane.
    pub is_control_plane: bool,
    /// True if the node has a ready agent.
    pub has_agent: bool,
    /// True if the node tries a declaration before the others.
    pub is_on_trial: bool,
    /// Number of the declaration that the node should have; `None` without one.
    pub wanted: Option<u64>,
    /// Report of the agent for the present Node UID and boot.
    pub report: RestartReport,
}

/// Report of an agent, as far as restarts depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartReport {
    /// No report, or any other one.
    Other,
    /// The declaration of this number is in force.
    Applied(u64),
    /// The declaration of this number needs a restart of the runtime.
    Required(u64),
    /// A restart for the declaration `number` did not succeed.
    Failed {
        /// Number of the declaration.
        number: u64,
        /// Message of the process that restarted the runtime.
        message: String,
    },
}

/// The Lease of a node that is being restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartLease {
    /// Name of the Lease.
    pub name: String,
    /// Name of the Node: its holder.
    pub node: String,
    /// Number of the declaration; `None` if its annotation holds no number.
    pub number: Option<u64>,
    /// True if an administrator ended it by its annotation.
    pub is_resumed: bool,
    /// True if its time is over.
    pub is_expired: bool,
}

/// A pod that restarts the runtime of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartPod {
    /// Name of the pod.
    pub name: String,
    /// Name of the Node.
    pub node: String,
    /// Number of the declaration.
    pub number: u64,
    /// Progress of the pod.
    pub phase: RestartPodPhase,
}

/// Progress of a restart pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RestartPodPhase {
    /// The kubelet has not started it.
    Waiting,
    /// Container started and not ended.
    Running,
    /// Container ended; the declaration is in force on the host.
    Succeeded,
    /// Container ended without the declaration in force, for this reason.
    Failed(String),
}

/// Readiness of all API servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiServersState {
    /// No look at them for this decision.
    Unknown,
    /// `/readyz` of every API server answers ok.
    AllOk,
    /// `/readyz` of one API server does not, for this reason.
    NotOk(String),
}

/// The next step of restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartDecision {
    /// Restarts to begin.
    pub begin: Vec<RestartBegin>,
    /// Names of the Leases to delete, after their pods.
    pub ended_leases: BTreeSet<String>,
    /// Names of the pods to delete: of ended Leases, and without a Lease.
    pub ended_pods: BTreeSet<String>,
    /// Reasons why no restart begins, by Lease; empty if nothing stops restarts.
    pub stops: Vec<RestartStop>,
    /// Progress; empty if no node needs a restart.
    pub summary: String,
    /// True if the decision depends on [`RestartInput::api_servers`], which is unknown.
    pub needs_readyz: bool,
}

/// A restart to begin: its Lease, then its pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartBegin {
    /// Name of the Node.
    pub node: String,
    /// Number of the declaration.
    pub number: u64,
    /// True if the Lease exists, and only the pod is to be created.
    pub has_lease: bool,
}

/// A Lease that stops all further restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestartStop {
    /// Name of the Node.
    pub node: String,
    /// True if the restart failed; false if it did not end in time.
    pub has_failed: bool,
    /// Failure, for people.
    pub message: String,
    /// Command by which an administrator ends the Lease.
    pub command: String,
}

impl RestartStop {
    /// Returns the failure with its remedy, for people.
    pub fn remedy(&self) -> String {
        let Self { message, command, .. } = self;
        format!(
            "{message}; no other node is restarted; repair the node, then run `{command}` to try \
             it again"
        )
    }
}

impl RestartDecision {
    /// Returns true if there is nothing to write, and no need to look at the API servers.
    pub fn is_idle(&self) -> bool {
        let has_ended = !self.ended_leases.is_empty() || !self.ended_pods.is_empty();
        self.begin.is_empty() && !self.needs_readyz && !has_ended
    }
}

impl RestartNode {
    /// Returns the number of the declaration that the node needs a restart for; `None` if it
    /// needs none. A failed restart without a Lease is one that an administrator resumed.
    const fn required(&self) -> Option<u64> {
        match (self.wanted, &self.report) {
            (
                Some(wanted),
                RestartReport::Required(number) | RestartReport::Failed { number, .. },
            ) if wanted == *number => Some(wanted),
            _ => None,
        }
    }
}

/// Decides on the next step of restarts.
pub fn decide(input: &RestartInput<'_>) -> RestartDecision {
    let (ended, open): (Vec<_>, Vec<_>) =
        input.leases.iter().partition(|lease| lease.is_resumed || has_ended(input, lease));
    let is_open = |pod: &RestartPod| {
        let is_number = |number: Option<u64>| number.is_none_or(|number| number == pod.number);
        open.iter().any(|it| it.node == pod.node && is_number(it.number))
    };
    let ended_pods = input.pods.iter().filter(|pod| !is_open(pod));
    let mut decision = RestartDecision {
        ended_leases: ended.iter().map(|it| it.name.clone()).collect(),
        ended_pods: ended_pods.map(|it| it.name.clone()).collect(),
        stops: open.iter().filter_map(|lease| stop(input, lease)).collect(),
        ..RestartDecision::default()
    };
    if let Some(first) = decision.stops.first() {
        decision.summary = first.remedy();
        return decision;
    }
    // A Lease counts until it is deleted.
    let obstacle = if ended.is_empty() { begin(input, &mut decision) } else { None };
    decision.summary = summary(input, &open, &decision, obstacle);
    decision
}

/// Returns the node of `lease`; `None` if it is gone.
fn node_of<'a>(input: &RestartInput<'a>, lease: &RestartLease) -> Option<&'a RestartNode> {
    input.nodes.iter().find(|it| it.name == lease.node)
}

/// Returns the pod of `lease`; `None` without one.
fn pod_of<'a>(input: &RestartInput<'a>, lease: &RestartLease) -> Option<&'a RestartPod> {
    input.pods.iter().find(|it| it.node == lease.node && Some(it.number) == lease.number)
}

/// Returns true if the node of `lease` is Ready and has the declaration.
fn has_ended(input: &RestartInput<'_>, lease: &RestartLease) -> bool {
    let Some(node) = node_of(input, lease) else { return false };
    let has_it = match (&node.report, lease.number) {
        (RestartReport::Applied(applied), Some(number)) => *applied >= number,
        _ => false,
    };
    // While the pod runs, the host may still be rolled back.
    let is_running = pod_of(input, lease).is_some_and(|pod| pod.phase == RestartPodPhase::Running);
    has_it && node.is_ready && !is_running
}

/// Returns the reason why `lease`, which has not ended, stops all further restarts.
fn stop(input: &RestartInput<'_>, lease: &RestartLease) -> Option<RestartStop> {
    let node = &lease.node;
    let failure = match pod_of(input, lease).map(|pod| &pod.phase) {
        Some(RestartPodPhase::Failed(message)) => Some(message),
        // The report is that of an earlier restart.
        Some(RestartPodPhase::Waiting | RestartPodPhase::Running) => None,
        Some(RestartPodPhase::Succeeded) | None => match node_of(input, lease).map(|it| &it.report)
        {
            Some(RestartReport::Failed { message, .. }) => Some(message),
            _ => None,
        },
    };
    let message = match failure {
        Some(message) if message.is_empty() => format!("the restart of {node} failed"),
        Some(message) => format!("the restart of {node} failed: {message}"),
        None if lease.number.is_none() => {
            format!("the Lease {} has no number in its annotation {RESTART}", lease.name)
        }
        None if lease.is_expired => format!("the restart of {node} did not end in time"),
        None => return None,
    };
    let command = format!(
        "kubectl annotate lease --namespace {} {} {RESTART}={RESUME} --overwrite",
        input.namespace, lease.name
    );
    Some(RestartStop { node: node.clone(), has_failed: failure.is_some(), message, command })
}

/// Adds the restarts that begin to `decision`. Returns the reason why the API servers hold up the
/// restart of a control-plane node; `None` if they do not.
fn begin(input: &RestartInput<'_>, decision: &mut RestartDecision) -> Option<String> {
    let mut obstacle = None;
    let is_idle = |node: &str| !input.pods.iter().any(|pod| pod.node == node);
    for lease in input.leases.iter().filter(|it| is_idle(&it.node)) {
        // The controller stopped between the Lease and its pod.
        let report = node_of(input, lease).map(|it| &it.report);
        if let (Some(RestartReport::Required(required)), Some(number)) = (report, lease.number)
            && *required == number
        {
            let node = lease.node.clone();
            decision.begin.push(RestartBegin { node, number, has_lease: true });
        }
    }
    let mut held = input.leases.len();
    let is_control_plane =
        |lease: &RestartLease| node_of(input, lease).is_some_and(|it| it.is_control_plane);
    if input.leases.iter().any(is_control_plane) {
        return None;
    }
    for (node, number) in waiting(input) {
        if !(node.is_ready && node.has_agent && is_idle(&node.name)) {
            continue;
        }
        let start = RestartBegin { node: node.name.clone(), number, has_lease: false };
        if node.is_control_plane {
            match &input.api_servers {
                _ if held > 0 => break,
                ApiServersState::Unknown => {
                    decision.needs_readyz = true;
                    break;
                }
                ApiServersState::AllOk => {
                    decision.begin.push(start);
                    break;
                }
                ApiServersState::NotOk(reason) => {
                    let name = &node.name;
                    obstacle = obstacle.or_else(|| {
                        Some(format!("{name} waits for /readyz of every API server: {reason}"))
                    });
                }
            }
        } else if held < input.max_unavailable {
            held += 1;
            decision.begin.push(start);
        } else {
            break;
        }
    }
    obstacle
}

/// Returns the nodes without a Lease that need a restart, in the order of their restarts, each
/// with the number of the declaration.
fn waiting<'a>(input: &RestartInput<'a>) -> Vec<(&'a RestartNode, u64)> {
    let leases = input.leases;
    let others = input.nodes.iter().filter(|node| !leases.iter().any(|it| it.node == node.name));
    let mut waiting: Vec<_> =
        others.filter_map(|node| node.required().map(|number| (node, number))).collect();
    waiting.sort_by_key(|(node, _)| (!node.is_on_trial, node.is_control_plane, &node.name));
    waiting
}

/// Returns the progress of restarts that nothing stops. `open` are the Leases that stay.
fn summary(
    input: &RestartInput<'_>,
    open: &[&RestartLease],
    decision: &RestartDecision,
    obstacle: Option<String>,
) -> String {
    let begun = decision.begin.iter().filter(|it| !it.has_lease).map(|it| it.node.as_str());
    let running: BTreeSet<&str> = open.iter().map(|it| it.node.as_str()).chain(begun).collect();
    let waiting = waiting(input);
    let waiting = waiting.iter().map(|(node, _)| *node);
    let waiting: Vec<_> = waiting.filter(|node| !running.contains(node.name.as_str())).collect();
    let (able, unable): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|node| node.is_ready && node.has_agent);
    let mut parts = Vec::new();
    if !running.is_empty() {
        parts.push(format!("restarts the runtime of {}", named(running.into_iter())));
    }
    match able.len() {
        0 => {}
        1 => parts.push("1 node waits for its restart".to_owned()),
        count => parts.push(format!("{count} nodes wait for their restart")),
    }
    parts.extend(obstacle);
    if !unable.is_empty() {
        let names = named(unable.iter().map(|it| it.name.as_str()));
        parts.push(format!("no restart without a Ready node and a ready agent: {names}"));
    }
    parts.join("; ")
}

/// Returns the first of `names`, and the number of the others.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    let more = names.len().saturating_sub(NAMED);
    if more > 0 {
        names.truncate(NAMED);
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
