//! The report of the controller.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    admission::Mode,
    control::{
        certificates::Validity,
        competitors::Liveness,
        effective::{Origin, SourceReport},
        policy::{FailurePolicy, Probe, RequestedPolicy},
        recreated::{RecreatedPod, WINDOW},
    },
    declaration::UnixTime,
    diagnostic::Severity,
    status::agents::AgentsStatus,
};

/// Maximum number of entries of each list. A report has to fit into a `ConfigMap`.
pub const LISTED: usize = 100;
/// Maximum size of each text, in bytes.
const TEXT: usize = 1000;

/// Content of `status.json` in the `ConfigMap` `N-status`: the controller's view of the
/// release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllerReport {
    /// Version of the controller.
    pub version: String,
    /// Hash of the bundle from which the controller runs; `None` unless a fleet controller applied it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_hash: Option<String>,
    /// The declaration in force.
    pub declaration: DeclarationStatus,
    /// Admission of pods.
    pub policy: AdmissionStatus,
    /// Lifetime of the serving certificate's authority; `None` if it is not known.
    pub authority: Option<CertificateLifetime>,
    /// Lifetime of the serving certificate; `None` if it is not known.
    pub certificate: Option<CertificateLifetime>,
    /// Last check of the declared registry; `None` before the first.
    pub registry: Option<RegistryStatus>,
    /// The Secrets with which nodes pull.
    pub pull_secrets: PullSecretStatus,
    /// Owners whose pods are deleted and created again and again; 20 of them.
    pub recreated: Vec<RecreatedPods>,
    /// Other programs that swap images.
    pub foreign: Vec<CompetitorStatus>,
    /// Requirements that nodes have to meet before they can pull.
    pub nodes: Vec<String>,
    /// Value of the annotation `image-swap.io/trusts` on nodes that meet the requirements;
    /// empty if there are none.
    pub trust: String,
    /// Number of requirements, listed in [`Self::nodes`] or not.
    #[serde(rename = "nodeNeeds")]
    pub node_requirements: usize,
    /// The agents of nodes; `None` if the release has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<AgentsStatus>,
    /// Number of repairs of the registration since this controller started.
    pub repairs: u64,
    /// Steps of the last reconciliation that failed.
    pub failing: Vec<FailingStep>,
    /// UID of the `ConfigMap` `N-uninstall` that the controller knows as an ordinary object
    /// of the release; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uninstall_mark: Option<String>,
}

/// A step of a reconciliation that failed. All other steps were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailingStep {
    /// Name of the step, for programs.
    pub name: String,
    /// Reason.
    pub error: String,
}

impl FailingStep {
    /// Returns the step with an error that fits into a report.
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self { name: self.name.clone(), error: bounded(&self.error) }
    }
}

/// Returns the first entries of `list`, as many as a report has.
pub fn listed<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().take(LISTED).cloned().collect()
}

/// Returns `text`, cut if it is too long for a report.
fn bounded(text: &str) -> String {
    if text.len() <= TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(TEXT)])
}

/// The declaration in force, and the diagnostics of each declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclarationStatus {
    /// Source of the declaration in force.
    pub source: Origin,
    /// Hash of its text without credentials.
    pub hash: String,
    /// Number that increases with every change of the declaration, of its credential alone,
    /// too; 0 before the first.
    pub revision: u64,
    /// Number that `registry-info` is annotated with, by [`crate::labels::REVISION`]; `None`
    /// unless that Secret is in force and has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_info_revision: Option<u64>,
    /// Number of its rules.
    pub rules: usize,
    /// Sources of refused declarations: their last good declaration stays in force.
    pub refused: Vec<Origin>,
    /// Keys in which the chart's declaration differs from `registry-info`.
    pub differs: Vec<String>,
    /// Diagnostics, errors first; a hundred at most.
    pub findings: Vec<DiagnosticRow>,
    /// Number of diagnostics, listed or not.
    pub finding_count: usize,
    /// Wait of pods until nodes trust the declaration; `None` if pods are swapped by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<PodWait>,
}

/// A wait of pods until nodes trust the declaration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodWait {
    /// Hash of the declaration that pods are swapped by until then; empty if they keep their
    /// images.
    pub served: String,
    /// Number of its rules.
    pub rules: usize,
    /// Reason why nodes do not trust the declaration yet.
    pub reason: String,
    /// True if the wait lasts until an administrator acts.
    pub needs_administrator: bool,
}

impl PodWait {
    /// Returns the state of pods until nodes trust the declaration with the hash `wanted`.
    pub fn message(&self, wanted: &str) -> String {
        let origin = match &*self.served {
            "" => "pods keep their images".to_owned(),
            served => format!("pods are swapped by declaration {served}"),
        };
        format!("{origin} until all nodes trust declaration {wanted}")
    }
}

