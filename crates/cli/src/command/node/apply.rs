//! `image-swap node apply`

use std::{io::Write, process::ExitCode};

use image_swap_core::declaration::Declaration;
use image_swap_node::{
    Applied, Asks, Failed, Host, Left, Outcome, Plan, Seen, Turn, Why, check, observe,
};
use serde::Serialize;

use super::{
    options::{HostArgs, OPTIONS, RestartArgs, TellArgs},
    report,
};
use crate::{
    failure::Failure,
    output::{self, GOOD, ODD, Output, styled},
};

/// Arguments of `node apply`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    host: HostArgs,
    #[command(flatten)]
    tell: TellArgs,
    #[command(flatten)]
    restart: RestartArgs,
    /// Do not request the declared registry first. With --root or --runtime-version it
    /// is not requested anyway.
    #[arg(long, help_heading = OPTIONS)]
    no_check: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let Self { host: args, tell, restart, no_check } = self;
        let output = args.output;
        let declaration = tell.load()?;
        let desired = tell.desired(&declaration, restart.restart);
        let host = args.host()?;
        let turn = Turn::take(&host, &restart.restarting(), &output::note).map_err(broken)?;
        let asks = if no_check { Asks::Nobody } else { Asks::Registry };
        let mut seen = observe(&host, args.runtime(), Some(&desired), asks, args.at_rest())
            .map_err(|error| Failure::Broken(error.to_string()))?;
        let plan = match image_swap_node::plan(&desired, &seen.observed) {
            Ok(plan) => plan,
            Err(refusal) => {
                return report::refusal(&refusal, &seen, output, &mut output::stdout());
            }
        };
        let changes = matches!(plan.outcome(), Outcome::Change | Outcome::ChangeAndRestart);
        let checked = match unchecked(no_check, &host, &seen) {
            _ if !changes => Ok(Vec::new()),
            Some(why) => Ok(vec![format!("the declared registry was not requested: {why}")]),
            None => check(&desired, &plan, &seen),
        };
        match checked {
            Ok(notes) => seen.notes.extend(notes),
            Err(error) => {
                let failed = Err(Failed { why: error.into(), left: Left::AsItWas });
                return finish("changed", failed, &plan, &seen, Some(&declaration), output);
            }
        }
        let applied = turn.carry_out(&plan, &seen, &restart.restarting(), &output::note);
        finish("changed", applied, &plan, &seen, Some(&declaration), output)
    }
}

/// Returns why the registry is not requested from here; `None` if it is.
fn unchecked(no_check: bool, host: &Host, seen: &Seen) -> Option<&'static str> {
    if no_check {
        Some("--no-check")
    } else if !host.root().is_whole() {
        Some("with --root the network of the host may be another one")
    } else if seen.observed.at_rest {
        Some("no runtime runs on this host")
    } else {
        None
    }
}

/// What came of a plan, as programs read it.
#[derive(Serialize)]
struct Report<'a> {
    runtime: &'static str,
    version: Option<String>,
    result: &'static str,
    known: Option<String>,
    hosts: Vec<report::HostRow<'a>>,
    inexpressible: Vec<report::RuleRow<'a>>,
    notes: Vec<&'a str>,
}

/// Says what came of `plan`; `changed` is the word for what it does.
pub(super) fn finish(
    changed: &'static str,
    applied: Result<Applied, Failed>,
    plan: &Plan,
    seen: &Seen,
    declaration: Option<&Declaration>,
    output: Output,
) -> Result<ExitCode, Failure> {
    let mut out = output::stdout();
    let (result, known, bad) = match applied {
        Ok(Applied::Nothing) => ("in-place", None, false),
        Ok(Applied::Changed) => (changed, None, false),
        Ok(Applied::Restarted(known) | Applied::Changing(known)) => (changed, Some(known), false),
        Err(failed) if output == Output::Text => return Err(broken(failed)),
        Err(failed) => {
            let result = match failed.why {
                Why::NeedsRestart(_) => "needs-restart",
                _ => "failed",
            };
            (result, Some(failed.to_string()), true)
        }
    };
    match output {
        Output::Json => {
            let report = Report {
                runtime: seen.observed.runtime.name(),
                version: seen.observed.version.map(|version| version.to_string()),
                result,
                known,
                hosts: plan.rows.iter().map(report::host).collect(),
                inexpressible: report::rules(plan, declaration),
                notes: report::all_notes(plan, seen).collect(),
            };
            output::json_line(&mut out, &report)?;
        }
        Output::Text => {
            report::notes(plan, seen, declaration);
            let runtime = seen.observed.runtime;
            let result = match result {
                "in-place" if declaration.is_none() => "nothing to restore",
                _ => result,
            };
            writeln!(out, "{}", styled(GOOD, &format!("{runtime}: {result}")))?;
            if let Some(known) = known {
                output::note(&format!("{}: {known}", styled(ODD, "note")));
            }
        }
    }
    out.flush()?;
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Why nothing came of it.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn broken(failed: Failed) -> Failure {
    Failure::Broken(failed.to_string())
}
