//! Errors of enrolments.

use image_swap_core::fleet::{bundle::BundleError, kubeconfig::KubeconfigProblem};

/// Error of an enrolment or a revocation.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The API server of the management cluster refused a request, or cannot be reached.
    #[error(transparent)]
    Api(#[from] image_swap_cluster::Error),
    /// The fleet controller does not read the namespace.
    #[error(
        "the namespace {namespace} has no RoleBinding {binding}; add the namespace to \
         fleet.namespaces, or name the release with --name"
    )]
    NoFleet {
        /// Namespace of the enrolment.
        namespace: String,
        /// Missing binding.
        binding: String,
    },
    /// Another object has the name.
    #[error("the name is in use by {0}; choose another name")]
    Taken(String),
    /// The bundle does not exist.
    #[error(
        "cannot find the ConfigMap {0} with the bundle; enable the fleet in the chart's values"
    )]
    NoBundle(String),
    /// The bundle cannot be used.
    #[error("the bundle is unusable: {0}")]
    Bundle(BundleError),
    /// The management cluster has no declaration.
    #[error("the management cluster has no declaration in {0}; declare a registry first")]
    NoDeclaration(String),
    /// The cluster's copy of its declaration cannot be read.
    #[error(
        "the declaration in the Secret {0} is invalid; repeat the command in half an hour, once the \
         fleet controller has written the Secret again"
    )]
    InvalidCopy(String),
    /// The server cannot be used.
    #[error("the server of the management cluster: {0}; name another one with --server")]
    Server(KubeconfigProblem),
    /// The response to a request for a token has none.
    #[error("the API server returned no token; repeat the command")]
    NoToken,
}

impl EnrolmentError {
    /// Returns true if another request may succeed without a change of the cluster.
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Api(_) | Self::InvalidCopy(_) | Self::NoToken)
    }
}
