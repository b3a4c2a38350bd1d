//! `image-swap fleet revoke`: ends the access of a cluster that pulls.

use std::{fmt::Write as _, process::ExitCode};

use image_swap_fleet::revoke;

use super::enroll::{failed, names};
use crate::{
    command::{block_on, connect::ConnectArgs},
    failure::Failure,
    output,
};

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
    #[command(flatten)]
    hub: ConnectArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let names = names(&self.namespace, &self.cluster)?;
        let deleted = block_on(async {
            let client = self.hub.connect().await;
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
