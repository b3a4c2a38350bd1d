//! `cargo xtask test`: every check of the project, in one command.

pub(crate) mod report;
pub(crate) mod runner;
pub(crate) mod scan;
pub(crate) mod short;
pub(crate) mod source;

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Result;
use image_swap_testbed::{Group, Minor};

use self::{
    runner::{Choice, Runner},
    scan::Test,
};
use crate::{
    bench, circles, fuzz, guarantees,
    host::{Host, print_line},
    image,
    packages::{self, Package},
    parts::{self, Gaps},
    process, prose,
    steps::{Outcome, Steps},
    tool,
};

/// Steps that `--quick` leaves out.
const LEFT_OUT: &str = "parts, crates alone, dependencies, advisories, fuzz, image, benchmark, and \
                        all tests that need parts; `cargo xtask test` runs them";

/// Format, circles, prose, guarantees, lints, dependencies, fuzzing, every test; sets up their parts
///
/// The parts (Kubernetes, etcd, containerd, registries, Helm) are built from Go modules and
/// unpacked from Debian packages into the cache, once. That takes about 20 minutes on two
/// cores. Tests whose parts are missing are skipped and listed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only what needs no parts: format, circles, prose, guarantees, lints, tests; takes minutes
    #[arg(long)]
    quick: bool,
    /// Install missing Debian packages on this machine (needs root)
    #[arg(long, conflicts_with = "quick")]
    install: bool,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let Self { quick, install } = self;
        let steps = Steps::new(host);
        if quick { Ok(run_quick(steps)) } else { run_all(steps, install) }
    }
}

fn run_quick(mut steps: Steps<'_>) -> ExitCode {
    steps.step("format", format);
    steps.step("circles", circles::check);
    steps.step("prose", prose::check);
    steps.step("guarantees", guarantees::check);
    steps.step("lints", lints);
    steps.step("doc tests", doc_tests);
    steps.step("tests", |host| {
        let runner = Runner::find(host, false);
        let retried = runner.run(host, Choice::Plain, None)?;
        Ok(Outcome::Passed(format!("by {}{retried}", runner.name())))
    });
    steps.record("left out", Outcome::Skipped(LEFT_OUT.to_owned()));
    steps.finish()
}

fn run_all(mut steps: Steps<'_>, install: bool) -> Result<ExitCode> {
    let minor = Minor::from_environment()?;
    let mut minors = vec![minor];
    minors.extend((minor != Minor::OLDEST).then_some(Minor::OLDEST));
    steps.step("format", format);
    steps.step("circles", circles::check);
    steps.step("prose", prose::check);
    steps.step("guarantees", guarantees::check);
    steps.step("parts", |host| parts::set_up(host, install, &minors));
    steps.step("lints", lints);
    steps.step("crates alone", crates_alone);
    steps.step("dependencies", dependencies);
    steps.step("advisories", advisories);
    steps.step("fuzz", fuzz::smoke);
    steps.step("image", image);
    steps.step("benchmark", bench::smoke::run);
    steps.step("doc tests", doc_tests);
    // The last steps, so that the output ends with the results of the test runner.
    let mut skipped = Vec::new();
    steps.step("tests", |host| {
        let tests = all_tests(host)?;
        let gaps = Gaps::find(minor)?;
        let missing: Vec<&Test> = tests.iter().filter(|test| gaps.contains(test.group)).collect();
        skipped = per_group(&gaps, &missing);
        let runner = Runner::find(host, true);
        let retried = runner.run(host, Choice::AllBut(&missing), None)?;
        Ok(Outcome::Passed(format!("by {}{retried}", runner.name())))
    });
    if minor != Minor::OLDEST {
        steps.step(format!("tests on {}", Minor::OLDEST), |host| {
            let tests = all_tests(host)?;
            short::run(host, &Runner::find(host, true), Minor::OLDEST, &short::select(&tests)?)
        });
    }
    for (name, outcome) in skipped {
        steps.record(name, outcome);
    }
    Ok(steps.finish())
}

