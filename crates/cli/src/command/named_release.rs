//! Flags of verbs for one release of a cluster.

use std::path::PathBuf;

use image_swap_cluster::{Client, Release, client_in};

use crate::failure::Failure;

/// A release, and the cluster that it is in.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedRelease {
    /// The namespace of the release.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap")]
    name: String,
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; the default is the current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

impl NamedRelease {
    /// Returns a client of the cluster, and the release.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub(crate) async fn connect(self) -> Result<(Client, Release), Failure> {
        let Self { namespace, name, kubeconfig, context } = self;
        let client = client_in(kubeconfig.as_deref(), context.as_deref()).await;
        Ok((client.map_err(Failure::broken)?, Release { namespace, name }))
    }
}
