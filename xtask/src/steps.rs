//! The steps of a task: a heading for each, and a summary at the end.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::host::{Host, print_line};

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The step passed. The text is for the summary.
    Passed(String),
    /// The step does not apply here. The text has the reason.
    Skipped(String),
    /// A part or a tool is missing, which is a failure in CI. The text has the remedy.
    Missing(String),
    /// The step failed. The text has the reason.
    Failed(String),
}

/// A series of steps.
pub(crate) struct Steps<'h> {
    host: &'h Host,
    print_line: fn(&str),
    started: Instant,
    done: Vec<Step>,
}

struct Step {
    name: String,
    outcome: Outcome,
    /// The duration; `None` for a line that only the summary has.
    took: Option<Duration>,
}

impl<'h> Steps<'h> {
    pub(crate) fn new(host: &'h Host) -> Self {
        Self { host, print_line, started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step. An error makes it a failed one, and later steps run all the same.
    pub(crate) fn step(
        &mut self,
        name: impl Into<String>,
        run: impl FnOnce(&Host) -> Result<Outcome>,
    ) {
        let name = name.into();
        (self.print_line)(&self.host.styled("1;36", &format!("\n=== {name}")));
        let started = Instant::now();
        let outcome = run(self.host).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        self.add(name, outcome, Some(started.elapsed()));
        if let Some(step) = self.done.last() {
            (self.print_line)(&self.line(step, step.name.len()));
        }
    }

    /// Adds a line to the summary.
    pub(crate) fn record(&mut self, name: impl Into<String>, outcome: Outcome) {
        self.add(name.into(), outcome, None);
    }

    fn add(&mut self, name: String, outcome: Outcome, took: Option<Duration>) {
        let outcome = match outcome {
            Outcome::Missing(reason) if self.host.ci => Outcome::Failed(reason),
            outcome => outcome,
        };
        self.done.push(Step { name, outcome, took });
    }

    /// Prints the summary, and returns the exit code: a failure if a step failed.
    pub(crate) fn finish(self) -> ExitCode {
        (self.print_line)(&self.host.styled("1;36", "\n=== summary"));
        let width = self.done.iter().map(|step| step.name.len()).max().unwrap_or_default();
        for step in &self.done {
            (self.print_line)(&self.line(step, width));
        }
        let count = |is: fn(&Outcome) -> bool| {
            let counted = self.done.iter().filter(|step| step.took.is_some());
            counted.filter(|step| is(&step.outcome)).count()
        };
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let passed = count(|outcome| matches!(outcome, Outcome::Passed(_)));
        let skipped = count(|_| true) - failed - passed;
        (self.print_line)(&format!(
            "{passed} steps passed, {failed} failed, {skipped} skipped, in {}",
            readable(self.started.elapsed())
        ));
        let is_failed = |step: &Step| matches!(step.outcome, Outcome::Failed(_));
        if self.done.iter().any(is_failed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn line(&self, step: &Step, width: usize) -> String {
        let Step { name, outcome, took } = step;
        let (style, word, text) = match outcome {
            Outcome::Passed(text) => ("32", "passed ", text),
            Outcome::Skipped(text) | Outcome::Missing(text) => ("33", "skipped", text),
            Outcome::Failed(text) => ("1;31", "FAILED ", text),
        };
        let word = self.host.styled(style, word);
        let took = took.map(readable).unwrap_or_default();
        let line = format!("{word} {name:width$} {took:>11}  {text}");
        line.trim_end().to_owned()
    }
}

/// Formats a duration as `0.4 s`, `12 s` or `3 min 5 s`.
fn readable(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ci: bool) -> Host {
        Host { root: "/".into(), cache: "/".into(), ci, colour: false }
    }

    /// Returns steps without output, which a log of tests could show as a real failure.
    fn silent(host: &Host) -> Steps<'_> {
        Steps { print_line: |_| {}, ..Steps::new(host) }
    }

    fn ends(ci: bool, outcome: Result<Outcome>) -> ExitCode {
        let host = host(ci);
        let mut steps = silent(&host);
        steps.step("first", |_| outcome);
        steps.step("second", |_| Ok(Outcome::Passed(String::new())));
        assert_eq!(steps.done.len(), 2, "a failure does not stop later steps");
        steps.finish()
    }

    #[test]
    fn one_failed_step_fails_the_task() {
        assert_eq!(ends(false, Ok(Outcome::Passed(String::new()))), ExitCode::SUCCESS);
        assert_eq!(ends(false, Err(anyhow::anyhow!("broken"))), ExitCode::FAILURE);
        assert_eq!(ends(false, Ok(Outcome::Failed("broken".into()))), ExitCode::FAILURE);
    }

    #[test]
    fn missing_part_fails_only_in_ci() {
        let missing = || Ok(Outcome::Missing("no tool".into()));
        assert_eq!(ends(false, missing()), ExitCode::SUCCESS);
        assert_eq!(ends(true, missing()), ExitCode::FAILURE);
        assert_eq!(ends(true, Ok(Outcome::Skipped("no network".into()))), ExitCode::SUCCESS);
    }

    #[test]
    fn recorded_line_counts_for_the_exit_code() {
        for (ci, expected) in [(false, ExitCode::SUCCESS), (true, ExitCode::FAILURE)] {
            let host = host(ci);
            let mut steps = silent(&host);
            steps.record("needs a node", Outcome::Missing("3 tests: no root".into()));
            assert_eq!(steps.finish(), expected);
        }
    }

    #[test]
    fn lines_are_aligned_in_the_summary() {
        let host = host(false);
        let steps = Steps::new(&host);
        let step =
            |took| Step { name: "a".to_owned(), outcome: Outcome::Failed("why".into()), took };
        let timed = steps.line(&step(Some(Duration::from_secs(1))), 3);
        assert_eq!(timed, "FAILED  a         1.0 s  why");
        assert_eq!(steps.line(&step(None), 3).len(), timed.len());
    }

    #[test]
    fn terminal_shows_colours() {
        let mut host = host(false);
        host.colour = true;
        let outcome = Outcome::Failed(String::new());
        let step = Step { name: "a".to_owned(), outcome, took: None };
        assert!(Steps::new(&host).line(&step, 1).starts_with("\x1b[1;31mFAILED"));
    }

    #[test]
    fn duration_is_readable() {
        let shown = [400, 9_960, 12_900, 61_000, 3_600_000].map(Duration::from_millis);
        let expected = ["0.4 s", "10.0 s", "12 s", "1 min 1 s", "60 min 0 s"];
        assert_eq!(shown.map(readable), expected);
    }
}
