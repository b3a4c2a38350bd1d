//! The controller's view, as `status` shows it. Holds no credential.

use image_swap_core::{
    cluster::{certificates::Validity, effective::About, foreign::Life},
    declaration::UnixTime,
};
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
    /// Other programs that swap images.
    pub foreign: Vec<Other>,
    /// What nodes have to be told before they can pull.
    pub nodes: Vec<String>,
    /// What nodes that were told it have in the annotation `image-swap.io/trusts`;
    /// empty if there is nothing to tell.
    pub trust: String,
    /// How often the registration was repaired since this controller began.
    pub repairs: u64,
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
    /// What was found.
    pub findings: Vec<Found>,
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
    /// Probes that failed since the last that succeeded.
    pub failures: u32,
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

/// The findings of `about`, one after the other.
pub(crate) fn found(about: &[About]) -> Vec<Found> {
    let findings = about.iter().flat_map(|about| {
        about.findings.iter().map(|finding| Found {
            source: about.origin.as_str().to_owned(),
            severity: finding.severity.as_str().to_owned(),
            code: finding.code.as_str().to_owned(),
            line: finding.place.line,
            column: finding.place.column,
            key: finding.key.map(str::to_owned),
            message: finding.message.clone(),
            hint: finding.hint.clone(),
        })
    });
    findings.collect()
}
