//! Notes on a rendered declaration, and rules that its format cannot express.

use std::process::ExitCode;

use image_swap_core::{
    declaration::Declaration,
    render::{Format, Rendered},
    rule::RuleKind,
};

use crate::output;

/// Prints the notes, and the rules that `format` cannot express. Returns the exit code.
pub(super) fn report(declaration: &Declaration, format: &Format, rendered: &Rendered) -> ExitCode {
    for note in &rendered.notes {
        output::note(&format!("{}: {note}", output::styled(output::ODD, "note")));
    }
    for row in &rendered.inexpressible {
        output::line(&cannot_hold(declaration, format, row.rule, row.reason));
    }
    if rendered.inexpressible.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cannot_hold(declaration: &Declaration, format: &Format, rule: usize, reason: &str) -> String {
    let rule = &declaration.rules().rules()[rule];
    let shown = if rule.kind == RuleKind::Noswap { &rule.target } else { &rule.source };
    format!(
        "{}: line {}, column {}: {} cannot express the rule for {shown}: {reason}",
        output::styled(output::BAD, "error"),
        rule.place.line,
        rule.place.column,
        format.name,
    )
}
