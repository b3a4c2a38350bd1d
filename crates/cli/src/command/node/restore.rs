//! `image-swap node restore`: removes the changes of `apply`.

use std::process::ExitCode;

use image_swap_node::{HostSession, ObserveError, RegistryProbe, RestartDirectory, restore};

use super::{
    apply::finish,
    options::{HostArgs, RestartArgs},
    report,
};
use crate::{failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  image-swap node restore
  image-swap node restore --restart allow";

/// Arguments of `node restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    restart: RestartArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { host: args, restart } = self;
        let output = args.output;
        let host = args.host()?;
        let restarting = restart.restarting();
        let turn = HostSession::take(&host, &restarting, &output::note).map_err(Failure::broken)?;
        // An order of an agent would be applied again.
        RestartDirectory::new(&host).remove().map_err(Failure::broken)?;
        let seen = match args.observe(&host, None, RegistryProbe::Skip) {
            Ok(seen) => seen,
            // The ledger would name the runtime.
            Err(ObserveError::NoRuntime(_)) => {
                output::note("nothing to restore: image-swap has not changed this host");
                return Ok(ExitCode::SUCCESS);
            }
        };
        let plan = match restore(&seen.observed, restart.restart) {
            Ok(plan) => plan,
            Err(refusal) => return report::refusal(&refusal, &seen, output),
        };
        let applied = turn.apply(&plan, &seen);
        finish("restored", applied, &plan, &seen, None, output)
    }
}
