//! `cargo xtask fuzz`: a search for inputs that violate a property.
//!
//! libFuzzer searches if a nightly toolchain is installed, else proptest, for as long. Both
//! check the properties in `tests/properties`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    num::NonZero,
    panic::resume_unwind,
    path::PathBuf,
    process::{Command, ExitCode, Output, Stdio},
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Context, Result, bail};

use crate::{
    host::{Host, on_path, print_line},
    process,
    steps::Outcome,
    tool,
};

/// Seconds for each target in `cargo xtask test`.
const SMOKE: u64 = 20;

/// Codegen units of the programs of `cargo xtask test`. All processors compile one crate, and the
/// programs are a little slower. A long search has one unit.
const UNITS: &str = "16";

/// The number of lines that are repeated from the output of a failed search.
const SHOWN: usize = 80;

/// The workspace of the targets, below the checkout.
const FOLDER: &str = "tests/fuzz";

/// Search for inputs that violate a property
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds of search in each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Targets; all of them if none is given
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let Self { seconds, targets } = self;
        let targets = chosen(targets, targets_of(host)?)?;
        let engine = Engine::find(host, "1")?;
        print_line(&format!("{}, {seconds} s a target", engine.name()));
        search(host, &engine, seconds, &targets)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Searches for a short time in every target.
pub(crate) fn smoke(host: &Host) -> Result<Outcome> {
    let engine = Engine::find(host, UNITS)?;
    let targets = targets_of(host)?;
    search(host, &engine, SMOKE, &targets)?;
    let targets = targets.len();
    Ok(Outcome::Passed(format!("{targets} targets, {SMOKE} s each, by {}", engine.name())))
}

/// Returns the targets of the command line, or all of them if it names none.
fn chosen(named: Vec<String>, known: Vec<String>) -> Result<Vec<String>> {
    if let Some(unknown) = named.iter().find(|target| !known.contains(target)) {
        bail!("expected a target ({}), found {unknown:?}", known.join(", "));
    }
    Ok(if named.is_empty() { known } else { named })
}

/// Returns the names of all fuzz targets, which are those of their files.
fn targets_of(host: &Host) -> Result<Vec<String>> {
    let folder = host.root.join(FOLDER).join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let name = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    names.sort();
    Ok(names)
}

enum Engine {
    /// libFuzzer, with the PATH on which cargo finds cargo-fuzz, and the number of codegen units.
    LibFuzzer { path: OsString, units: &'static str },
    /// proptest, with the reason for the lack of libFuzzer.
    Proptest(String),
}

impl Engine {
    /// Finds the engine. libFuzzer searches in programs of `units` codegen units.
    fn find(host: &Host, units: &'static str) -> Result<Self> {
        let mut nightly = Command::new("rustup");
        nightly.args(["run", "nightly", "rustc", "--version"]);
        let has_nightly = on_path("rustup").is_some()
            && process::output(&mut nightly).is_ok_and(|output| output.status.success());
        if !has_nightly {
            return Ok(Self::Proptest("there is no nightly toolchain".to_owned()));
        }
        let program = match tool::FUZZ.get(host) {
            Ok(program) => program,
            Err(missing) => return Ok(Self::Proptest(format!("{missing:#}"))),
        };
        let folders = program.parent().map(PathBuf::from).into_iter();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(folders.chain(env::split_paths(&path)))?;
        Ok(Self::LibFuzzer { path, units })
    }

    fn name(&self) -> String {
        match self {
            Self::LibFuzzer { .. } => "libFuzzer".to_owned(),
            Self::Proptest(reason) => format!("proptest ({reason})"),
        }
    }

    /// Returns the command that builds the programs of [`Self::search`].
    fn build(&self, host: &Host) -> Command {
        match self {
            Self::LibFuzzer { path, units } => cargo_fuzz(host, path, units, &["build"]),
            Self::Proptest(_) => proptest(host, &["--no-run"]),
        }
    }

