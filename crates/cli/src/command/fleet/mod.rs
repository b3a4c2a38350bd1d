//! `image-swap fleet`: one declaration of a management cluster on its workload clusters.

mod run;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  image-swap fleet --namespace image-swap-fleet --release-namespace image-swap --namespaces team-a
  image-swap fleet status --all-namespaces
  image-swap fleet status -n team-a -n team-b --watch";

/// Arguments of `fleet`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<FleetVerb>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum FleetVerb {
    /// Show where the declaration is in force, and where it is not.
    Status(status::Args),
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Some(FleetVerb::Status(args)) => args.run(),
            None => self.run.run(),
        }
    }
}
