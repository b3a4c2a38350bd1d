//! Data that one process writes and another one reads. These are a replica's `/status`, the
//! controller's report in the `ConfigMap` `N-status`, the Secrets that replicas and agents follow,
//! the custom resource `NodeMirror`, and the order of a restart on a host.
//!
//! The processes may be of different releases. A test for each contract spells all of its
//! names out, so that a renamed field cannot change one. No type holds a credential, apart from
//! [`StoredDeclaration`], [`NodeDeclaration`] and [`RestartOrder`].

mod agents;
pub mod cluster_summary;
mod node_declaration;
pub mod node_mirror;
mod replica;
mod report;
pub mod restart_order;
mod stored;
pub mod workload_cluster;

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
    restart_order::{RestartFileError, RestartOrder, RestartOutcome, RestartResult},
    stored::{DECLARATION, ServedDeclaration, StoredDeclaration},
};
