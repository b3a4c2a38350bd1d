//! A status that is printed at each change: `--watch`.

mod frame;
mod watched;

use std::{
    io::{self, IsTerminal as _, Write as _},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use self::frame::FrameWriter;
pub(crate) use self::watched::WatchedStatus;
use crate::{
    failure::Failure,
    output::{self, Output},
};

/// The wait between two looks at the cluster.
const INTERVAL: Duration = Duration::from_secs(2);

/// Prints the status that `read` returns; if `is_watched`, each change of it until a signal ends
/// that.
///
/// # Errors
/// The first status cannot be read, or the output cannot be written.
pub(crate) async fn show<T: WatchedStatus>(
    read: impl AsyncFn() -> Result<T, Failure>,
    is_watched: bool,
    output: Output,
) -> Result<ExitCode, Failure> {
    if is_watched {
        return Box::pin(follow(read, output)).await;
    }
    let status = read().await?;
    let mut out = output::stdout();
    match output {
        Output::Json => output::json_line(&mut out, &status)?,
        Output::Text => write!(out, "{}", status.text())?,
    }
    output::end(&mut out, status.is_healthy())
}

/// Shows each change of the status that `read` returns, until a signal ends that. Returns the exit
/// code of the last status.
///
/// # Errors
/// The first status cannot be read, or the output cannot be written.
async fn follow<T: WatchedStatus>(
    read: impl AsyncFn() -> Result<T, Failure>,
    output: Output,
) -> Result<ExitCode, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::broken)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::broken)?;
    let mut stop = pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let stdout = io::stdout();
    let mut frames = FrameWriter::new(output, stdout.is_terminal(), output::stdout_colours());
    let mut last: Option<Result<bool, String>> = None;
    loop {
        let status = tokio::select! {
            biased;
            () = &mut stop => return Ok(exit_code(last.as_ref())),
            status = read() => status,
        };
        last = Some(match status {
            Ok(status) => {
                if let Some(frame) = frames.next(&status)? {
                    let mut out = stdout.lock();
                    out.write_all(&frame)?;
                    out.flush()?;
                }
                Ok(status.is_healthy())
            }
            // The cluster was there before.
            Err(failure) if last.is_some() => {
                let message = failure.to_string();
                if !matches!(&last, Some(Err(shown)) if *shown == message) {
                    output::fail(&failure);
                    frames.interrupt();
                }
                Err(message)
            }
            Err(failure) => return Err(failure),
        });
        tokio::select! {
            biased;
            () = &mut stop => return Ok(exit_code(last.as_ref())),
            () = sleep(INTERVAL) => {}
        }
    }
}

/// Returns the exit code for the `last` status: true if it is healthy, or the reason why
/// it could not be read.
fn exit_code(last: Option<&Result<bool, String>>) -> ExitCode {
    match last {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(_)) | None => ExitCode::from(2),
    }
}
