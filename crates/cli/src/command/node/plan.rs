//! `image-swap node plan`

use std::process::ExitCode;

use image_swap_node::{Asks, observe};

use super::{
    options::{HostArgs, OPTIONS, RestartArg, TellArgs},
    report,
};
use crate::{failure::Failure, output};

/// Arguments of `node plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    tell: TellArgs,
    /// Whether the runtime may be restarted.
    #[arg(long, value_enum, default_value_t, help_heading = OPTIONS)]
    restart: RestartArg,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { host: args, tell, restart } = self;
        let output = args.output;
        let declaration = tell.load()?;
        let desired = tell.desired(&declaration, restart);
        let host = args.host()?;
        let mut seen = observe(&host, args.runtime(), Some(&desired), Asks::Nobody, args.at_rest())
            .map_err(|error| Failure::Broken(error.to_string()))?;
        if host.is_interrupted() {
            seen.notes.push(report::INTERRUPTED.to_owned());
        }
        let mut out = output::stdout();
        match image_swap_node::plan(&desired, &seen.observed) {
            Ok(plan) => report::plan(&plan, &seen, Some(&declaration), output, &mut out),
            Err(refusal) => report::refusal(&refusal, &seen, output, &mut out),
        }
    }
}
