//! `cargo xtask bench`: measures of speed and size, with their bounds.
//!
//! A benchmark is a program (`harness = false`) that prints one `name value` a line. Ratios
//! within one run are preferred, since they mean the same on every machine. Lines with `#`
//! are for people. The line `# case nanoseconds` names a case, which `--once case` runs
//! within a function `counted`, so that its instructions can be counted. `IMAGE_SWAP` names
//! the release binary.

mod goal;
mod instructions;
mod program;
pub(crate) mod smoke;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};
use image_swap_testbed::Parts;

use self::goal::Goal;
use crate::{
    executable,
    host::{Host, print_line},
    image::elf,
    process,
};

/// One thing measured.
struct Measure {
    name: String,
    value: f64,
}

/// Measure speed and size, and compare them with their bounds
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fail where a goal is missed
    #[arg(long)]
    strict: bool,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let missed = run(host)?;
        Ok(if self.strict && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Measures everything, and returns the number of missed goals.
fn run(host: &Host) -> Result<usize> {
    // A missing part is reported before minutes of building and measuring.
    let parts = Parts::present()?;
    parts.servers()?;
    parts.helm()?;
    let binary = executable::build(host, "build", &["--release", "--package", "image-swap"])?;
    let mut measures = vec![size(&binary)?];
    for program in program::all(host)? {
        print_line(&host.styled("1;36", &format!("\n=== {}", program.name)));
        let mut command = Command::new(&program.path);
        let printed = process::text(command.arg("--bench").env("IMAGE_SWAP", &binary))?;
        print_line(printed.trim_end());
        measures.extend(printed.lines().filter_map(measure));
        let cases = printed.lines().filter_map(case);
        for case in cases.filter(|_| instructions::can_be_counted()) {
            let name = format!("instructions/{case}");
            measures.push(Measure { name, value: instructions::count(host, &program.path, case)? });
        }
    }
    if !instructions::can_be_counted() {
        print_line("instructions are not counted: valgrind is not installed");
    }
    print_line(&host.styled("1;36", "\n=== measures"));
    let (lines, missed) = table(host, &measures);
    print_line(&lines.join("\n"));
    Ok(missed)
}

/// Returns the size of the stripped release binary.
///
/// # Errors
/// The binary has symbols, or cannot be read.
fn size(path: &Path) -> Result<Measure> {
    let binary = fs::read(path).with_context(|| path.display().to_string())?;
    ensure!(
        elf::has_symbols(&binary) == Some(false),
        "{} has symbols: the profile `release` no longer strips it",
        path.display()
    );
    #[expect(clippy::cast_precision_loss, reason = "no binary has 2^52 bytes")]
    let value = binary.len() as f64 / f64::from(1 << 20);
    Ok(Measure { name: "binary/mib".to_owned(), value })
}

/// Parses a line `name value`.
fn measure(line: &str) -> Option<Measure> {
    let (name, value) = line.split_once(' ')?;
    let value = value.parse().ok()?;
    (name != "#").then(|| Measure { name: name.to_owned(), value })
}

/// Returns the name in a line `# case nanoseconds`.
fn case(line: &str) -> Option<&str> {
    let Measure { .. } = measure(line.strip_prefix("# ")?)?;
    line.split(' ').nth(1)
}

/// Returns all measures with their goals, a line each, and the number of missed goals.
fn table(host: &Host, measures: &[Measure]) -> (Vec<String>, usize) {
    let width = measures.iter().map(|measure| measure.name.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut missed = 0;
    for Measure { name, value } in measures {
        let value_shown =
            if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") };
        let (goal, verdict) = match goal::of(name) {
            None => (String::new(), String::new()),
            Some(goal) if goal.is_met(*value) => (goal.to_string(), host.styled("32", "met")),
            Some(goal) => {
                missed += 1;
                (goal.to_string(), host.styled("1;31", "MISSED"))
            }
        };
        let line = format!("{name:width$}  {value_shown:>12}  {goal:18}  {verdict}");
        lines.push(line.trim_end().to_owned());
    }
    for Goal { name, .. } in goal::GOALS {
        if !measures.iter().any(|measure| measure.name == name) {
            missed += 1;
            lines.push(format!("{name:width$}  {:>12}  no benchmark printed it", "-"));
        }
    }
    (lines, missed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_with_symbols_is_refused() {
        let error = size(&std::env::current_exe().unwrap()).err().unwrap().to_string();
        assert!(error.ends_with("has symbols: the profile `release` no longer strips it"));
    }

    #[test]
    fn program_has_no_profile_of_its_own() {
        // With one, cargo ignores `strip` of the profile `release`.
        let manifest = include_str!("../../../Cargo.toml");
        assert!(
            manifest.contains("image-swap-core.opt-level") && manifest.contains("strip = true")
        );
        assert!(!manifest.contains("image-swap.opt-level"));
    }

    #[test]
    fn lines_are_measures_cases_or_comments() {
        let read = measure("admission/rules-100000 1.02").map(|found| (found.name, found.value));
        assert_eq!(read, Some(("admission/rules-100000".to_owned(), 1.02)));
        assert!(measure("# create 5210").is_none());
        assert_eq!(case("# create 5210"), Some("create"));
        assert_eq!(case("# bytes: create 11000, update 12000; nanoseconds a run:"), None);
        assert_eq!(case("create 1.0"), None);
        assert!(measure("warming up").is_none());
    }

    #[test]
    fn goal_without_measure_is_missed() {
        let host = Host { root: "/".into(), cache: "/".into(), ci: false, colour: false };
        assert_eq!(table(&host, &[]).1, goal::GOALS.len());
        let met = Measure { name: "binary/mib".to_owned(), value: 4.0 };
        let (lines, missed) = table(&host, &[met]);
        assert_eq!(missed, goal::GOALS.len() - 1);
        assert_eq!(lines[0], "binary/mib             4  <= 12               met");
    }
}
