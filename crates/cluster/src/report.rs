//! The controller's view, as `status` shows it. Holds no credential.

use image_swap_core::{
    cluster::{certificates::Validity, effective::About, foreign::Life},
    declaration::UnixTime,
};
use k8s_openapi::api::core::v1::ConfigMap;
use serde::{Deserialize, Serialize};

use crate::health::Health;

/// What the controller sees; the content of the `ConfigMap` `N-status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The controller's version.
    pub version: String,
    /// The declaration in force.
    pub declaration: Declared,
    /// How pods are held.
    pub policy: Held,
    /// The serving certificate's authority.
    pub authority: Option<Lifetime>,
    /// The serving certificate.
    pub certificate: Option<Lifetime>,
    /// Whether the declared registry can be reached.
    pub registry: Option<Health>,
    /// The Secrets with which nodes pull.
    pub pull_secrets: PullSecrets,
    /// Pods that are created again and again; 20 of them.
    pub recreated: Vec<Recreated>,
    /// Other programs that swap images.
    pub foreign: Vec<Other>,
    /// What nodes have to be told before they can pull.
    pub nodes: Vec<String>,
    /// What nodes that were told it have in the annotation `image-swap.io/trusts`;
    /// empty if there is nothing to tell.
    pub trust: String,
    /// The number of [`Self::nodes`], which is longer than the list if that is cut.
    pub node_needs: usize,
    /// How often the registration was repaired since this controller began.
    pub repairs: u64,
    /// The steps of the last reconciliation that failed.
    pub failing: Vec<FailingStep>,
    /// The UID of the `ConfigMap` `N-uninstall` that the controller knows as an ordinary
    /// object of the release; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uninstall_mark: Option<String>,
}

impl Report {
    /// Parses the report in the `ConfigMap` `N-status`; `None` if `map` holds none.
    pub(crate) fn of(map: &ConfigMap) -> Option<Self> {
        serde_json::from_str(map.data.as_ref()?.get("status.json")?).ok()
    }
}

/// The entries that each list of a report has at most. A report has to fit into a
/// `ConfigMap`.
pub(crate) const LISTED: usize = 100;
/// The bytes that each text of a report has at most.
const TEXT: usize = 1000;

/// A step of a reconciliation that failed. All others were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailingStep {
    /// The name of the step, for programs.
    pub name: String,
    /// The reason.
    pub error: String,
}

impl FailingStep {
    /// Returns the step with an error that fits into a report.
    pub(crate) fn bounded(&self) -> Self {
        Self { name: self.name.clone(), error: bounded(&self.error) }
    }
}

/// Returns the first entries of `list`.
pub(crate) fn listed<T: Clone>(list: &[T]) -> Vec<T> {
    list.iter().take(LISTED).cloned().collect()
}

/// Returns `text`, cut if it is too long for a report.
fn bounded(text: &str) -> String {
    if text.len() <= TEXT {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(TEXT)])
}

/// The declaration in force, and what there is to say about each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Declared {
    /// `registry-info`, `chart` or `none`.
    pub source: String,
    /// The hash of its text without credentials.
    pub hash: String,
    /// A number that increases with every change of the declaration, of its credential alone,
    /// too; 0 before the first.
    pub revision: u64,
    /// How many rules it has.
    pub rules: usize,
    /// Declarations that are refused: what they declared before stays.
    pub refused: Vec<String>,
    /// The keys in which the chart's declaration differs from `registry-info`.
    pub differs: Vec<String>,
    /// Findings about the declaration: errors first, a hundred at most.
    pub findings: Vec<Found>,
    /// The number of findings, listed or not.
    pub finding_count: usize,
}

/// One finding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Found {
    /// In whose declaration.
    pub source: String,
    /// `error` or `warning`.
    pub severity: String,
    /// Its stable name.
    pub code: String,
    /// 1-based, in the value of `key` or in the Secret as JSON.
    pub line: usize,
    /// 1-based.
    pub column: usize,
    /// The key in whose value it lies.
    pub key: Option<String>,
    /// What was expected, and what was found.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// How pods are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Held {
    /// `enforce` or `audit`.
    pub mode: String,
    /// The `failurePolicy` for ordinary pods.
    pub failure_policy: String,
    /// What operators ask for: `fail`, `ignore` or `audit`.
    pub wanted: String,
    /// The label by which namespaces and pods are left alone.
    pub label: String,
    /// Whether only namespaces labelled `enabled` take part.
    pub opt_in: bool,
    /// Whether it is registered at all.
    pub registered: bool,
    /// The last probe: `reached`, `unreached`, `nobody-there` or `unknown`.
    pub probe: String,
    /// Probes that failed since the last that succeeded, or among others that succeed.
    pub failures: u32,
    /// The addresses of the API servers that do not reach a replica, where each is probed
    /// by itself.
    pub unreached: Vec<String>,
}

