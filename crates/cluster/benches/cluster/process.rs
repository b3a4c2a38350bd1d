//! Programs under test.

use std::{ffi::OsString, net::TcpStream, path::Path, time::Duration};

use image_swap_load::Outcome;
use image_swap_testbed::{Port, Process, Wait, until};

const PATIENCE: Duration = Duration::from_mins(1);

/// Starts `program`, and returns when it listens at `port`.
pub(crate) fn start<A: Into<OsString>>(
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
