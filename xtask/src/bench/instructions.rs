//! Instructions of one case, counted by callgrind, which no other load disturbs.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{
    host::{Host, on_path},
    process,
};

pub(super) fn can_be_counted() -> bool {
    on_path("valgrind").is_some()
}

/// Counts the instructions within the function `counted` while `case` runs once.
pub(super) fn count(host: &Host, program: &Path, case: &str) -> Result<f64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--toggle-collect=*::counted"]);
    command.arg("--callgrind-out-file=/dev/null").arg(program).args(["--once", case]);
    command.current_dir(&host.root).stdin(Stdio::null());
    let output = process::output(&mut command)?;
    let printed = String::from_utf8_lossy(&output.stderr);
    match printed.lines().find_map(collected) {
        Some(count) if output.status.success() && count > 0.0 => Ok(count),
        _ => bail!("expected a count of instructions from valgrind, found:\n{printed}"),
    }
}

/// Returns the count in a line such as `==123== Collected : 4567`.
fn collected(line: &str) -> Option<f64> {
    let (_, count) = line.split_once("Collected : ")?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn count_is_read_from_callgrind_output() {
        assert_eq!(collected("==7== Collected : 123456"), Some(123_456.0));
        assert_eq!(collected("==7== Events    : Ir"), None);
    }
}