/// The Secrets with which nodes pull swapped images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullSecrets {
    /// Whether there are any: a credential is declared, and nodes are to be given it.
    pub kept: bool,
    /// How many namespaces have it as it should be.
    pub namespaces: usize,
    /// Namespaces in which somebody else's Secret has the name; a hundred of them.
    pub foreign: Vec<String>,
    /// How many there are.
    pub foreign_count: usize,
    /// Namespaces in which it could not be written, and is tried again.
    pub failed: usize,
    /// A hundred of these namespaces, each with its reason.
    pub failures: Vec<PullSecretFailure>,
    /// How often one was written or deleted since this controller began to lead.
    pub writes: u64,
}

/// A pod that is created again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Recreated {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod, or the prefix of its generated name.
    pub pod: String,
    /// The kind of its owner.
    pub kind: String,
    /// The API group of its owner.
    pub group: String,
    /// The name of its owner.
    pub owner: String,
    /// The number of times within three hours.
    pub times: usize,
}

/// A namespace in which the pull Secret cannot be written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PullSecretFailure {
    /// The namespace.
    pub namespace: String,
    /// The reason that the API server gives. Holds no credential.
    pub reason: String,
}

/// When a certificate is valid, seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifetime {
    /// From when.
    pub not_before: UnixTime,
    /// Until when.
    pub not_after: UnixTime,
}

/// Another program that swaps images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Other {
    /// Its `MutatingWebhookConfiguration`.
    pub configuration: String,
    /// What it is called.
    pub program: String,
    /// Whether anybody answers.
    pub alive: bool,
}

impl From<Validity> for Lifetime {
    fn from(validity: Validity) -> Self {
        Self { not_before: validity.not_before, not_after: validity.not_after }
    }
}

impl Other {
    pub(crate) fn new(configuration: &str, program: &str, life: Life) -> Self {
        Self {
            configuration: configuration.to_owned(),
            program: program.to_owned(),
            alive: life == Life::Live,
        }
    }
}

/// Returns the findings of `about`, errors first, as many as a report lists, and the
/// number of all.
pub(crate) fn found(about: &[About]) -> (Vec<Found>, usize) {
    let all = || about.iter().flat_map(|about| about.findings.iter().map(|it| (about.origin, it)));
    let errors = all().filter(|(_, finding)| finding.is_error());
    let others = all().filter(|(_, finding)| !finding.is_error());
    let listed = errors.chain(others).take(LISTED).map(|(origin, finding)| Found {
        source: origin.as_str().to_owned(),
        severity: finding.severity.as_str().to_owned(),
        code: finding.code.as_str().to_owned(),
        line: finding.place.line,
        column: finding.place.column,
        key: finding.key.map(str::to_owned),
        message: bounded(&finding.message),
        hint: finding.hint.as_deref().map(bounded),
    });
    (listed.collect(), all().count())
}

#[cfg(test)]
mod tests {
    use image_swap_core::{
        cluster::effective::Origin,
        finding::{Code, Finding},
    };
    use image_swap_text::position::Position;

    use super::*;

    /// A Secret and a `ConfigMap` hold 1 MiB.
    #[test]
    fn a_report_of_countless_findings_fits_into_a_config_map() {
        let long = "ü".repeat(100_000);
        let mut findings = vec![Finding::warning(Code::DeadRule, Position::START, &*long); 12_000];
        findings.push(Finding::error(Code::Chain, Position::START, &*long).hint(&*long));
        let about = [About { origin: Origin::RegistryInfo, refused: true, findings }];
        let (findings, finding_count) = found(&about);
        assert_eq!((findings.len(), finding_count), (LISTED, 12_001));
        assert_eq!(findings[0].severity, "error");
        let declaration = Declared { findings, finding_count, ..Declared::default() };
        let report = Report { declaration, ..Report::default() };
        let size = serde_json::to_string(&report).unwrap().len();
        assert!(size < 1024 * 1024 / 2, "{size}");
    }
}
