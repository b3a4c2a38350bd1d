//! The command that restarts a runtime.

use std::{
    fs::File,
    io::{Read, Seek},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    process::{Pid, Signal, kill_process_group},
};

use crate::{
    files::HostPath, host::Host, runtime::kind::ContainerRuntime, transaction::error::RestartError,
};

/// systemd gives a service 90 s to stop.
pub(super) const DEADLINE: Duration = Duration::from_mins(2);
/// The number of lines that errors show of the output of a program.
const LINES: usize = 5;
/// The pause between two checks.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// Returns the default command for `runtime`.
pub(super) fn default(host: &Host, runtime: ContainerRuntime) -> String {
    let agent = |unit: &str| {
        ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"]
            .into_iter()
            .any(|dir| {
                let path = HostPath::new(dir).join(&[unit, ".service"].concat());
                host.at(&path).is_ok_and(|path| path.exists())
            })
    };
    let unit = match runtime {
        ContainerRuntime::K3s if agent("k3s-agent") => "k3s-agent",
        ContainerRuntime::Rke2 if agent("rke2-agent") => "rke2-agent",
        ContainerRuntime::Rke2 => "rke2-server",
        other => other.name(),
    };
    format!("systemctl restart {unit}")
}

/// Runs a command line on the host.
pub(crate) fn run(host: &Host, command: &str) -> Result<(), RestartError> {
    let mut shell = host.command("sh");
    shell.args(["-c", command]);
    finish(shell, command)
}

fn finish(mut shell: Command, command: &str) -> Result<(), RestartError> {
    let io = || RestartError::io(format!("run `{command}`"));
    // A pipe would stay open as long as processes that the command leaves running.
    let memory = memfd_create("image-swap", MemfdFlags::CLOEXEC).map_err(|e| io()(e.into()))?;
    let mut output = File::from(memory);
    let mut child = shell
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(io())?)
        .stderr(output.try_clone().map_err(io())?)
        .process_group(0)
        .spawn()
        .map_err(io())?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(io())? {
            break Some(status);
        }
        if start.elapsed() >= DEADLINE {
            break None;
        }
        thread::sleep(PAUSE);
    };
    let how = match status {
        Some(status) if status.success() => return Ok(()),
        Some(status) => status.to_string(),
        None => {
            if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            let _ = child.wait();
            format!("not finished after {} s", DEADLINE.as_secs())
        }
    };
    let mut text = String::new();
    let _ = output.rewind().and_then(|()| output.read_to_string(&mut text));
    let output = format!("{how} {}", tail(&text));
    Err(RestartError::Command { command: command.to_owned(), output: output.trim_end().to_owned() })
}

/// Returns the last lines of the output of a program.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
