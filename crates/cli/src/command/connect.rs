//! Flags about the cluster that a command connects to.

use std::path::PathBuf;

use image_swap_cluster::{Client, Config, Error, client_in, config_in};

/// The cluster that a command connects to.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The kubeconfig of the cluster; the default is that of kubectl, or the pod's own account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; the default is the current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

impl ConnectArgs {
    /// Returns a client of the cluster.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub(crate) async fn connect(&self) -> Result<Client, Error> {
        client_in(self.kubeconfig.as_deref(), self.context.as_deref()).await
    }

    /// Returns the configuration of a client of the cluster.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub(crate) async fn config(&self) -> Result<Config, Error> {
        config_in(self.kubeconfig.as_deref(), self.context.as_deref()).await
    }
}
