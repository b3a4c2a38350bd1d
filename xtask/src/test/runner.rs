//! The test runner: cargo-nextest, or cargo's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Error, Result, bail};
use image_swap_testbed::Minor;

use super::{report::RunReport, scan::Test};
use crate::{host::Host, process, tool};

/// A test runner.
#[derive(Debug)]
pub(crate) enum Runner {
    /// The program `cargo-nextest`.
    Nextest(PathBuf),
    /// `cargo test`, with the reason for the lack of the other.
    Cargo(String),
}

/// The tests of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Choice<'t> {
    /// Tests that need no parts.
    Plain,
    /// All tests but the named ones.
    AllBut(&'t [&'t Test]),
    /// The named tests alone. All of them need parts.
    Only(&'t [&'t Test]),
}

impl Runner {
    /// Obtains cargo-nextest, and falls back to `cargo test`. Builds cargo-nextest from
    /// source only if `patient`, which takes minutes.
    pub(crate) fn find(host: &Host, patient: bool) -> Self {
        let found = if patient { tool::NEXTEST.get(host) } else { tool::NEXTEST.prebuilt(host) };
        found.map_or_else(|error| Self::Cargo(format!("{error:#}")), Self::Nextest)
    }

    /// Returns the name, with the reason for a fallback.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Nextest(_) => "cargo-nextest".to_owned(),
            Self::Cargo(reason) => format!("cargo test ({reason})"),
        }
    }

    /// Runs `choice` on the Kubernetes version `minor`, or on the one that the environment names.
    /// Returns a remark for the summary that names the tests that failed at first; it is empty
    /// without one.
    ///
    /// # Errors
    /// A test failed, the runner does not start, or cargo-nextest left out a test of `choice`.
    pub(crate) fn run(
        &self,
        host: &Host,
        choice: Choice<'_>,
        minor: Option<Minor>,
    ) -> Result<String> {
        let Self::Nextest(program) = self else {
            process::run(on(minor, &mut cargo_test(host, choice)))?;
            return Ok(String::new());
        };
        RunReport::forget(&host.root)?;
        let ended = process::run(on(minor, &mut run(host, program, choice)));
        // Without a report no test ran.
        let report = match RunReport::read(&host.root) {
            Ok(report) => report,
            Err(missing) => return Err(ended.err().unwrap_or(missing)),
        };
        let list = process::text(on(minor, &mut list(host, program, choice)))?;
        let left = report.not_run(&list);
        if !left.is_empty() {
            bail!("{}", left_out(&left, ended.err()));
        }
        ended?;
        let names = report.retried();
        Ok(match names[..] {
            [] => String::new(),
            _ => format!("; at the second attempt: {}", names.join(", ")),
        })
    }
}

/// Makes `command` test the Kubernetes version `minor`.
fn on(minor: Option<Minor>, command: &mut Command) -> &mut Command {
    command.envs(minor.map(|minor| (Minor::VARIABLE, minor.to_string())))
}

/// Returns the command of cargo-nextest that runs `choice`.
fn run(host: &Host, program: &Path, choice: Choice<'_>) -> Command {
    let mut command = nextest(host, program, "run", choice);
    command.arg("--no-fail-fast");
    if !matches!(choice, Choice::Plain) {
        command.arg("--test-threads").arg(threads().to_string());
    }
    command
}

/// Returns the command of cargo-nextest that prints a line `program test` for each test of
/// `choice`.
fn list(host: &Host, program: &Path, choice: Choice<'_>) -> Command {
    let mut command = nextest(host, program, "list", choice);
    command.args(["--message-format", "oneline", "--cargo-quiet"]);
    command
}

fn nextest(host: &Host, program: &Path, task: &str, choice: Choice<'_>) -> Command {
    let mut command = Command::new(program);
    command.args(["nextest", task, "--locked", "--workspace"]).args(selection(choice));
    process::in_checkout(host, &mut command);
    command
}

/// Returns the command of cargo that runs `choice`.
fn cargo_test(host: &Host, choice: Choice<'_>) -> Command {
    let mut command = process::cargo(host, &["test"]);
    command.args(["--workspace", "--no-fail-fast"]);
    command.args(["--lib", "--bins", "--tests", "--examples"]);
    command.arg("--").args(cargo(choice));
    command
}

