//! Steps: a heading for each, and at the end what became of them.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::host::{Host, say};

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is as it should be; with what there is to say about it.
    Passed(String),
    /// It could not be done here, and that is nobody's fault: what, and why.
    Skipped(String),
    /// Something that it needs is not here: what, and how to get it. In CI a failure.
    Missing(String),
    /// It is not as it should be: what.
    Failed(String),
}

/// The steps of a task.
pub(crate) struct Steps<'h> {
    host: &'h Host,
    say: fn(&str),
    started: Instant,
    done: Vec<(&'static str, Outcome, Duration)>,
}

impl<'h> Steps<'h> {
    pub(crate) fn new(host: &'h Host) -> Self {
        Self { host, say, started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step; an error is a failed one. What follows is done all the same.
    pub(crate) fn step(&mut self, name: &'static str, run: impl FnOnce(&Host) -> Result<Outcome>) {
        (self.say)(&self.host.styled("1;36", &format!("\n=== {name}")));
        let started = Instant::now();
        let outcome = run(self.host).unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        let outcome = match outcome {
            Outcome::Missing(what) if self.host.ci => Outcome::Failed(what),
            outcome => outcome,
        };
        let took = started.elapsed();
        (self.say)(&self.line(name, &outcome, took));
        self.done.push((name, outcome, took));
    }

    /// Prints what became of all steps; the exit code says whether none failed.
    pub(crate) fn finish(self) -> ExitCode {
        (self.say)(&self.host.styled("1;36", "\n=== summary"));
        for (name, outcome, took) in &self.done {
            (self.say)(&self.line(name, outcome, *took));
        }
        let count = |is: fn(&Outcome) -> bool| self.done.iter().filter(|done| is(&done.1)).count();
        let failed = count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let passed = count(|outcome| matches!(outcome, Outcome::Passed(_)));
        let skipped = self.done.len() - failed - passed;
        (self.say)(&format!(
            "{passed} steps passed, {failed} failed, {skipped} skipped, in {}",
            spoken(self.started.elapsed())
        ));
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn line(&self, name: &str, outcome: &Outcome, took: Duration) -> String {
        let (style, word, what) = match outcome {
            Outcome::Passed(what) => ("32", "passed ", what),
            Outcome::Skipped(what) | Outcome::Missing(what) => ("33", "skipped", what),
            Outcome::Failed(what) => ("1;31", "FAILED ", what),
        };
        let word = self.host.styled(style, word);
        let line = format!("{word} {name:14} {:>11}  {what}", spoken(took));
        line.trim_end().to_owned()
    }
}

/// A duration as one says it: `0.4 s`, `12 s`, `3 min 5 s`.
fn spoken(duration: Duration) -> String {
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

    fn ends(ci: bool, outcome: Result<Outcome>) -> ExitCode {
        let host = host(ci);
        // What a test of failure says must not look like one.
        let mut steps = Steps { say: |_| {}, ..Steps::new(&host) };
        steps.step("first", |_| outcome);
        steps.step("second", |_| Ok(Outcome::Passed(String::new())));
        assert_eq!(steps.done.len(), 2, "what follows a failure is done all the same");
        steps.finish()
    }

    #[test]
    fn one_failed_step_fails_the_task() {
        assert_eq!(ends(false, Ok(Outcome::Passed(String::new()))), ExitCode::SUCCESS);
        assert_eq!(ends(false, Err(anyhow::anyhow!("broken"))), ExitCode::FAILURE);
        assert_eq!(ends(false, Ok(Outcome::Failed("broken".into()))), ExitCode::FAILURE);
    }

    #[test]
    fn what_is_missing_is_skipped_here_and_fails_in_ci() {
        let missing = || Ok(Outcome::Missing("no tool".into()));
        assert_eq!(ends(false, missing()), ExitCode::SUCCESS);
        assert_eq!(ends(true, missing()), ExitCode::FAILURE);
        assert_eq!(ends(true, Ok(Outcome::Skipped("no network".into()))), ExitCode::SUCCESS);
    }

    #[test]
    fn colours_are_shown_to_terminals_alone() {
        let mut host = host(false);
        let line = |host: &Host| {
            Steps::new(host).line("a", &Outcome::Failed("why".into()), Duration::from_secs(1))
        };
        assert_eq!(line(&host), "FAILED  a                    1.0 s  why");
        host.colour = true;
        assert!(line(&host).starts_with("\x1b[1;31mFAILED"));
    }

    #[test]
    fn durations_are_told_as_people_say_them() {
        let told = [400, 9_960, 12_900, 61_000, 3_600_000].map(Duration::from_millis).map(spoken);
        assert_eq!(told, ["0.4 s", "10.0 s", "12 s", "1 min 1 s", "60 min 0 s"]);
    }
}
