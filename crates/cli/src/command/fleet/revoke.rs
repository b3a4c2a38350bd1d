//! `image-swap fleet revoke`: ends the access of a cluster that pulls.

use std::{fmt::Write as _, process::ExitCode};

use image_swap_fleet::revoke;

use super::cluster_args::{PullingClusterArgs, failed};
use crate::{command::block_on, failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  image-swap fleet revoke edge-1 --namespace clusters";

/// Arguments of `fleet revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: PullingClusterArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let names = self.cluster.names()?;
        let deleted = block_on(async {
            let client = self.cluster.hub.connect().await.map_err(Failure::unusable)?;
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
