//! Child processes.

use std::{
    env,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::host::Host;

/// The number of characters of an argument that a message repeats.
const LONG: usize = 100;

/// Returns the cargo that runs this task, in the checkout. It never changes `Cargo.lock`.
pub(crate) fn cargo(host: &Host, subcommand: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(subcommand);
    if !matches!(subcommand, ["fmt" | "install"]) {
        command.arg("--locked");
    }
    in_checkout(host, &mut command);
    command
}

/// Makes `command` run in the checkout, without input.
pub(crate) fn in_checkout<'c>(host: &Host, command: &'c mut Command) -> &'c mut Command {
    command.current_dir(&host.root).stdin(Stdio::null())
}

/// Runs `command`, which prints to the output of this process.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    if !status.success() {
        bail!("`{}`: {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and returns its output.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| not_started(command))
}

/// Runs `command` and returns its standard output. A failure is an error.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let output = output(command.stderr(Stdio::inherit()))?;
    if !output.status.success() {
        bail!("`{}`: {}", shown(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn not_started(command: &Command) -> String {
    format!("`{}` could not be started", shown(command))
}

/// Formats the command line for a message, long arguments shortened.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    let short = |word: &std::ffi::OsStr| {
        let word = word.to_string_lossy();
        match word.char_indices().nth(LONG) {
            Some((end, _)) => format!("{}...", &word[..end]),
            None => word.into_owned(),
        }
    };
    words.map(short).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_names_command_and_exit_status() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3`: exit status: 3");
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err();
        assert_eq!(error.to_string(), "`tool` could not be started");
    }

    #[test]
    fn long_argument_is_shortened() {
        let long = "x".repeat(LONG + 1);
        let command = shown(Command::new("/bin/tool").args(["a", &long]));
        assert_eq!(command, format!("tool a {}...", &long[..LONG]));
    }

    #[test]
    fn text_is_only_standard_output() {
        let text = text(Command::new("/bin/sh").args(["-c", "echo a; echo b >&2"]));
        assert_eq!(text.unwrap(), "a\n");
    }
}
