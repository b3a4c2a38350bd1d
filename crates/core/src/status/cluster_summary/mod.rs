//! Summary of a release, in an annotation of its heartbeat.
//!
//! The fleet controller of a management cluster reads the summary. It repeats no text from it:
//! problems are names, for which [`SummaryProblem::message`] has the words.

use serde::{Deserialize, Serialize};

use super::{
    agents::{AgentsStatus, PendingNodes},
    report::{ControllerReport, ProbeStatus, RegistryStatus},
};
use crate::{
    admission::Mode,
    control::{
        effective::Origin,
        policy::{FailurePolicy, RequestedPolicy},
    },
};

/// Maximum size of a summary in JSON, in bytes.
pub const SUMMARY_BYTES: usize = 16 * 1024;
/// Maximum number of problems in a summary.
const PROBLEMS: usize = 3;

/// Summary of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSummary {
    /// Version of the controller.
    pub version: String,
    /// UID of the namespace `kube-system`; `None` unless the cluster pulls its declaration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,
    /// Hash of the bundle from which the controller runs; `None` unless a fleet controller applied it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_hash: Option<String>,
    /// Number that `registry-info` is annotated with; `None` unless that Secret is in force and
    /// has one.
    pub registry_info_revision: Option<u64>,
    /// Source of the declaration in force.
    pub source: Origin,
    /// Hash of its text without credentials; empty without a declaration.
    pub hash: String,
    /// Handling of pods.
    pub webhook: WebhookSummary,
    /// Admission replicas; `None` if they are not known.
    pub replicas: Option<ReplicaCount>,
    /// Nodes; `None` if the release has no agents.
    pub nodes: Option<NodeCount>,
    /// Number of running pods with an image that no mirror serves; `None` if it is not known.
    pub pods_not_from_mirror: Option<u32>,
    /// Problems that an administrator has to solve, the most severe first; 3 at most.
    pub problems: Vec<SummaryProblem>,
}

/// Handling of new pods in a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookSummary {
    /// Pods are swapped; the API server rejects a pod that no replica reviews.
    Fail,
    /// Pods are swapped; the API server admits a pod that no replica reviews.
    Ignore,
    /// No pod is changed.
    #[serde(rename = "audit")]
    Audit,
    /// The webhook is not registered.
    #[default]
    #[serde(rename = "none", other)]
    None,
}

impl WebhookSummary {
    /// Returns the name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
            Self::Audit => "audit",
            Self::None => "none",
        }
    }
}

/// Numbers of admission replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaCount {
    /// Number of ready replicas.
    pub ready: u32,
    /// Number of replicas.
    pub total: u32,
}

/// Numbers of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCount {
    /// Number of nodes.
    pub total: u32,
    /// Number of nodes on which the declaration of the summary is in force.
    pub applied: u32,
    /// Number of nodes of [`Self::applied`] if a trial pull has verified the declaration; 0
    /// before.
    pub verified: u32,
}

/// Problem of a release. `image-swap status` has the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SummaryProblem {
    /// The trial pull of the declaration failed.
    NodeTrialFailed,
    /// `registry-info` or the chart's declaration is invalid.
    DeclarationRefused,
    /// The registry does not answer as it should.
    RegistryUnhealthy,
    /// The webhook is not registered.
    NotRegistered,
    /// The API server cannot call the webhook.
    Unreached,
    /// Another program swaps images, or its registration remains.
    OtherImageSwapper,
    /// Pods wait for nodes on which an administrator has to act.
    PodsWaitForNodes,
    /// The restart of a runtime failed, and no other one follows.
    NodeRestartFailed,
    /// The declaration is not in force on nodes on which an administrator has to act.
    NodesPending,
    /// Pull Secrets cannot be written, or belong to another program.
    PullSecretsFailing,
    /// Pods are deleted and created again and again.
    PodsRecreated,
    /// A step of the controller fails.
    StepFailed,
    /// The policy `Fail` is wanted and not in force.
    NotEnforced,
    /// The certificate of the registry expires soon.
    RegistryCertificateExpires,
    /// A problem of a later release.
    #[serde(other)]
    Other,
}

impl SummaryProblem {
    /// Returns the problem, for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NodeTrialFailed => "the trial pull of the declaration failed",
            Self::DeclarationRefused => "its declaration is invalid, and the last one stays",
            Self::RegistryUnhealthy => "its check of the registry fails",
            Self::NotRegistered => "its webhook is not registered",
            Self::Unreached => "its API server cannot call the webhook",
            Self::OtherImageSwapper => "another program swaps images",
            Self::PodsWaitForNodes => "pods wait for nodes on which an administrator has to act",
            Self::NodeRestartFailed => "the restart of a container runtime failed",
            Self::NodesPending => "nodes need an administrator",
            Self::PullSecretsFailing => "pull Secrets cannot be written",
            Self::PodsRecreated => "pods are deleted and created again and again",
            Self::StepFailed => "a step of its controller fails",
            Self::NotEnforced => "its failurePolicy is not Fail yet",
            Self::RegistryCertificateExpires => "the certificate of the registry expires soon",
            Self::Other => "it has a problem that this version does not know",
        }
    }
}

