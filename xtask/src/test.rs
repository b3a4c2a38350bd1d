//! `cargo xtask test`: everything that must hold, in one command.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Result;
use image_swap_testbed::Parts;

use crate::{
    fuzz,
    host::{Host, on_path, say},
    image,
    packages::{self, Package},
    process,
    steps::{Outcome, Steps},
    tool,
};

/// Format, lints, each crate alone, dependencies, fuzzing, every test
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    pub(crate) fn run(self, host: &Host) -> ExitCode {
        let Self {} = self;
        let mut steps = Steps::new(host);
        steps.step("format", format);
        steps.step("lints", lints);
        steps.step("crates alone", crates_alone);
        steps.step("dependencies", dependencies);
        steps.step("advisories", advisories);
        steps.step("fuzz", fuzz::smoke);
        steps.step("cluster parts", cluster_parts);
        steps.step("image", image);
        steps.step("doc tests", doc_tests);
        // Last, so that the test runner's own words stand at the end.
        steps.step("tests", all_tests);
        steps.finish()
    }
}

fn passed() -> Outcome {
    Outcome::Passed(String::new())
}

fn format(host: &Host) -> Result<Outcome> {
    process::run(process::cargo(host, &["fmt"]).args(["--all", "--check"]))?;
    let fuzz = ["--manifest-path", "fuzz/Cargo.toml", "--check"];
    process::run(process::cargo(host, &["fmt"]).args(fuzz))?;
    Ok(passed())
}

fn lints(host: &Host) -> Result<Outcome> {
    let all = ["--workspace", "--all-targets", "--", "--deny", "warnings"];
    process::run(process::cargo(host, &["clippy"]).args(all))?;
    Ok(passed())
}

/// A crate that uses a feature which only another crate asked for compiles in
/// the workspace and nowhere else.
fn crates_alone(host: &Host) -> Result<Outcome> {
    let crates = packages::all(host)?;
    for Package { name, .. } in &crates {
        say(&format!("{name} alone"));
        process::run(process::cargo(host, &["check"]).args(["--quiet", "--package", name]))?;
    }
    Ok(Outcome::Passed(format!("{} crates", crates.len())))
}

fn dependencies(host: &Host) -> Result<Outcome> {
    // The fuzz targets have a lock file of their own.
    let fuzz = ["--config", "deny.toml", "--manifest-path", "fuzz/Cargo.toml"];
    match deny(host, &fuzz, &["sources"])? {
        Outcome::Passed(_) => deny(host, &[], &["bans", "licenses", "sources"]),
        missing => Ok(missing),
    }
}

/// Known vulnerabilities, where somebody has brought the list of them: it lies
/// on GitHub, which a build may not reach.
fn advisories(host: &Host) -> Result<Outcome> {
    let set = |name| env::var_os(name).map(PathBuf::from);
    let cargo_home = set("CARGO_HOME").or_else(|| Some(set("HOME")?.join(".cargo")));
    let databases = cargo_home.and_then(|home| fs::read_dir(home.join("advisory-dbs")).ok());
    if databases.is_none_or(|databases| databases.count() == 0) {
        let how = "`cargo deny fetch` brings it from GitHub";
        return Ok(Outcome::Skipped(format!("there is no advisory database; {how}")));
    }
    deny(host, &[], &["--disable-fetch", "advisories"])
}

fn deny(host: &Host, of: &[&str], checks: &[&str]) -> Result<Outcome> {
    let program = match tool::DENY.get(host) {
        Ok(program) => program,
        Err(missing) => return Ok(Outcome::Missing(missing.to_string())),
    };
    let mut command = Command::new(program);
    command.args(of).args(["--locked", "check", "--hide-inclusion-graph"]).args(checks);
    process::run(command.current_dir(&host.root))?;
    Ok(passed())
}

/// The programs of a real cluster. Got here and not by the first test that needs
/// them, whose words nobody would see while it builds them.
fn cluster_parts(host: &Host) -> Result<Outcome> {
    let parts = Parts::present()?;
    let list = parts.list();
    let missing: Vec<String> =
        list.iter().filter_map(|part| part.as_ref().err()).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(Outcome::Passed(format!("{} programs", list.len())));
    }
    let how = "tests that need it are skipped; get it with `cargo xtask cluster parts`";
    Ok(Outcome::Missing(format!("{}; {how}", missing.join("; "))))
}

/// The image that the tests of the chart run on a node: not as small as a release,
/// but of the same files, and no larger than it may be.
fn image(host: &Host) -> Result<Outcome> {
    let size = image::of_tests(host)?;
    Ok(Outcome::Passed(size))
}

fn doc_tests(host: &Host) -> Result<Outcome> {
    process::run(process::cargo(host, &["test"]).args(["--workspace", "--doc"]))?;
    Ok(passed())
}

fn all_tests(host: &Host) -> Result<Outcome> {
    let (runner, mut command) = if on_path("cargo-nextest").is_some() {
        ("cargo-nextest", process::cargo(host, &["nextest", "run"]))
    } else {
        let mut command = process::cargo(host, &["test"]);
        command.args(["--lib", "--bins", "--tests", "--examples"]);
        ("cargo test", command)
    };
    process::run(command.args(["--workspace", "--no-fail-fast"]))?;
    Ok(Outcome::Passed(format!("by {runner}")))
}
