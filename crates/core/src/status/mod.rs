//! Data that one process writes and another one reads. These are a replica's `/status`, the
//! controller's report in the `ConfigMap` `N-status`, the Secrets that replicas and agents follow,
//! and the custom resource `NodeMirror`.
//!
//! The processes may be of different releases. A test for each contract spells all of its
//! names out, so that a renamed field cannot change one. No type holds a credential, apart from
//! [`StoredDeclaration`] and [`NodeDeclaration`].

mod agents;
mod node_declaration;
pub mod node_mirror;
mod replica;
mod report;
mod stored;

pub use self::{
    agents::{AgentsStatus, PendingNodes},
    node_declaration::{FailedTrial, NodeDeclaration, NodeRevision, NodeTrial, RESTORE},
    node_mirror::{NodeCondition, NodeMirrorSpec, NodeMirrorStatus},
    replica::ReplicaStatus,
    report::{
        AdmissionStatus, CertificateLifetime, CompetitorStatus, ControllerReport,
        DeclarationStatus, DiagnosticRow, FailingStep, LISTED, PodWait, ProbeStatus,
        PullSecretFailure, PullSecretStatus, RecreatedPods, RegistryOutcome, RegistryStatus,
        listed,
    },
    stored::{DECLARATION, ServedDeclaration, StoredDeclaration},
};
