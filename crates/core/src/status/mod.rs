//! Data that one process writes and another one reads: a replica's `/status`, the
//! controller's report in the `ConfigMap` `N-status`, and the Secrets that replicas follow.
//!
//! The processes may be of different releases. A test for each contract spells all of its
//! names out, so that a renamed field cannot change one. No type holds a credential, apart from
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
    stored::{DECLARATION, ServedDeclaration, StoredDeclaration},
};
