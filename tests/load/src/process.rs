//! Programs under test.

use std::{ffi::OsString, fs, net::TcpStream, path::Path, time::Duration};

use image_swap_testbed::{Port, Process, Wait, until};

use crate::Outcome;

const PATIENCE: Duration = Duration::from_mins(1);

/// Starts `program`, and returns when it listens at `port`.
///
/// # Errors
/// Returns an error if the program cannot be started, ends, or does not listen in time.
pub fn start<A: Into<OsString>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    port: &Port,
    directory: &Path,
) -> Outcome<Process> {
    let number = port.number();
    let log = directory.join(format!("{number}.log"));
    let mut process = Process::new("the program under test", program, log).arguments(arguments);
    process.start()?;
    until(&format!("an answer at port {number}"), PATIENCE, || {
        process.check()?;
        let connected = TcpStream::connect(("127.0.0.1", number));
        connected.map(drop).map_err(|error| Wait::NotYet(error.to_string()))
    })?;
    Ok(process)
}

/// Returns a line of `/proc/PID/status` (proc(5)) in MiB.
///
/// # Errors
/// Returns an error if the process has ended, or there is no such line.
pub fn memory(process: &Process, label: &str) -> Outcome<f64> {
    let pid = process.pid().ok_or("no process")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(label));
    let line = line.ok_or("no such line")?.trim().trim_end_matches(" kB");
    Ok(line.parse::<f64>()? / 1024.0)
}

/// Returns the CPU time of a process in seconds: `utime` and `stime` of proc(5), in ticks of
/// 10 ms.
///
/// # Errors
/// Returns an error if the process has ended.
pub fn cpu(process: &Process) -> Outcome<f64> {
    let pid = process.pid().ok_or("no process")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the name, in parentheses, and may hold anything.
    let fields = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace();
    let ticks = fields.skip(11).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks / 100.0)
}