/// Returns one line of the summary for each group whose tests are skipped.
fn per_group(gaps: &Gaps, tests: &[&Test]) -> Vec<(String, Outcome)> {
    let count = |group: Group| tests.iter().filter(|test| test.group == group).count();
    let lines = gaps.iter().map(|(group, missing)| (*group, count(*group), missing));
    lines
        .filter(|(_, count, _)| *count > 0)
        .map(|(group, count, missing)| {
            let name = format!("needs {}", group.name());
            (name, Outcome::Missing(format!("{count} tests: {missing}")))
        })
        .collect()
}

fn all_tests(host: &Host) -> Result<Vec<Test>> {
    scan::tests(&host.root, &packages::all(host)?)
}

fn passed() -> Outcome {
    Outcome::Passed(String::new())
}

fn format(host: &Host) -> Result<Outcome> {
    process::run(process::cargo(host, &["fmt"]).args(["--all", "--check"]))?;
    let fuzz = ["--manifest-path", "tests/fuzz/Cargo.toml", "--check"];
    process::run(process::cargo(host, &["fmt"]).args(fuzz))?;
    Ok(passed())
}

fn lints(host: &Host) -> Result<Outcome> {
    let all = ["--workspace", "--all-targets", "--", "--deny", "warnings"];
    process::run(process::cargo(host, &["clippy"]).args(all))?;
    Ok(passed())
}

/// Checks each crate by itself. A crate may use a feature that only another crate enables:
/// it then compiles in the workspace and nowhere else. `cargo xtask` compiles this crate alone.
fn crates_alone(host: &Host) -> Result<Outcome> {
    let mut crates = packages::all(host)?;
    crates.retain(|it| it.name != env!("CARGO_PKG_NAME"));
    for Package { name, .. } in &crates {
        print_line(&format!("{name} alone"));
        process::run(process::cargo(host, &["check"]).args(["--quiet", "--package", name]))?;
    }
    Ok(Outcome::Passed(format!("{} crates", crates.len())))
}

fn dependencies(host: &Host) -> Result<Outcome> {
    // The fuzz targets have a lock file of their own.
    let fuzz = ["--config", "deny.toml", "--manifest-path", "tests/fuzz/Cargo.toml"];
    match deny(host, &fuzz, &["sources"])? {
        Outcome::Passed(_) => deny(host, &[], &["bans", "licenses", "sources"]),
        missing => Ok(missing),
    }
}

/// Checks for known vulnerabilities, if the machine has the list of them. The list is on
/// GitHub, which a build may not reach.
fn advisories(host: &Host) -> Result<Outcome> {
    let set = |name| env::var_os(name).map(PathBuf::from);
    let cargo_home = set("CARGO_HOME").or_else(|| Some(set("HOME")?.join(".cargo")));
    let databases = cargo_home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    if databases.is_none_or(|databases| databases.count() == 0) {
        let how = "`cargo deny fetch` downloads it from GitHub";
        return Ok(Outcome::Skipped(format!("there is no advisory database; {how}")));
    }
    deny(host, &[], &["--disable-fetch", "advisories"])
}

fn deny(host: &Host, of: &[&str], checks: &[&str]) -> Result<Outcome> {
    let program = match tool::DENY.get(host) {
        Ok(program) => program,
        Err(missing) => return Ok(Outcome::Missing(format!("{missing:#}"))),
    };
    let mut command = Command::new(program);
    command.args(of).args(["--locked", "check", "--hide-inclusion-graph"]).args(checks);
    process::run(process::in_checkout(host, &mut command))?;
    Ok(passed())
}

/// Builds the image that tests run on a node. It is larger than a release, which is
/// optimised, and holds the same files.
fn image(host: &Host) -> Result<Outcome> {
    let size = image::of_tests(host)?;
    Ok(Outcome::Passed(size))
}

/// Builds the documentation, private items included, and runs its examples. A link to an
/// item that was renamed is an error.
fn doc_tests(host: &Host) -> Result<Outcome> {
    let of = ["--workspace", "--no-deps", "--document-private-items", "--quiet"];
    let mut doc = process::cargo(host, &["doc"]);
    process::run(doc.args(of).env("RUSTDOCFLAGS", "--deny warnings"))?;
    process::run(process::cargo(host, &["test"]).args(["--workspace", "--doc"]))?;
    Ok(passed())
}
