//! Flags of verbs for one release of a cluster.

use image_swap_cluster::{Client, Release};

use crate::{command::connect::ConnectArgs, failure::Failure};

/// A release, and the cluster that it is in.
#[derive(Debug, clap::Args)]
pub(crate) struct NamedRelease {
    /// The namespace of the release.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// The full name of the release, which begins the names of its objects.
    #[arg(long, value_name = "NAME", default_value = "image-swap")]
    name: String,
    #[command(flatten)]
    cluster: ConnectArgs,
}

impl NamedRelease {
    /// Returns a client of the cluster, and the release.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub(crate) async fn connect(self) -> Result<(Client, Release), Failure> {
        let Self { namespace, name, cluster } = self;
        let client = cluster.connect().await.map_err(Failure::broken)?;
        Ok((client, Release { namespace, name }))
    }
}
