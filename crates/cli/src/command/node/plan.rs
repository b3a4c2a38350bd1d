//! `image-swap node plan`

use std::process::ExitCode;

use image_swap_node::{AskRegistry, RestartPolicy, plan};

use super::{
    options::{ConfigureArgs, OPTIONS, broken},
    report,
};
use crate::{failure::Failure, output};

/// Arguments of `node plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    configure: ConfigureArgs,
    /// Whether the runtime may be restarted.
    #[arg(long, value_enum, default_value_t, help_heading = OPTIONS)]
    restart: RestartPolicy,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { configure, restart } = self;
        let args = &configure.host;
        let declaration = configure.load()?;
        let desired = configure.desired(&declaration, restart);
        let host = args.host()?;
        let mut seen = args.observe(&host, Some(&desired), AskRegistry::Nobody).map_err(broken)?;
        if host.is_interrupted() {
            seen.notes.push(report::INTERRUPTED.to_owned());
        }
        let mut out = output::stdout();
        match plan(&desired, &seen.observed) {
            Ok(plan) => report::plan(&plan, &seen, &declaration, args.output, &mut out),
            Err(refusal) => report::refusal(&refusal, &seen, args.output, &mut out),
        }
    }
}
