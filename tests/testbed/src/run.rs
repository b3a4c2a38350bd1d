//! Commands that run to their end.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{error::Error, progress::Progress};

/// A variable of programs in Go: less garbage collection. An API server starts with a quarter less
/// processor time, and holds 80 MB more.
pub(crate) const LESS_COLLECTION: (&str, &str) = ("GOGC", "400");

/// The number of output lines that an error repeats.
const LINES: usize = 30;
/// The interval between announcements of a long step.
const ANNOUNCE: Duration = Duration::from_secs(30);

/// Runs `command` and returns its standard output.
///
/// # Errors
/// It cannot be started, or fails; contains the end of its output.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let shown = shown(command);
    let output =
        command.stdin(Stdio::null()).output().map_err(Error::io(format!("start `{shown}`")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(Error::Command {
        command: shown,
        status: output.status,
        output: tail(&String::from_utf8_lossy(&printed)),
    })
}

/// Runs one step of a long work: announced, its output appended to `log`.
pub(crate) fn step(
    progress: Progress<'_>,
    name: &str,
    command: &mut Command,
    log: &Path,
) -> Result<(), Error> {
    progress(name);
    let open = || File::options().create(true).append(true).open(log);
    let (out, err) = open()
        .and_then(|file| Ok((file.try_clone()?, file)))
        .map_err(Error::io(format!("open {}", log.display())))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(Error::io(format!("start `{}`", shown(command))))?;
    let start = Instant::now();
    let mut announced = start;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(Error::io(format!("wait for {name}")))? {
            break status;
        }
        if announced.elapsed() >= ANNOUNCE {
            announced = Instant::now();
            progress(&format!("{name}: {}", minutes(start.elapsed())));
        }
        thread::sleep(Duration::from_millis(100));
    };
    if status.success() {
        return Ok(());
    }
    Err(Error::Step { step: name.into(), status, log: log.into(), output: tail_of(log) })
}

/// Returns the command line in readable form.
fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Returns the last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// Returns the last lines of a file; empty if it cannot be read.
pub(crate) fn tail_of(path: &Path) -> String {
    fs::read(path).map(|bytes| tail(&String::from_utf8_lossy(&bytes))).unwrap_or_default()
}

/// Formats a time as `3 min 05 s`.
pub(crate) fn minutes(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}
