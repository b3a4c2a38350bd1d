//! `image-swap node restore`

use std::process::ExitCode;

use image_swap_node::{Asks, ObserveError, Turn, observe, restore};

use super::{
    apply::{broken, finish},
    options::{HostArgs, RestartArgs},
    report,
};
use crate::{failure::Failure, output};

/// Arguments of `node restore`.
#[derive(Debug, clap::Args)]
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
        let turn = Turn::take(&host, &restart.restarting(), &output::note).map_err(broken)?;
        let seen = match observe(&host, args.runtime(), None, Asks::Nobody, args.at_rest()) {
            Ok(seen) => seen,
            // Whatever we wrote says for which runtime it was.
            Err(ObserveError::NoRuntime(_)) => {
                output::note("nothing was written on this host, and nothing is taken back");
                return Ok(ExitCode::SUCCESS);
            }
        };
        let plan = match restore(&seen.observed, restart.restart.into()) {
            Ok(plan) => plan,
            Err(refusal) => {
                return report::refusal(&refusal, &seen, output, &mut output::stdout());
            }
        };
        let applied = turn.carry_out(&plan, &seen, &restart.restarting(), &output::note);
        finish("restored", applied, &plan, &seen, None, output)
    }
}