    fn search(&self, host: &Host, seconds: u64, target: &str) -> Command {
        match self {
            Self::LibFuzzer { path, units } => {
                let time = format!("-max_total_time={seconds}");
                let mut command = cargo_fuzz(host, path, units, &["run", target, "--", &time]);
                command.args(["-timeout=10", "-rss_limit_mb=2048", "-max_len=2048"]);
                command
            }
            Self::Proptest(_) => {
                let test = format!("tests::{target}");
                let mut command = proptest(host, &["--", "--exact", &test, "--nocapture"]);
                command.env("PROPERTY_SECONDS", seconds.to_string());
                command
            }
        }
    }

    /// Searches in `target`, and returns the end of the engine with its messages.
    fn output(&self, host: &Host, seconds: u64, target: &str) -> Result<Output> {
        // A backtrace would hide the message of the violated property.
        process::output(self.search(host, seconds, target).env("RUST_BACKTRACE", "0"))
    }
}

fn search(host: &Host, engine: &Engine, seconds: u64, targets: &[String]) -> Result<()> {
    // The time of the search does not include the build.
    process::run(&mut engine.build(host))?;
    let mut broken = Vec::new();
    // An engine searches on one processor.
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    for group in targets.chunks(at_once) {
        let outputs: Result<Vec<Output>> = thread::scope(|scope| {
            let searches = group
                .iter()
                .map(|target| scope.spawn(move || engine.output(host, seconds, target)));
            let searches: Vec<_> = searches.collect();
            let joined = searches.into_iter().map(ScopedJoinHandle::join);
            joined.map(|output| output.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for (target, output) in group.iter().zip(outputs?) {
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            if output.status.success() {
                print_line(&format!("{target}: {}", runs(&printed).unwrap_or("passed")));
            } else {
                print_line(&failure(&printed));
                broken.push(target.as_str());
            }
        }
    }
    if !broken.is_empty() {
        bail!("a property is violated: {}", broken.join(", "));
    }
    Ok(())
}

fn cargo_fuzz(host: &Host, path: &OsStr, units: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    let (task, arguments) = arguments.split_at(1);
    command.args(["run", "nightly", "cargo", "fuzz"]).args(task).args(["--fuzz-dir", FOLDER]);
    command.args(["--codegen-units", units]);
    command.args(arguments).env("PATH", path);
    command.current_dir(&host.root).stdin(Stdio::null());
    command
}

fn proptest(host: &Host, arguments: &[&str]) -> Command {
    let mut command = process::cargo(host, &["test"]);
    command.args(["--package", "image-swap-properties", "--lib"]).args(arguments);
    command
}

/// Returns the line with the number of inputs.
fn runs(printed: &str) -> Option<&str> {
    printed.lines().rev().find(|line| line.starts_with("Done ") || line.ends_with(" runs"))
}

/// Returns the last panic and the lines below it. proptest shrinks its input, so the last
/// panic has the smallest one.
fn failure(printed: &str) -> String {
    let start = printed.rfind("panicked at").map_or(0, |at| printed[..at].rfind('\n').unwrap_or(0));
    printed[start..].lines().take(SHOWN).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn all_targets_are_searched_by_default() {
        let known = || words("map reference");
        assert_eq!(chosen(words(""), known()).unwrap(), known());
        assert_eq!(chosen(words("map"), known()).unwrap(), words("map"));
    }

    #[test]
    fn unknown_target_is_refused() {
        let error = chosen(words("mpa"), words("map reference")).unwrap_err();
        assert_eq!(error.to_string(), "expected a target (map, reference), found \"mpa\"");
    }

    #[test]
    fn last_panic_of_a_failure_is_shown() {
        let printed = "#7 NEW\nthread panicked at a:\nlarge\nthread panicked at b:\nsmall\nend\n";
        assert_eq!(failure(printed).trim_start(), "thread panicked at b:\nsmall\nend");
        assert_eq!(failure("error: no such target\n"), "error: no such target");
    }

    #[test]
    fn number_of_runs_is_found_for_both_engines() {
        let done = "Done 12 runs in 3 second(s)";
        assert_eq!(runs(&format!("#1 INITED\n{done}\n")), Some(done));
        assert_eq!(runs("running 1 test\n2048 runs\ntest tests::map ... ok\n"), Some("2048 runs"));
        assert_eq!(runs("nothing"), None);
    }
}
