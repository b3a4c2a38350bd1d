//! How plans look.

use std::{io::Write, process::ExitCode};

use image_swap_core::{declaration::Declaration, rule::Kind};
use image_swap_node::{Outcome, Plan, Refusal, Row, Seen, State, Step};
use serde::Serialize;

use crate::{
    failure::Failure,
    output::{self, BAD, GOOD, ODD, Output, STRONG, styled},
};

/// Said of a host where whoever changed it was killed, and nobody took it back.
pub(super) const INTERRUPTED: &str = "a change was killed half way, together with the process that \
                                      takes changes back; the next apply or restore takes it back \
                                      first";

/// A plan, or why there is none, as programs read it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    runtime: RuntimeRow,
    outcome: &'static str,
    why: Option<String>,
    steps: Vec<StepRow<'a>>,
    hosts: Vec<HostRow<'a>>,
    inexpressible: Vec<RuleRow<'a>>,
    notes: Vec<&'a str>,
    diff: String,
}

/// The runtime of a host, as programs read it.
#[derive(Serialize)]
pub(super) struct RuntimeRow {
    runtime: &'static str,
    version: Option<String>,
}

/// Returns the runtime of a host.
pub(super) fn runtime(seen: &Seen) -> RuntimeRow {
    let version = seen.observed.version.map(|version| version.to_string());
    RuntimeRow { runtime: seen.observed.runtime.name(), version }
}

#[derive(Serialize)]
struct StepRow<'a> {
    r#do: &'static str,
    path: Option<&'a str>,
}

/// One registry host, as programs read it.
#[derive(Serialize)]
pub(super) struct HostRow<'a> {
    host: &'a str,
    path: &'a str,
    state: &'static str,
    urls: &'a [String],
}

/// A rule that the runtime cannot be told, as programs read it.
#[derive(Serialize)]
pub(super) struct RuleRow<'a> {
    rule: &'a str,
    line: usize,
    column: usize,
    why: &'a str,
}

/// Prints `plan`, and whether it is bad news.
pub(super) fn plan(
    plan: &Plan,
    seen: &Seen,
    declaration: &Declaration,
    output: Output,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let outcome = plan.outcome();
    let diff = plan.diff(&seen.observed);
    match output {
        Output::Json => {
            let report = Report {
                runtime: runtime(seen),
                outcome: name(outcome),
                why: plan.restart.clone(),
                steps: plan.steps.iter().map(step).collect(),
                hosts: plan.rows.iter().map(host).collect(),
                inexpressible: rules(plan, Some(declaration)),
                notes: all_notes(plan, seen).collect(),
                diff,
            };
            output::json_line(out, &report)?;
        }
        Output::Text => {
            out.write_all(coloured(&diff).as_bytes())?;
            let style = if outcome == Outcome::NeedsRestart { BAD } else { GOOD };
            writeln!(out, "{}", styled(style, &summary(plan, seen, outcome)))?;
            notes(plan, seen, Some(declaration));
        }
    }
    out.flush()?;
    Ok(if outcome == Outcome::NeedsRestart { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints why there is no plan: bad news.
pub(super) fn refusal(
    refusal: &Refusal,
    seen: &Seen,
    output: Output,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    match output {
        Output::Text => return Err(Failure::Broken(refusal.to_string())),
        Output::Json => {
            #[derive(Serialize)]
            struct Refused<'a> {
                #[serde(flatten)]
                runtime: RuntimeRow,
                outcome: &'static str,
                case: &'a str,
                why: &'a str,
                remedy: &'a str,
            }
            let row = Refused {
                runtime: runtime(seen),
                outcome: "refused",
                case: refusal.case,
                why: &refusal.found,
                remedy: &refusal.remedy,
            };
            output::json_line(out, &row)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::FAILURE)
}

/// What a person should know beside the plan, on standard error.
pub(super) fn notes(plan: &Plan, seen: &Seen, declaration: Option<&Declaration>) {
    for note in all_notes(plan, seen) {
        output::note(&format!("{}: {note}", styled(ODD, "note")));
    }
    for row in rules(plan, declaration) {
        let RuleRow { rule, line, column, why } = row;
        output::note(&format!(
            "{}: line {line}, column {column}: the runtime cannot be told the rule for {rule}: {why}",
            styled(ODD, "warning"),
        ));
    }
}

/// What a person should know beside the plan.
pub(super) fn all_notes<'a>(plan: &'a Plan, seen: &'a Seen) -> impl Iterator<Item = &'a str> {
    seen.notes.iter().chain(&plan.notes).map(String::as_str)
}

/// One sentence.
pub(super) fn summary(plan: &Plan, seen: &Seen, outcome: Outcome) -> String {
    let runtime = seen.observed.runtime;
    let why = plan.restart.as_deref().unwrap_or_default();
    match outcome {
        Outcome::InPlace => format!("{runtime}: nothing to do"),
        Outcome::Change => format!("{runtime}: {}, no restart", files(plan)),
        Outcome::ChangeAndRestart => format!("{runtime}: {}, and a restart: {why}", files(plan)),
        Outcome::NeedsRestart => {
            format!("{runtime}: needs-restart: {why}; allow it with --restart allow")
        }
    }
}

fn files(plan: &Plan) -> String {
    let writes = plan.steps.iter().filter_map(|step| match step {
        Step::Write { path, .. } | Step::Remove { path } => Some(path),
        _ => None,
    });
    let count = writes.filter(|path| **path != image_swap_node::Ledger::path()).count();
    format!("{count} file{} to change", if count == 1 { "" } else { "s" })
}

/// The word for an outcome.
pub(super) const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::InPlace => "in-place",
        Outcome::Change => "change",
        Outcome::ChangeAndRestart => "change-and-restart",
        Outcome::NeedsRestart => "needs-restart",
    }
}

/// The word for a state.
pub(super) const fn state(state: State) -> &'static str {
    match state {
        State::InPlace => "in-place",
        State::Missing => "missing",
        State::Outdated => "outdated",
        State::Changed => "changed",
        State::Foreign => "foreign",
        State::Unread => "unread",
    }
}

pub(super) fn host(row: &Row) -> HostRow<'_> {
    HostRow { host: &row.host, path: row.path.as_str(), state: state(row.state), urls: &row.urls }
}

/// The rules that the runtime cannot be told.
pub(super) fn rules<'a>(plan: &'a Plan, declaration: Option<&'a Declaration>) -> Vec<RuleRow<'a>> {
    let Some(declaration) = declaration else { return Vec::new() };
    let rows = plan.inexpressible.iter().map(|row| {
        let rule = &declaration.rules().rules()[row.rule];
        let shown = if rule.kind == Kind::Noswap { &rule.target } else { &rule.source };
        RuleRow { rule: shown, line: rule.place.line, column: rule.place.column, why: row.why }
    });
    rows.collect()
}

fn step(step: &Step) -> StepRow<'_> {
    let name = match step {
        Step::MakeDirectory { .. } => "make-directory",
        Step::Write { .. } => "write",
        Step::Remove { .. } => "remove",
        Step::RemoveDirectory { .. } => "remove-directory",
        Step::Restart { .. } => "restart",
        Step::Reload { .. } => "reload",
    };
    StepRow { r#do: name, path: step.path().map(image_swap_node::HostPath::as_str) }
}

/// A unified diff, coloured as people know it.
fn coloured(diff: &str) -> String {
    let lines = diff.lines().map(|line| {
        let style = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => STRONG,
            [b'+', ..] => GOOD,
            [b'-', ..] => BAD,
            _ => return [line, "\n"].concat(),
        };
        styled(style, line) + "\n"
    });
    lines.collect()
}
