//! `cargo xtask test`: everything that must hold, in one command.

use std::{env, fs, path::PathBuf, process::ExitCode};

use crate::{
    fuzz,
    host::{Host, on_path, say},
    packages::{self, Package},
    process,
    steps::{Outcome, Steps},
    tool,
};

pub(crate) fn run(host: &Host, arguments: &[String]) -> Result<ExitCode, String> {
    if let Some(argument) = arguments.first() {
        return Err(format!("expected no argument, found {argument:?}"));
    }
    let mut steps = Steps::new(host);
    steps.step("format", format);
    steps.step("lints", lints);
    steps.step("crates alone", crates_alone);
    steps.step("dependencies", dependencies);
    steps.step("advisories", advisories);
    steps.step("fuzz", fuzz::smoke);
    steps.step("doc tests", doc_tests);
    // Last, so that the test runner's own words stand at the end.
    steps.step("tests", all_tests);
    Ok(steps.finish())
}

fn passed() -> Outcome {
    Outcome::Passed(String::new())
}

fn format(host: &Host) -> Result<Outcome, String> {
    process::run(process::cargo(host, "fmt").args(["--all", "--check"]))?;
    let fuzz = ["--manifest-path", "fuzz/Cargo.toml", "--check"];
    process::run(process::cargo(host, "fmt").args(fuzz))?;
    Ok(passed())
}

fn lints(host: &Host) -> Result<Outcome, String> {
    let all = ["--workspace", "--all-targets", "--", "--deny", "warnings"];
    process::run(process::cargo(host, "clippy").args(all))?;
    Ok(passed())
}

/// A crate that uses a feature which only another crate asked for compiles in
/// the workspace and nowhere else.
fn crates_alone(host: &Host) -> Result<Outcome, String> {
    let crates = packages::all(host)?;
    for Package { name, .. } in &crates {
        say(&format!("{name} alone"));
        process::run(process::cargo(host, "check").args(["--quiet", "--package", name]))?;
    }
    Ok(Outcome::Passed(format!("{} crates", crates.len())))
}

fn dependencies(host: &Host) -> Result<Outcome, String> {
    // The fuzz targets have a lock file of their own.
    let fuzz = ["--config", "deny.toml", "--manifest-path", "fuzz/Cargo.toml"];
    match deny(host, &fuzz, &["sources"])? {
        Outcome::Passed(_) => deny(host, &[], &["bans", "licenses", "sources"]),
        missing => Ok(missing),
    }
}

/// Known vulnerabilities, where somebody has brought the list of them: it lies
/// on GitHub, which a build may not reach.
fn advisories(host: &Host) -> Result<Outcome, String> {
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home =
        cargo_home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let database = cargo_home.map(|home| home.join("advisory-dbs"));
    let has_entries =
        |folder: &PathBuf| fs::read_dir(folder).is_ok_and(|mut all| all.next().is_some());
    if !database.is_some_and(|folder| has_entries(&folder)) {
        let how = "`cargo deny fetch` brings it from GitHub";
        return Ok(Outcome::Skipped(format!("there is no advisory database; {how}")));
    }
    deny(host, &[], &["--disable-fetch", "advisories"])
}

fn deny(host: &Host, of: &[&str], checks: &[&str]) -> Result<Outcome, String> {
    let program = match tool::DENY.get(host) {
        Ok(program) => program,
        Err(missing) => return Ok(Outcome::Missing(missing)),
    };
    let mut command = std::process::Command::new(program);
    command.args(of).args(["--locked", "check", "--hide-inclusion-graph"]).args(checks);
    process::run(command.current_dir(&host.root))?;
    Ok(passed())
}

fn doc_tests(host: &Host) -> Result<Outcome, String> {
    process::run(process::cargo(host, "test").args(["--workspace", "--doc"]))?;
    Ok(passed())
}

fn all_tests(host: &Host) -> Result<Outcome, String> {
    let (runner, mut command) = if on_path("cargo-nextest").is_some() {
        let mut command = process::cargo(host, "nextest");
        command.arg("run");
        ("cargo-nextest", command)
    } else {
        let mut command = process::cargo(host, "test");
        command.args(["--lib", "--bins", "--tests", "--examples"]);
        ("cargo test", command)
    };
    process::run(command.args(["--workspace", "--no-fail-fast"]))?;
    Ok(Outcome::Passed(format!("by {runner}")))
}
