//! A cluster that pulls, as flags name it.

use image_swap_core::fleet::pull::PullNames;
use image_swap_fleet::EnrolmentError;

use crate::{command::connect::ConnectArgs, failure::Failure};

/// Flags that name a cluster that pulls.
#[derive(Debug, clap::Args)]
pub(super) struct PullingClusterArgs {
    /// The name of the cluster.
    #[arg(value_name = "NAME")]
    cluster: String,
    /// The namespace of the cluster's objects on the management cluster: one of fleet.namespaces.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    #[command(flatten)]
    pub(super) hub: ConnectArgs,
}

impl PullingClusterArgs {
    /// Returns the names of the cluster's objects on the management cluster.
    pub(super) fn names(&self) -> Result<PullNames, Failure> {
        let Self { cluster, namespace, .. } = self;
        PullNames::new(namespace, cluster)
            .map_err(|error| Failure::Unusable(format!("the name {cluster}: {error}")))
    }
}

/// Returns the failure of an enrolment or a revocation.
pub(super) fn failed(names: &PullNames, error: &EnrolmentError) -> Failure {
    let message = format!("{}/{}: {error}", names.namespace, names.cluster);
    if error.is_broken() { Failure::Broken(message) } else { Failure::Unusable(message) }
}
