//! Output: answers, findings and errors, with colours on terminals.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use image_swap_core::{
    declaration::Declaration,
    diagnostic::{Diagnostic, Severity},
    rule::redact::line_may_hold_secret,
};
use image_swap_text::{position::Position, redact::without_userinfo};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::failure::Failure;

/// The form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Text for people.
    #[default]
    Text,
    /// One JSON object per line, for programs.
    Json,
}

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// Returns `text` in `style`.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Returns standard output, buffered, with colours only on a terminal and without `NO_COLOR`.
pub(crate) fn stdout() -> impl Write {
    io::BufWriter::new(anstream::stdout().lock())
}

/// Prints `failure` as an error. Returns its exit code.
pub(crate) fn fail(failure: &Failure) -> ExitCode {
    let code = match failure {
        Failure::Unusable(_) => 2,
        Failure::Broken(_) => 1,
        Failure::BrokenPipe => return ExitCode::SUCCESS,
    };
    let message = failure.to_string();
    // Findings have headings of their own.
    let heading =
        if message.starts_with('\u{1b}') { String::new() } else { styled(BAD, "error") + ": " };
    line(&format!("{heading}{message}"));
    ExitCode::from(code)
}

/// True if warnings and notes are not printed.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// Suppresses all warnings and notes from now on.
pub(crate) fn silence() {
    IS_QUIET.store(true, Relaxed);
}

/// Returns true if output is [silenced](silence).
pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Relaxed)
}

/// Prints a warning, a note or progress on standard error, unless output is [silenced](silence).
pub(crate) fn note(text: &str) {
    if !is_quiet() {
        line(text);
    }
}

/// Prints a line on standard error.
pub(crate) fn line(text: &str) {
    // An error about standard error cannot be reported.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Returns true if standard error shows colours.
pub(crate) fn colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Returns true if standard output shows colours.
pub(crate) fn stdout_colours() -> bool {
    anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never
}

/// Flushes the output. Returns the exit code: success if `is_good`, else failure.
pub(crate) fn end(out: &mut impl Write, is_good: bool) -> Result<ExitCode, Failure> {
    out.flush()?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints `text` as it is.
pub(crate) fn print(text: &[u8]) -> Result<ExitCode, Failure> {
    let mut out = stdout();
    out.write_all(text)?;
    end(&mut out, true)
}

/// Returns `number` and the noun `what`, in the plural unless `number` is 1.
pub(crate) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Returns findings as text for people, each with its line of the declaration.
pub(crate) fn findings<'a>(
    findings: impl IntoIterator<Item = &'a Diagnostic>,
    declaration: Option<&Declaration>,
) -> String {
    let texts = findings.into_iter().map(|finding| one(finding, declaration));
    texts.collect::<Vec<_>>().join("\n")
}

fn one(finding: &Diagnostic, declaration: Option<&Declaration>) -> String {
    let Diagnostic { severity, code, place, key, message, hint } = finding;
    let style = if *severity == Severity::Error { BAD } else { ODD };
    let label = styled(style, &format!("{}[{}]", severity.as_str(), code.as_str()));
    let within = key.map_or_else(String::new, |key| format!(" of {key}"));
    let mut text =
        format!("{label}: {message}\n  --> line {}, column {}{within}", place.line, place.column);
    // Only the rules' own text is shown: any other line may hold a credential.
    let of_rules = declaration.filter(|d| d.key() == *key).and_then(|d| d.line(*place));
    if let Some(line) = of_rules {
        let shown = if line_may_hold_secret(line) {
            format!("\n {} | (not shown: the line may hold a password)", place.line)
        } else {
            caret(line, *place, style)
        };
        text.push_str(&shown);
    }
    if let Some(hint) = hint {
        text = format!("{text}\n  {} {hint}", styled(STRONG, "hint:"));
    }
    text
}

/// Returns the part of `line` around `place`, and a caret below it.
fn caret(line: &str, place: Position, style: Style) -> String {
    /// Columns shown on either side: a list is one long line.
    const BEFORE: usize = 40;
    const AFTER: usize = 60;
    let characters: Vec<char> = line.chars().collect();
    let at = (place.column - 1).min(characters.len());
    // Redacted before it is shortened: the text that is cut off may mark a password. The caret
    // is below the redacted text, which may be shorter than the original.
    let shown = |part: &[char]| without_userinfo(&part.iter().collect::<String>()).into_owned();
    let (before, after) = (shown(&characters[..at]), shown(&characters[at..]));
    let cut = before.chars().count().saturating_sub(BEFORE);
    let left = if cut > 0 { "…" } else { "" };
    let right = if after.chars().count() > AFTER { "…" } else { "" };
    let before: String = before.chars().skip(cut).collect();
    let after: String = after.chars().take(AFTER).collect();
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    let indent = " ".repeat(left.chars().count() + before.chars().count());
    format!(
        "\n {gutter} |\n {number} | {left}{before}{after}{right}\n {gutter} | {indent}{}",
        styled(style, "^")
    )
}

/// A JSON object whose fields keep their order.
#[derive(Default)]
pub(crate) struct JsonFields(Vec<(&'static str, Box<RawValue>)>);

impl JsonFields {
    /// Adds a field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.0.push((name, to_raw_value(&value).unwrap_or_default()));
        self
    }

    /// Prints the object on a line.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<(), Failure> {
        json_line(out, self)
    }
}

impl Serialize for JsonFields {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// Writes each finding as one line of JSON.
pub(crate) fn findings_json(out: &mut impl Write, findings: &[Diagnostic]) -> Result<(), Failure> {
    findings.iter().try_for_each(|finding| {
        JsonFields::default()
            .with("severity", finding.severity.as_str())
            .with("code", finding.code.as_str())
            .with("line", finding.place.line)
            .with("column", finding.place.column)
            .with("message", &finding.message)
            .with("hint", &finding.hint)
            .print(out)
    })
}

/// Writes one JSON object, and the end of its line.
pub(crate) fn json_line(out: &mut impl Write, row: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, row).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