impl DeclarationStatus {
    /// Returns the hash of the declaration that replicas serve.
    pub fn served(&self) -> &str {
        let waits = self.waits.as_ref().filter(|it| !it.served.is_empty());
        waits.map_or(&self.hash, |it| &it.served)
    }

    /// Returns the wait of pods, for people; `None` if pods are swapped by the declaration.
    pub fn waiting(&self) -> Option<String> {
        let wait = self.waits.as_ref()?;
        Some(format!("{}: {}", wait.message(&self.hash), wait.reason))
    }

    /// Lists the findings of `about`, errors first, as many as a report has.
    pub fn list_findings(&mut self, about: &[SourceReport]) {
        let all = || about.iter().flat_map(|it| it.findings.iter().map(|found| (it.origin, found)));
        let errors = all().filter(|(_, finding)| finding.is_error());
        let others = all().filter(|(_, finding)| !finding.is_error());
        let listed = errors.chain(others).take(LISTED).map(|(source, finding)| DiagnosticRow {
            source,
            severity: finding.severity,
            code: finding.code.as_str().to_owned(),
            line: finding.place.line,
            column: finding.place.column,
            key: finding.key.map(str::to_owned),
            message: bounded(&finding.message),
            hint: finding.hint.as_deref().map(bounded),
        });
        self.findings = listed.collect();
        self.finding_count = all().count();
    }
}

/// A diagnostic of a declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiagnosticRow {
    /// Source of the declaration.
    pub source: Origin,
    /// Severity.
    pub severity: Severity,
    /// Stable name.
    pub code: String,
    /// Line in the value of [`Self::key`], 1-based.
    pub line: usize,
    /// Column, 1-based.
    pub column: usize,
    /// Key of the value; `None` if the diagnostic concerns the whole Secret.
    pub key: Option<String>,
    /// Expected and found value. Holds no credential.
    pub message: String,
    /// Remedy.
    pub hint: Option<String>,
}

/// Admission of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AdmissionStatus {
    /// Mode of admission; `None` before the first reconciliation.
    pub mode: Option<Mode>,
    /// The `failurePolicy` for ordinary pods; `None` before the first reconciliation.
    pub failure_policy: Option<FailurePolicy>,
    /// The configured policy; `None` before the first reconciliation.
    #[serde(alias = "wanted")]
    pub requested: Option<RequestedPolicy>,
    /// Label that exempts namespaces and pods.
    pub label: String,
    /// True if only namespaces labelled `enabled` take part.
    pub opt_in: bool,
    /// True if the webhook configuration has entries.
    pub registered: bool,
    /// Result of the last probe.
    pub probe: ProbeStatus,
    /// Number of probes that failed since the last that succeeded, or among others that
    /// succeed.
    pub failures: u32,
    /// Addresses of the API servers that do not reach a replica, where each is probed by
    /// itself.
    pub unreached: Vec<String>,
}

/// Result of a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeStatus {
    /// Every API server reached a replica.
    #[serde(rename = "reached")]
    Reached,
    /// An API server does not reach the replicas.
    #[serde(rename = "unreached")]
    Unreached,
    /// No replica is ready.
    #[serde(rename = "no-endpoints", alias = "nobody-there")]
    NoEndpoints,
    /// No probe has a result yet.
    #[default]
    #[serde(rename = "unknown", other)]
    Unknown,
}

impl From<Probe> for ProbeStatus {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Reached => Self::Reached,
            Probe::Unreached => Self::Unreached,
            Probe::NoEndpoints => Self::NoEndpoints,
            Probe::Unknown | Probe::Silent => Self::Unknown,
        }
    }
}

/// Last check of the declared registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryStatus {
    /// Host of the registry.
    pub domain: String,
    /// Result.
    pub outcome: RegistryOutcome,
    /// Reason, in words. Holds no credential.
    pub detail: String,
    /// Time of the check, seconds since 1970.
    pub checked: UnixTime,
    /// Expiry of the registry's certificate, seconds since 1970; `None` if it was not
    /// verified.
    pub expires: Option<UnixTime>,
    /// True if the certificate expires soon.
    pub expires_soon: bool,
}

impl RegistryStatus {
    /// Returns true if pods cannot pull from the registry.
    pub const fn is_bad(&self) -> bool {
        !matches!(self.outcome, RegistryOutcome::Ok | RegistryOutcome::Unverified)
    }
}

