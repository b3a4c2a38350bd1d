//! The output of plans.

use std::{io::Write, process::ExitCode};

use image_swap_core::{declaration::Declaration, rule::RuleKind};
use image_swap_node::{
    FileState, HostObservation, HostPath, HostPlan, Ledger, MirrorRow, PlanOutcome, PlanRefusal,
    PlannedStep,
};
use image_swap_text::position::Position;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    output::{self, BAD, GOOD, JsonFields, ODD, Output, STRONG, counted, styled},
};

/// The note about a host whose last change was neither completed nor rolled back.
pub(super) const INTERRUPTED: &str = "a change was interrupted and its watchdog was killed; the next \
                                      apply or restore first rolls it back";

impl JsonFields {
    /// Returns an object with the runtime of a host.
    pub(super) fn of(seen: &HostObservation) -> Self {
        let version = seen.observed.version.map(|version| version.to_string());
        Self::default().with("runtime", seen.observed.runtime.name()).with("version", version)
    }

    /// Adds the registry hosts of a plan, and the rules that the runtime cannot express.
    pub(super) fn with_hosts(self, plan: &HostPlan, declaration: Option<&Declaration>) -> Self {
        let host = |row: &MirrorRow| {
            let path = row.path.as_str();
            json!({"host": row.host, "path": path, "state": state(row.state), "urls": row.urls})
        };
        let hosts: Vec<Value> = plan.rows.iter().map(host).collect();
        self.with("hosts", hosts).with("inexpressible", rules(plan, declaration))
    }
}

/// A rule that the runtime cannot express, in JSON.
#[derive(Serialize)]
pub(super) struct UnsupportedRuleRow<'a> {
    rule: &'a str,
    line: usize,
    column: usize,
    #[serde(rename = "why")]
    reason: &'a str,
}

/// Prints `plan`. Returns the exit code.
pub(super) fn plan(
    plan: &HostPlan,
    seen: &HostObservation,
    declaration: &Declaration,
    output: Output,
) -> Result<ExitCode, Failure> {
    let out = &mut output::stdout();
    let outcome = plan.outcome();
    let diff = plan.diff(&seen.observed);
    match output {
        Output::Json => {
            let step = |step: &PlannedStep| json!({"do": step_name(step), "path": step.path().map(HostPath::as_str)});
            JsonFields::of(seen)
                .with("outcome", name(outcome))
                .with("why", &plan.restart)
                .with("steps", plan.steps.iter().map(step).collect::<Vec<_>>())
                .with_hosts(plan, Some(declaration))
                .with("notes", all_notes(plan, seen).collect::<Vec<_>>())
                .with("diff", diff)
                .print(out)?;
        }
        Output::Text => {
            out.write_all(coloured(&diff).as_bytes())?;
            let style = if outcome == PlanOutcome::NeedsRestart { BAD } else { GOOD };
            writeln!(out, "{}", styled(style, &summary(plan, seen, outcome)))?;
            notes(plan, seen, Some(declaration));
        }
    }
    output::end(out, outcome != PlanOutcome::NeedsRestart)
}

/// Prints the reason why there is no plan. Returns the exit code.
pub(super) fn refusal(
    refusal: &PlanRefusal,
    seen: &HostObservation,
    output: Output,
) -> Result<ExitCode, Failure> {
    if output == Output::Text {
        return Err(Failure::broken(refusal));
    }
    let out = &mut output::stdout();
    JsonFields::of(seen)
        .with("outcome", "refused")
        .with("case", refusal.case)
        .with("why", &refusal.found)
        .with("remedy", &refusal.remedy)
        .print(out)?;
    output::end(out, false)
}

/// Prints notes and warnings of `plan` on standard error.
pub(super) fn notes(plan: &HostPlan, seen: &HostObservation, declaration: Option<&Declaration>) {
    for note in all_notes(plan, seen) {
        output::note(&format!("{}: {note}", styled(ODD, "note")));
    }
    for row in rules(plan, declaration) {
        let UnsupportedRuleRow { rule, line, column, reason } = row;
        output::note(&format!(
            "{}: line {line}, column {column}: the runtime cannot express the rule for {rule}: {reason}",
            styled(ODD, "warning"),
        ));
    }
}

/// Returns the notes of the observation and of the plan.
pub(super) fn all_notes<'a>(
    plan: &'a HostPlan,
    seen: &'a HostObservation,
) -> impl Iterator<Item = &'a str> {
    seen.notes.iter().chain(&plan.notes).map(String::as_str)
}

/// Returns a summary in one line.
pub(super) fn summary(plan: &HostPlan, seen: &HostObservation, outcome: PlanOutcome) -> String {
    let runtime = seen.observed.runtime;
    let reason = plan.restart.as_deref().unwrap_or_default();
    match outcome {
        PlanOutcome::InPlace => format!("{runtime}: nothing to do"),
        PlanOutcome::Change => format!("{runtime}: {}, no restart", files(plan)),
        PlanOutcome::ChangeAndRestart => {
            format!("{runtime}: {} and a restart: {reason}", files(plan))
        }
        PlanOutcome::NeedsRestart => {
            format!("{runtime}: needs-restart: {reason}; allow it with --restart allow")
        }
    }
}

fn files(plan: &HostPlan) -> String {
    let writes = plan.steps.iter().filter_map(|step| match step {
        PlannedStep::Write { path, .. } | PlannedStep::Remove { path } => Some(path),
        _ => None,
    });
    let count = writes.filter(|path| **path != Ledger::path()).count();
    format!("{} to change", counted(count, "file"))
}

/// Returns the word for an outcome in JSON.
pub(super) const fn name(outcome: PlanOutcome) -> &'static str {
    match outcome {
        PlanOutcome::InPlace => "in-place",
        PlanOutcome::Change => "change",
        PlanOutcome::ChangeAndRestart => "change-and-restart",
        PlanOutcome::NeedsRestart => "needs-restart",
    }
}

/// Returns the word for a state in JSON.
pub(super) const fn state(state: FileState) -> &'static str {
    match state {
        FileState::InPlace => "in-place",
        FileState::Missing => "missing",
        FileState::Outdated => "outdated",
        FileState::Changed => "changed",
        FileState::Foreign => "foreign",
        FileState::Unread => "unread",
    }
}

/// Returns the rules that the runtime cannot express.
pub(super) fn rules<'a>(
    plan: &'a HostPlan,
    declaration: Option<&'a Declaration>,
) -> Vec<UnsupportedRuleRow<'a>> {
    let Some(declaration) = declaration else { return Vec::new() };
    let rows = plan.inexpressible.iter().map(|row| {
        let rule = &declaration.rules().rules()[row.rule];
        let shown = if rule.kind == RuleKind::Noswap { &rule.target } else { &rule.source };
        let Position { line, column } = rule.place;
        UnsupportedRuleRow { rule: shown, line, column, reason: row.reason }
    });
    rows.collect()
}

/// Returns the word for a step.
const fn step_name(step: &PlannedStep) -> &'static str {
    match step {
        PlannedStep::MakeDirectory { .. } => "make-directory",
        PlannedStep::Write { .. } => "write",
        PlannedStep::Remove { .. } => "remove",
        PlannedStep::RemoveDirectory { .. } => "remove-directory",
        PlannedStep::Restart { .. } => "restart",
        PlannedStep::Reload { .. } => "reload",
    }
}

/// Colours a unified diff.
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
