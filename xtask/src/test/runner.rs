//! The test runner: cargo-nextest, or cargo's own.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    path::PathBuf,
    process::Command,
    thread,
};

use anyhow::Result;
use image_swap_testbed::Minor;

use super::{retried, scan::Test};
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
    /// A test failed, or the runner does not start.
    pub(crate) fn run(
        &self,
        host: &Host,
        choice: Choice<'_>,
        minor: Option<Minor>,
    ) -> Result<String> {
        retried::forget(&host.root);
        process::run(&mut self.command(host, choice, minor))?;
        let names = retried::names(&host.root);
        Ok(match names[..] {
            [] => String::new(),
            _ => format!("; at the second attempt: {}", names.join(", ")),
        })
    }

    /// Returns the command that runs `choice` on the Kubernetes version `minor`, or on the
    /// one that the environment names.
    fn command(&self, host: &Host, choice: Choice<'_>, minor: Option<Minor>) -> Command {
        let mut command = match self {
            Self::Nextest(program) => {
                let mut command = Command::new(program);
                command.args(["nextest", "run", "--locked", "--workspace", "--no-fail-fast"]);
                command.args(nextest(choice));
                if !matches!(choice, Choice::Plain) {
                    command.arg("--test-threads").arg(threads().to_string());
                }
                process::in_checkout(host, &mut command);
                command
            }
            Self::Cargo(_) => {
                let mut command = process::cargo(host, &["test"]);
                command.args(["--workspace", "--no-fail-fast"]);
                command.args(["--lib", "--bins", "--tests", "--examples"]);
                command.arg("--").args(cargo(choice));
                command
            }
        };
        command.envs(minor.map(|minor| (Minor::VARIABLE, minor.to_string())));
        command
    }
}

/// Returns the number of tests that run at the same time: one more than this machine has
/// processors, since tests with parts often wait for them.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get) + 1
}

/// Returns the arguments of cargo-nextest for `choice`.
fn nextest(choice: Choice<'_>) -> Vec<String> {
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
            nextest(Choice::AllBut(&tests)),
            ["--run-ignored", "all", "--filterset", &format!("not ({expected})")]
        );
        let only = nextest(Choice::Only(&tests));
        assert_eq!(only, ["--run-ignored", "only", "--filterset", &expected]);
    }

    #[test]
    fn complete_run_has_no_filter() {
        assert_eq!(nextest(Choice::AllBut(&[])), ["--run-ignored", "all"]);
        assert_eq!(cargo(Choice::AllBut(&[])), ["--include-ignored", "--exact"]);
        assert!(nextest(Choice::Plain).is_empty() && cargo(Choice::Plain).is_empty());
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
