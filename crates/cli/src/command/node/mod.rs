//! `image-swap node`: configures the container runtime of a host, or restores it.

mod apply;
mod internal;
mod options;
mod plan;
mod report;
mod restart;
mod restore;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  image-swap node plan -f examples/registry-secret.yaml
  image-swap node apply -f examples/registry-secret.yaml --restart allow
  image-swap node restore";

/// Arguments of `node`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: NodeVerb,
}

#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// Show the changes that `apply` would make, as a diff.
    Plan(plan::Args),
    /// Configure the container runtime to pull from the mirrors.
    Apply(apply::Args),
    /// Show the applied configuration, and files that another program changed since.
    Status(status::Args),
    /// Pull an image of each registry with the runtime, and show if it came from a mirror.
    Verify(verify::Args),
    /// Undo `apply`: restore the original files.
    Restore(restore::Args),
    /// Roll back a change if `apply` ends without success (started by apply).
    #[command(hide = true)]
    Guard(internal::Guard),
    /// Run a program in another root (started by apply).
    #[command(hide = true)]
    Inside(internal::Inside),
    /// Start the restart that the agent ordered outside of this pod, and wait for its result
    /// (started by the controller).
    #[command(hide = true)]
    RestartPod(restart::RestartPod),
    /// Apply the order of the agent with a restart of the runtime (started by restart-pod).
    #[command(hide = true)]
    RestartHost(restart::RestartHost),
    /// Run a program outside of this pod (started by restart-pod).
    #[command(hide = true)]
    Detach(restart::Detach),
}

impl Args {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self.verb {
            NodeVerb::Plan(args) => args.run(),
            NodeVerb::Apply(args) => args.run(),
            NodeVerb::Status(args) => args.run(),
            NodeVerb::Verify(args) => args.run(),
            NodeVerb::Restore(args) => args.run(),
            NodeVerb::Guard(args) => args.run(),
            NodeVerb::Inside(args) => args.run(),
            NodeVerb::RestartPod(args) => args.run(),
            NodeVerb::RestartHost(args) => args.run(),
            NodeVerb::Detach(args) => args.run(),
        }
    }
}
