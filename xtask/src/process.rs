//! Other programs.

use std::{
    env,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::host::Host;

/// The cargo that runs this task, in the checkout.
pub(crate) fn cargo(host: &Host, subcommand: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(subcommand).current_dir(&host.root).stdin(Stdio::null());
    // Where nobody looks at the diff, a lock file that would change is a mistake.
    if host.ci && !matches!(subcommand, ["fmt" | "install"]) {
        command.arg("--locked");
    }
    command
}

/// Runs `command`; it prints where we print.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| not_started(command))?;
    if !status.success() {
        bail!("`{}`: {status}", shown(command));
    }
    Ok(())
}

/// Runs `command` and keeps what it prints.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| not_started(command))
}

/// What `command` prints on standard output, if it succeeds.
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

/// The command as somebody would type it.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program.file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(std::ffi::OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_how_it_ended() {
        let error = run(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c exit 3`: exit status: 3");
        let error = run(&mut Command::new("/nonexistent/tool")).unwrap_err();
        assert_eq!(error.to_string(), "`tool` could not be started");
    }

    #[test]
    fn the_text_is_what_stands_on_standard_output() {
        let text = text(Command::new("/bin/sh").args(["-c", "echo a; echo b >&2"]));
        assert_eq!(text.unwrap(), "a\n");
    }
}
