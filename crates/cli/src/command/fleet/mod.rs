//! `image-swap fleet`: one declaration of a management cluster on its workload clusters.

mod cluster_args;
mod enroll;
mod references;
mod revoke;
mod run;
mod status;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  image-swap fleet --namespace image-swap-fleet --release-namespace image-swap --namespaces team-a
  image-swap fleet status --all-namespaces
  image-swap fleet status -n team-a -n team-b --watch
  image-swap fleet enroll edge-1 --namespace team-a > edge-1.yaml
  image-swap fleet revoke edge-1 --namespace team-a
  image-swap fleet references --namespaces team-a";

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
    /// Enroll a cluster that pulls its declaration, and print the manifest for it.
    Enroll(enroll::Args),
    /// End the access of a cluster that pulls.
    Revoke(revoke::Args),
    /// List the objects of Cluster API that refer to the bootstrap script of new machines.
    References(references::Args),
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            Some(FleetVerb::Status(args)) => args.run(),
            Some(FleetVerb::Enroll(args)) => args.run(),
            Some(FleetVerb::Revoke(args)) => args.run(),
            Some(FleetVerb::References(args)) => args.run(),
            None => self.run.run(),
        }
    }
}
