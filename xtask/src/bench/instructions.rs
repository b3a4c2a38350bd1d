//! Instructions of one case, counted by callgrind: no clock, no noise.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    host::{Host, on_path},
    process,
};

pub(super) fn can_be_counted() -> bool {
    on_path("valgrind").is_some()
}

/// What one run of `case` costs: what two runs cost, less what one costs with
/// all that is done before it.
pub(super) fn count(host: &Host, program: &Path, case: &str) -> Result<Option<f64>, String> {
    if !can_be_counted() {
        return Ok(None);
    }
    let once = of_run(host, program, &[case])?;
    let twice = of_run(host, program, &[case, case])?;
    Ok(Some(twice - once))
}

fn of_run(host: &Host, program: &Path, cases: &[&str]) -> Result<f64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.arg("--once").args(cases).current_dir(&host.root).stdin(Stdio::null());
    let output = process::output(&mut command)?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let collected = printed.lines().find_map(collected);
    collected.filter(|_| output.status.success()).ok_or_else(|| {
        format!("expected a count of instructions from valgrind, found:\n{}", printed.trim_end())
    })
}

/// `==123== Collected : 4567`.
fn collected(line: &str) -> Option<f64> {
    let (_, count) = line.split_once("Collected : ")?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn the_count_is_what_callgrind_collected() {
        assert_eq!(collected("==7== Collected : 123456"), Some(123_456.0));
        assert_eq!(collected("==7== Events    : Ir"), None);
    }
}