impl ClusterSummary {
    /// Returns the summary of `report`, with the `replicas` of the webhook.
    pub fn of(report: &ControllerReport, replicas: Option<ReplicaCount>) -> Self {
        let declared = &report.declaration;
        let policy = &report.policy;
        let webhook = match (policy.registered, policy.mode) {
            (false, _) => WebhookSummary::None,
            (true, Some(Mode::Audit)) => WebhookSummary::Audit,
            (true, _) => match policy.failure_policy {
                Some(FailurePolicy::Fail) => WebhookSummary::Fail,
                Some(FailurePolicy::Ignore) | None => WebhookSummary::Ignore,
            },
        };
        Self {
            version: report.version.clone(),
            cluster_uid: None,
            bundle_hash: report.bundle_hash.clone(),
            registry_info_revision: declared.registry_info_revision,
            source: declared.source,
            hash: declared.hash.clone(),
            webhook,
            replicas,
            nodes: report.agents.as_ref().map(NodeCount::of),
            pods_not_from_mirror: None,
            problems: problems(report),
        }
    }

    /// Parses a summary; `None` if `text` is too long or no summary. Unknown fields are skipped.
    pub fn parse(text: &str) -> Option<Self> {
        let text = Some(text).filter(|text| text.len() <= SUMMARY_BYTES)?;
        let mut summary: Self = serde_json::from_str(text).ok()?;
        summary.problems.truncate(PROBLEMS);
        Some(summary)
    }

    /// Returns true if the summary reports the declaration `revision` as the one in force. `hash` is
    /// that of its text without credentials: an edit by hand keeps the number. An empty hash is
    /// unknown.
    pub fn reports(&self, revision: u64, hash: &str) -> bool {
        let is_edited = !hash.is_empty() && !self.hash.is_empty() && self.hash != hash;
        self.registry_info_revision == Some(revision) && !is_edited
    }

    /// Returns the summary as JSON.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl NodeCount {
    fn of(agents: &AgentsStatus) -> Self {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let applied = if agents.current { number(agents.applied) } else { 0 };
        let is_verified = agents.revision == agents.verified_revision && agents.revision > 0;
        Self {
            total: number(agents.nodes),
            applied,
            verified: if is_verified { applied } else { 0 },
        }
    }
}

/// Returns the problems in `report`, the most severe first.
fn problems(report: &ControllerReport) -> Vec<SummaryProblem> {
    let ControllerReport { declaration, policy, registry, pull_secrets, .. } = report;
    let agents = report.agents.as_ref().filter(|it| it.current);
    let is_agents = |has: fn(&AgentsStatus) -> bool| agents.is_some_and(has);
    let is_audit = policy.mode == Some(Mode::Audit);
    let waits = declaration.waits.as_ref();
    let are_pending = |it: &AgentsStatus| it.pending.iter().any(PendingNodes::needs_administrator);
    let is_unreached = matches!(policy.probe, ProbeStatus::Unreached | ProbeStatus::NoEndpoints);
    let wants_fail = policy.requested == Some(RequestedPolicy::Fail) && !is_audit;
    let found = [
        (SummaryProblem::NodeTrialFailed, is_agents(|it| it.failed)),
        (SummaryProblem::DeclarationRefused, !declaration.refused.is_empty()),
        (SummaryProblem::RegistryUnhealthy, registry.as_ref().is_some_and(RegistryStatus::is_bad)),
        (SummaryProblem::NotRegistered, !policy.registered),
        (SummaryProblem::Unreached, is_unreached),
        (SummaryProblem::OtherImageSwapper, !report.foreign.is_empty()),
        (SummaryProblem::PodsWaitForNodes, waits.is_some_and(|it| it.needs_administrator)),
        (SummaryProblem::NodeRestartFailed, is_agents(|it| it.restarts_stopped)),
        (SummaryProblem::NodesPending, is_agents(are_pending)),
        (
            SummaryProblem::PullSecretsFailing,
            pull_secrets.failed > 0 || pull_secrets.foreign_count > 0,
        ),
        (SummaryProblem::PodsRecreated, !report.recreated.is_empty()),
        (SummaryProblem::StepFailed, !report.failing.is_empty()),
        (
            SummaryProblem::NotEnforced,
            wants_fail && policy.failure_policy != Some(FailurePolicy::Fail),
        ),
        (
            SummaryProblem::RegistryCertificateExpires,
            registry.as_ref().is_some_and(|it| it.expires_soon),
        ),
    ];
    let found = found.into_iter().filter(|(_, is_found)| *is_found);
    found.map(|(problem, _)| problem).take(PROBLEMS).collect()
}

#[cfg(test)]
mod tests;