/// Result of a check of the declared registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryOutcome {
    /// The registry answers, and accepts the credential.
    #[serde(rename = "ok")]
    Ok,
    /// The registry accepts connections. Without a certificate to verify, nothing else is
    /// checked.
    #[serde(rename = "unverified")]
    Unverified,
    /// The host has no address.
    #[serde(rename = "unresolved")]
    Unresolved,
    /// No server answers.
    #[serde(rename = "unreachable")]
    Unreachable,
    /// The certificate is not signed by a trusted authority, or is for another host.
    #[serde(rename = "untrusted")]
    Untrusted,
    /// The certificate has expired.
    #[serde(rename = "expired")]
    Expired,
    /// The registry refuses the credential, or requires one.
    #[serde(rename = "unauthorized")]
    Unauthorized,
    /// The server does not answer as a registry does.
    #[default]
    #[serde(rename = "unexpected", other)]
    Unexpected,
}

impl RegistryOutcome {
    /// Every result, in the order of the checks.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Unverified,
        Self::Unresolved,
        Self::Unreachable,
        Self::Untrusted,
        Self::Expired,
        Self::Unauthorized,
        Self::Unexpected,
    ];

    /// Returns the name in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unverified => "unverified",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::Unauthorized => "unauthorized",
            Self::Unexpected => "unexpected",
        }
    }
}

impl fmt::Display for RegistryOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The Secrets with which nodes pull swapped images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullSecretStatus {
    /// True if a credential is declared, and nodes pull with it.
    pub kept: bool,
    /// Number of namespaces with a correct Secret.
    pub namespaces: usize,
    /// Namespaces in which another program's Secret has the name; a hundred of them.
    pub foreign: Vec<String>,
    /// Number of these namespaces.
    pub foreign_count: usize,
    /// Number of namespaces in which the Secret could not be written, and is retried.
    pub failed: usize,
    /// A hundred of these namespaces, each with its reason.
    pub failures: Vec<PullSecretFailure>,
    /// Number of writes and deletions since this controller began to lead.
    pub writes: u64,
}

/// A namespace in which the pull Secret cannot be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullSecretFailure {
    /// Namespace.
    pub namespace: String,
    /// Reason that the API server returns. Holds no credential.
    pub reason: String,
}

/// Pods of one owner that are deleted and created again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecreatedPods {
    /// Namespace of the pods.
    pub namespace: String,
    /// Name of a pod, or the prefix of its generated name.
    pub pod: String,
    /// Kind of the owner.
    pub kind: String,
    /// API group of the owner.
    pub group: String,
    /// Name of the owner.
    pub owner: String,
    /// Number of deletions within three hours.
    pub times: usize,
}

impl From<&RecreatedPod> for RecreatedPods {
    fn from(pod: &RecreatedPod) -> Self {
        let RecreatedPod { namespace, stem, owner, times } = pod;
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        Self {
            namespace: namespace.clone(),
            pod: stem.clone(),
            kind: owner.kind.clone(),
            group: group.to_owned(),
            owner: owner.name.clone(),
            times: *times,
        }
    }
}

impl RecreatedPods {
    /// Returns the problem and its remedy, for people.
    pub fn message(&self) -> String {
        let Self { namespace, pod, kind, group, owner, times } = self;
        let hours = WINDOW / 3600;
        let remedy = if group.contains('.') {
            format!("if its operator compares images, set exemptions.owners: [{kind}.{group}]")
        } else {
            "if an operator compares its images, set exemptions.labels to a label of its pods"
                .to_owned()
        };
        format!(
            "pod {namespace}/{pod} of {kind} {owner} was deleted and created again {times} times \
             within {hours} hours, with the same images; {remedy} (docs/operators.md)"
        )
    }
}

/// Lifetime of a certificate, seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateLifetime {
    /// First second.
    pub not_before: UnixTime,
    /// Last second.
    pub not_after: UnixTime,
}

impl From<Validity> for CertificateLifetime {
    fn from(validity: Validity) -> Self {
        Self { not_before: validity.not_before, not_after: validity.not_after }
    }
}

/// Another program that swaps images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompetitorStatus {
    /// Name of its `MutatingWebhookConfiguration`.
    pub configuration: String,
    /// Name of the program.
    pub program: String,
    /// True if the program has an endpoint.
    pub alive: bool,
}

impl CompetitorStatus {
    /// Returns the status of `program` with its liveness.
    pub fn new(configuration: &str, program: &str, life: Liveness) -> Self {
        Self {
            configuration: configuration.to_owned(),
            program: program.to_owned(),
            alive: life == Liveness::Live,
        }
    }
}

#[cfg(test)]
mod tests;
