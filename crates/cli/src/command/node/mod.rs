//! `image-swap node`

mod apply;
mod internal;
mod options;
mod plan;
mod report;
mod restore;
mod status;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Failure;

/// Arguments of `node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: NodeVerb,
}

#[derive(Debug, Subcommand)]
enum NodeVerb {
    /// Show what would change on this host, as a diff; change nothing.
    Plan(plan::Args),
    /// Have this host's container runtime pull from the mirrors.
    Apply(apply::Args),
    /// Say what is in place on this host, and what others changed since.
    Status(status::Args),
    /// Pull a reference of each registry through the runtime, and say where it came from.
    Verify(verify::Args),
    /// Take our edits away: the files get their very bytes back.
    Restore(restore::Args),
    /// Wait to take a change back (started by apply).
    #[command(hide = true)]
    Guard(internal::Guard),
    /// Become another program, with another root (started by apply).
    #[command(hide = true)]
    Inside(internal::Inside),
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
        }
    }
}
