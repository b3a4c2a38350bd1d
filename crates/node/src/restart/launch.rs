//! Starts the host process outside of the pod.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::{files::HostPath, host::Host, restart::directory};

/// The directory that exists if systemd is the first process of a host.
///
/// Source: `sd_booted(3)`.
const SYSTEMD: &str = "/run/systemd/system";
/// The unit of the host process.
pub(super) const UNIT: &str = "image-swap-restart";
/// The verb of image-swap that calls [`crate::restart::detach::detach`].
const VERB: [&str; 2] = ["node", "detach"];
/// The root directory of the host's first process, in a pod that sees the processes of the host.
const FIRST_ROOT: &str = "/proc/1/root";

/// Returns true if systemd starts the processes of `host`.
pub(super) fn has_systemd(host: &Host) -> bool {
    host.at(&SYSTEMD.into()).is_ok_and(|place| place.is_dir())
}

/// Starts the host process for the order `number` outside of the pod.
///
/// # Errors
/// The reason in words.
pub(super) fn launch(host: &Host, number: u64, command: Option<&str>) -> Result<(), String> {
    let words = words(number, command);
    if has_systemd(host) { by_systemd(host, &words) } else { detached(host, &words) }
}

/// Returns the program of the host and its arguments.
fn words(number: u64, command: Option<&str>) -> Vec<String> {
    let program = directory::program().as_str().to_owned();
    let mut words = vec![program, "node".into(), "restart-host".into()];
    words.push(format!("--number={number}"));
    words.extend(command.map(|command| format!("--restart-command={command}")));
    words
}

/// Returns the arguments of `systemd-run` that start `words`. systemd expands variables in them.
fn unit(words: &[String]) -> Vec<String> {
    let flags = [format!("--unit={UNIT}"), "--collect".into(), "--".into()];
    flags.into_iter().chain(words.iter().map(|word| word.replace('$', "$$"))).collect()
}

/// Starts `words` as a transient unit. The first process starts it in the namespaces of the host.
fn by_systemd(host: &Host, words: &[String]) -> Result<(), String> {
    let mut command = host.command("systemd-run");
    let output = command.args(unit(words)).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot run systemd-run: {error}"))?;
    let message = String::from_utf8_lossy(&output.stderr);
    // Another pod has started the unit a moment ago.
    let is_running = ["already exists", "already loaded"].iter().any(|it| message.contains(it));
    if output.status.success() || is_running {
        return Ok(());
    }
    Err(format!("systemd-run failed ({}): {}", output.status, message.trim()))
}

/// Starts `words` in a session, the mount namespace of the host's first process and cgroups of its
/// own.
fn detached(host: &Host, words: &[String]) -> Result<(), String> {
    let root = host.root().path();
    let found = match is_same(Path::new(FIRST_ROOT), root) {
        Ok(true) => None,
        Ok(false) => Some("another one".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(found) = found {
        return Err(format!(
            "expected {} to be {FIRST_ROOT}, found {found}; the pod needs hostPID, privileged and \
             the root directory of the host",
            root.display()
        ));
    }
    let io = |error: io::Error| format!("cannot start a process: {error}");
    let mut command = Command::new("/proc/self/exe");
    command.args(VERB).arg("--").args(words);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(io)?;
    let mut message = String::new();
    // The pipe closes when the program of the host starts.
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut message).map_err(io)?;
    }
    let message = message.trim_end();
    if message.is_empty() {
        return Ok(());
    }
    Err(message.strip_prefix("error: ").unwrap_or(message).to_owned())
}

/// Returns true if both paths are the same directory.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::metadata(one)?, fs::metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Returns the advice of an administrator who looks for the output of the host process.
pub(super) fn advice(host: &Host) -> String {
    if has_systemd(host) {
        format!("run `journalctl --unit {UNIT}` on the host")
    } else {
        let log: HostPath = directory::log();
        format!("read {log} on the host")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::root::Root;

    #[test]
    fn words_of_the_host_process_never_change() {
        let program = "/var/lib/image-swap/restart/image-swap";
        assert_eq!(words(7, None), [program, "node", "restart-host", "--number=7"]);
        let expected = [program, "node", "restart-host", "--number=7", "--restart-command=a b"];
        assert_eq!(words(7, Some("a b")), expected);
        let expected =
            ["--unit=image-swap-restart", "--collect", "--", program, "--restart-command=$$(a)"];
        assert_eq!(unit(&[program.into(), "--restart-command=$(a)".into()]), expected);
    }

    #[test]
    fn another_directory_is_not_the_host() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(Root::new(root.path()).unwrap());
        assert!(!has_systemd(&host));
        let error = launch(&host, 7, None).unwrap_err();
        assert!(error.contains("hostPID"), "{error}");
        assert!(advice(&host).contains("restart.log"));
        fs::create_dir_all(root.path().join("run/systemd/system")).unwrap();
        assert!(has_systemd(&host));
        assert!(advice(&host).contains("journalctl --unit image-swap-restart"));
    }
}
