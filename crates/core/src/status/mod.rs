//! Data that one process writes and another one reads: a replica's `/status`, the
//! controller's report in the `ConfigMap` `N-status`, and the Secrets that replicas follow.
//!
//! The processes may be of different releases. Every name is written out, and a test for
//! each contract spells all of them out. No type holds a credential, apart from
//! [`StoredDeclaration`].

mod replica;
mod report;
mod stored;

pub use self::{
    replica::ReplicaStatus,
    report::{
        AdmissionStatus, CertificateLifetime, CompetitorStatus, ControllerReport,
        DeclarationStatus, DiagnosticRow, FailingStep, LISTED, ProbeStatus, PullSecretFailure,
        PullSecretStatus, RecreatedPods, RegistryOutcome, RegistryStatus, listed,
    },
    stored::{ServedDeclaration, StoredDeclaration},
};
