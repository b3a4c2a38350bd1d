//! `image-swap fleet revoke`: ends the access of a cluster that pulls.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use image_swap_cluster::client_in;
use image_swap_fleet::revoke;

use super::enroll::{failed, names};
use crate::{command::block_on, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  image-swap fleet revoke edge-1 --namespace clusters";

/// Arguments of `fleet revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The name of the cluster.
    #[arg(value_name = "NAME")]
    cluster: String,
    /// The namespace of the cluster's objects on the management cluster.
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: String,
    /// The kubeconfig of the management cluster; the default is that of kubectl, or the pod's own
    /// account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig; the default is the current one.
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let names = names(&self.namespace, &self.cluster)?;
        let deleted = block_on(async {
            let client = client_in(self.kubeconfig.as_deref(), self.context.as_deref()).await;
            let client = client.map_err(|error| Failure::Unusable(error.to_string()))?;
            revoke(&client, &names).await.map_err(|error| failed(&names, &error))
        })?;
        let mut printed = String::new();
        for object in &deleted {
            let _ = writeln!(printed, "deleted {object}");
        }
        if deleted.is_empty() {
            let _ = writeln!(printed, "{}/{} is not enrolled", names.namespace, names.cluster);
        }
        output::print(printed.as_bytes())
    }
}
