//! `image-swap node plan`: prints the changes that `apply` would make.

use std::process::ExitCode;

use image_swap_node::{RegistryProbe, RestartPolicy, plan};

use super::{options::ConfigureArgs, report};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  image-swap node plan -f examples/registry-secret.yaml
  image-swap node plan -f examples/values.yaml --restart allow -o json";

/// Arguments of `node plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    configure: ConfigureArgs,
    /// Allow a restart of the runtime.
    #[arg(long, value_enum, default_value_t)]
    restart: RestartPolicy,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { configure, restart } = self;
        let args = &configure.host;
        let declaration = configure.load()?;
        let desired = configure.desired(&declaration, restart);
        let host = args.host()?;
        let mut seen =
            args.observe(&host, Some(&desired), RegistryProbe::Skip).map_err(Failure::broken)?;
        if host.is_interrupted() {
            seen.notes.push(report::INTERRUPTED.to_owned());
        }
        match plan(&desired, &seen.observed) {
            Ok(plan) => report::plan(&plan, &seen, &declaration, args.output),
            Err(refusal) => report::refusal(&refusal, &seen, args.output),
        }
    }
}