/// Formats the tests that cargo-nextest left out, and its own error.
fn left_out(tests: &[&str], error: Option<Error>) -> String {
    let error = error.map(|error| format!("; {error:#}")).unwrap_or_default();
    format!("cargo-nextest did not run {}: {}{error}", tests.len(), tests.join(", "))
}

/// Returns the number of tests that run at the same time: one more than this machine has
/// processors, since tests with parts often wait for them.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get) + 1
}

/// Returns the arguments of cargo-nextest that select `choice`.
fn selection(choice: Choice<'_>) -> Vec<String> {
    let arguments = match choice {
        Choice::Plain => Vec::new(),
        Choice::AllBut([]) => vec!["--run-ignored", "all"],
        Choice::AllBut(_) => vec!["--run-ignored", "all", "--filterset"],
        Choice::Only(_) => vec!["--run-ignored", "only", "--filterset"],
    };
    let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    match choice {
        Choice::Plain | Choice::AllBut([]) => {}
        Choice::AllBut(tests) => arguments.push(format!("not ({})", filterset(tests))),
        Choice::Only(tests) => arguments.push(filterset(tests)),
    }
    arguments
}

/// Returns the filter expression of cargo-nextest that matches exactly `tests`.
fn filterset(tests: &[&Test]) -> String {
    let mut packages: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for test in tests {
        packages.entry(&test.package).or_default().insert(&test.name);
    }
    let packages = packages.into_iter().map(|(package, names)| {
        let names: Vec<_> = names.into_iter().map(|name| format!("test(={name})")).collect();
        format!("(package(={package}) & ({}))", names.join(" | "))
    });
    packages.collect::<Vec<_>>().join(" | ")
}

/// Returns the arguments of the test programs for `choice`. They know no packages: a name
/// counts in all of them.
fn cargo(choice: Choice<'_>) -> Vec<&str> {
    match choice {
        Choice::Plain => Vec::new(),
        Choice::AllBut(tests) => {
            let skipped = tests.iter().flat_map(|test| ["--skip", &test.name]);
            ["--include-ignored", "--exact"].into_iter().chain(skipped).collect()
        }
        Choice::Only(tests) => {
            let names = tests.iter().map(|test| test.name.as_str());
            ["--ignored", "--exact"].into_iter().chain(names).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use image_swap_testbed::Group;

    use super::*;

    fn test(package: &str, name: &str) -> Test {
        Test { package: package.to_owned(), name: name.to_owned(), group: Group::Node }
    }

    #[test]
    fn filter_names_package_and_test_exactly() {
        let tests = [test("b", "x::y"), test("a", "z"), test("b", "w")];
        let tests: Vec<&Test> = tests.iter().collect();
        let expected =
            "(package(=a) & (test(=z))) | (package(=b) & (test(=w) | test(=x::y)))".to_owned();
        assert_eq!(filterset(&tests), expected);
        assert_eq!(
            selection(Choice::AllBut(&tests)),
            ["--run-ignored", "all", "--filterset", &format!("not ({expected})")]
        );
        let only = selection(Choice::Only(&tests));
        assert_eq!(only, ["--run-ignored", "only", "--filterset", &expected]);
    }

    #[test]
    fn complete_run_has_no_filter() {
        assert_eq!(selection(Choice::AllBut(&[])), ["--run-ignored", "all"]);
        assert_eq!(cargo(Choice::AllBut(&[])), ["--include-ignored", "--exact"]);
        assert!(selection(Choice::Plain).is_empty() && cargo(Choice::Plain).is_empty());
    }

    #[test]
    fn tests_left_out_are_named_before_the_error() {
        let tests = ["a::it x::y", "b z"];
        assert_eq!(left_out(&tests, None), "cargo-nextest did not run 2: a::it x::y, b z");
        let error = Error::msg("exit status: 100");
        assert!(left_out(&tests, Some(error)).ends_with("b z; exit status: 100"));
    }

    #[test]
    fn cargo_test_skips_and_selects_exact_names() {
        let tests = [test("a", "x::y"), test("b", "z")];
        let tests: Vec<&Test> = tests.iter().collect();
        let skip = cargo(Choice::AllBut(&tests));
        assert_eq!(skip, ["--include-ignored", "--exact", "--skip", "x::y", "--skip", "z"]);
        assert_eq!(cargo(Choice::Only(&tests)), ["--ignored", "--exact", "x::y", "z"]);
    }
}
