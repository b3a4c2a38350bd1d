//! `cargo xtask fuzz`: a search for inputs that break a law.
//!
//! By libFuzzer where there are a nightly toolchain and cargo-fuzz, else by
//! proptest for as long. The laws are the same: `crates/properties`.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use crate::{
    host::{Host, on_path, say},
    process,
    steps::Outcome,
    tool,
};

/// Seconds a target: of somebody who asks for it, in CI, and in a quick test.
const ASKED: u64 = 60;
const CI: u64 = 30;
const QUICK: u64 = 5;

/// How much of what a failed search printed is shown, in lines.
const SHOWN: usize = 60;

pub(crate) fn run(host: &Host, arguments: &[String]) -> Result<ExitCode, String> {
    let known = targets(host)?;
    let (seconds, targets) = options(arguments, &known)?;
    let engine = Engine::find(host)?;
    say(&format!("{}, {seconds} s a target", engine.name()));
    search(host, &engine, seconds, &targets)?;
    Ok(ExitCode::SUCCESS)
}

/// A short search in every target.
pub(crate) fn smoke(host: &Host) -> Result<Outcome, String> {
    let engine = Engine::find(host)?;
    let seconds = if host.ci { CI } else { QUICK };
    let targets = targets(host)?;
    search(host, &engine, seconds, &targets)?;
    let targets = targets.len();
    Ok(Outcome::Passed(format!("{targets} targets, {seconds} s each, by {}", engine.name())))
}

fn options(arguments: &[String], known: &[String]) -> Result<(u64, Vec<String>), String> {
    let mut seconds = ASKED;
    let mut targets = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--seconds" {
            let number = arguments.next().and_then(|text| text.parse().ok());
            seconds = number.ok_or("expected a number after --seconds")?;
        } else if known.contains(argument) {
            targets.push(argument.clone());
        } else {
            return Err(format!("expected a target ({}), found {argument:?}", known.join(", ")));
        }
    }
    Ok((seconds, if targets.is_empty() { known.to_vec() } else { targets }))
}

/// The fuzz targets, by their files.
fn targets(host: &Host) -> Result<Vec<String>, String> {
    let folder = host.root.join("fuzz/fuzz_targets");
    let entries =
        fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    names.sort();
    Ok(names)
}

enum Engine {
    /// With the PATH on which cargo finds cargo-fuzz.
    LibFuzzer { path: std::ffi::OsString },
    /// With the reason why it is not libFuzzer.
    Proptest(String),
}

impl Engine {
    fn find(host: &Host) -> Result<Self, String> {
        let mut nightly = Command::new("rustup");
        nightly.args(["run", "nightly", "rustc", "--version"]);
        let has_nightly = on_path("rustup").is_some()
            && process::output(&mut nightly).is_ok_and(|output| output.status.success());
        if !has_nightly {
            return Ok(Self::Proptest("there is no nightly toolchain".to_owned()));
        }
        let program = match tool::FUZZ.get(host) {
            Ok(program) => program,
            Err(missing) if host.ci => return Err(missing),
            Err(missing) => return Ok(Self::Proptest(missing)),
        };
        let folders = program.parent().map(PathBuf::from).into_iter();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(folders.chain(env::split_paths(&path)));
        Ok(Self::LibFuzzer { path: path.map_err(|error| error.to_string())? })
    }

    fn name(&self) -> String {
        match self {
            Self::LibFuzzer { .. } => "libFuzzer".to_owned(),
            Self::Proptest(why) => format!("proptest ({why})"),
        }
    }
}

fn search(host: &Host, engine: &Engine, seconds: u64, targets: &[String]) -> Result<(), String> {
    // Built before the clock starts.
    process::run(&mut match engine {
        Engine::LibFuzzer { path } => cargo_fuzz(host, path, &["build"]),
        Engine::Proptest(_) => proptest(host, &["--no-run"]),
    })?;
    let mut broken = Vec::new();
    for target in targets {
        let mut command = match engine {
            Engine::LibFuzzer { path } => {
                let time = format!("-max_total_time={seconds}");
                let limits = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=2048"];
                let mut command = cargo_fuzz(host, path, &["run", target, "--", &time]);
                command.args(limits);
                command
            }
            Engine::Proptest(_) => {
                let test = format!("tests::{target}");
                let mut command = proptest(host, &["--", "--exact", &test, "--nocapture"]);
                command.env("PROPERTY_SECONDS", seconds.to_string());
                command
            }
        };
        let output = process::output(&mut command)?;
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        if output.status.success() {
            say(&format!("{target}: {}", runs(&printed).unwrap_or("passed")));
        } else {
            let lines: Vec<&str> = printed.lines().collect();
            say(&lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("broken: {}", broken.join(", "))) }
}

fn cargo_fuzz(host: &Host, path: &std::ffi::OsStr, arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).args(arguments).env("PATH", path);
    command.current_dir(&host.root).stdin(Stdio::null());
    command
}

fn proptest(host: &Host, arguments: &[&str]) -> Command {
    let mut command = process::cargo(host, "test");
    command.args(["--package", "image-swap-properties", "--lib"]).args(arguments);
    command
}

/// The line that says how many inputs were tried.
fn runs(printed: &str) -> Option<&str> {
    printed.lines().rev().find(|line| line.starts_with("Done ") || line.ends_with(" runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_a_target_all_are_searched() {
        let known = words("map reference");
        assert_eq!(options(&[], &known), Ok((ASKED, known.clone())));
        assert_eq!(options(&words("--seconds 3 map"), &known), Ok((3, words("map"))));
    }

    #[test]
    fn what_is_no_target_is_refused_with_those_that_are() {
        let known = words("map reference");
        let error = options(&words("mpa"), &known).unwrap_err();
        assert_eq!(error, "expected a target (map, reference), found \"mpa\"");
        assert!(options(&words("--seconds soon"), &known).is_err());
    }

    #[test]
    fn the_number_of_runs_is_found_in_what_either_engine_prints() {
        assert_eq!(
            runs("#1 INITED\nDone 12 runs in 3 second(s)\n"),
            Some("Done 12 runs in 3 second(s)")
        );
        assert_eq!(runs("running 1 test\n2048 runs\ntest tests::map ... ok\n"), Some("2048 runs"));
        assert_eq!(runs("nothing"), None);
    }
}
