//! Requests for enrolments.

use std::collections::BTreeSet;

use image_swap_cluster::Release;
use image_swap_core::fleet::pull::PullNames;

/// Request to enroll a cluster.
#[derive(Clone, Debug)]
pub struct EnrolmentRequest {
    /// Names of the cluster's objects on the management cluster.
    pub names: PullNames,
    /// Release of the management cluster.
    pub release: Release,
    /// URL of the management cluster for the workload cluster; `None` for that of the kubeconfig.
    pub server: Option<String>,
    /// Address of the workload cluster's API server for its agents; `None` for the Service
    /// `kubernetes`.
    pub api_server: Option<String>,
    /// Value `policy` of the chart; `None` for that of the bundle.
    pub policy: Option<String>,
    /// Groups with versions that the workload cluster serves beside those of Kubernetes.
    pub served: BTreeSet<String>,
}
