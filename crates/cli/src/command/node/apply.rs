//! `image-swap node apply`: configures the runtime of a host.

use std::{io::Write, process::ExitCode};

use image_swap_core::declaration::Declaration;
use image_swap_node::{
    ApplyError, ApplyFailure, ApplyOutcome, FinalState, Host, HostObservation, HostPlan,
    HostSession, PlanOutcome, RegistryProbe, check,
};

use super::{
    options::{ConfigureArgs, RestartArgs},
    report,
};
use crate::{
    failure::Failure,
    output::{self, GOOD, JsonFields, ODD, Output, styled},
};

const EXAMPLES: &str = "\
Examples:
  image-swap node apply -f examples/registry-secret.yaml
  image-swap node apply -f examples/registry-secret.yaml --restart allow
  image-swap node apply -f examples/values.yaml --root /mnt/image --runtime containerd \\
      --runtime-version 2.1";

/// Arguments of `node apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    configure: ConfigureArgs,
    #[command(flatten)]
    restart: RestartArgs,
    /// Do not check the declared registry first. With --root or --runtime-version it is never
    /// checked.
    #[arg(long)]
    no_check: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { configure, restart, no_check } = self;
        let args = &configure.host;
        let output = args.output;
        let declaration = configure.load()?;
        let desired = configure.desired(&declaration, restart.restart);
        let host = args.host()?;
        let restarting = restart.restarting();
        let turn = HostSession::take(&host, &restarting, &output::note).map_err(Failure::broken)?;
        let probe = if no_check { RegistryProbe::Skip } else { RegistryProbe::Probe };
        let mut seen = args.observe(&host, Some(&desired), probe).map_err(Failure::broken)?;
        let plan = match image_swap_node::plan(&desired, &seen.observed) {
            Ok(plan) => plan,
            Err(refusal) => return report::refusal(&refusal, &seen, output),
        };
        let changes = matches!(plan.outcome(), PlanOutcome::Change | PlanOutcome::ChangeAndRestart);
        let checked = match unchecked(no_check, &host, &seen) {
            _ if !changes => Ok(Vec::new()),
            Some(reason) => Ok(vec![format!("the declared registry was not checked: {reason}")]),
            None => check(&desired, &plan, &seen),
        };
        let applied = match checked {
            Ok(notes) => {
                seen.notes.extend(notes);
                turn.apply(&plan, &seen)
            }
            Err(error) => Err(ApplyFailure { reason: error.into(), left: FinalState::AsItWas }),
        };
        finish("changed", applied, &plan, &seen, Some(&declaration), output)
    }
}

/// Returns the reason why the registry is not checked; `None` if it is.
fn unchecked(no_check: bool, host: &Host, seen: &HostObservation) -> Option<&'static str> {
    if no_check {
        Some("--no-check")
    } else if !host.root().is_whole() {
        Some("with --root the host may be in another network")
    } else if seen.observed.at_rest {
        Some("no runtime runs on this host")
    } else {
        None
    }
}

/// Prints the outcome of `plan`. The word for success is `changed`.
pub(super) fn finish(
    changed: &'static str,
    applied: Result<ApplyOutcome, ApplyFailure>,
    plan: &HostPlan,
    seen: &HostObservation,
    declaration: Option<&Declaration>,
    output: Output,
) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    let (result, detail, is_good) = match applied {
        Ok(ApplyOutcome::Nothing) => ("in-place", None, true),
        Ok(ApplyOutcome::Changed) => (changed, None, true),
        Ok(ApplyOutcome::Restarted(detail) | ApplyOutcome::Changing(detail)) => {
            (changed, Some(detail), true)
        }
        Err(failed) if output == Output::Text => return Err(Failure::broken(failed)),
        Err(failed) => {
            let needs_restart = matches!(failed.reason, ApplyError::NeedsRestart(_));
            let result = if needs_restart { "needs-restart" } else { "failed" };
            (result, Some(failed.to_string()), false)
        }
    };
    match output {
        Output::Json => JsonFields::of(seen)
            .with("result", result)
            .with("detail", detail)
            .with_hosts(plan, declaration)
            .with("notes", report::all_notes(plan, seen).collect::<Vec<_>>())
            .print(&mut out)?,
        Output::Text => {
            report::notes(plan, seen, declaration);
            let runtime = seen.observed.runtime;
            let is_idle = result == "in-place" && declaration.is_none();
            let result = if is_idle { "nothing to restore" } else { result };
            writeln!(out, "{}", styled(GOOD, &format!("{runtime}: {result}")))?;
            if let Some(detail) = detail {
                output::note(&format!("{}: {detail}", styled(ODD, "note")));
            }
        }
    }
    output::end(&mut out, is_good)
}
