//! The process in the pod: it starts the host process, and waits for its result.

use std::{
    thread,
    time::{Duration, Instant},
};

use image_swap_core::status::RestartResult;

use crate::{
    host::Host,
    restart::{
        directory::{self, RestartDirectory, RestartDirectoryError},
        launch::{advice, launch},
    },
    transaction::Progress,
};

/// The time for a host process to complete its order. The pod has 15 minutes.
const PATIENCE: Duration = Duration::from_mins(13);
/// The time for a host process to start.
const START: Duration = Duration::from_secs(30);
/// The time without a lock after which a host process that had it has ended: a pod that starts one
/// has the lock first.
const GAP: Duration = Duration::from_secs(5);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// The reason why an order has no result.
#[derive(Debug, thiserror::Error)]
pub enum PodRestartError {
    /// The order is another one, or absent.
    #[error(
        "{path}: expected the order {expected}, found {found}; the agent of the node writes it \
         with --restart rolling",
        path = directory::order()
    )]
    Order {
        /// The number of the order to apply.
        expected: u64,
        /// The order that was found, in words.
        found: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    Directory(#[from] RestartDirectoryError),
    /// The host process cannot be started.
    #[error("cannot start the restart outside of the pod: {0}")]
    Launch(String),
    /// The host process has ended, or did not start.
    #[error("the process outside of the pod ended without a result; {0}")]
    NoResult(String),
    /// The host process runs for too long.
    #[error(
        "the process outside of the pod has no result after {minutes} minutes; {0}",
        minutes = PATIENCE.as_secs() / 60
    )]
    Late(String),
}

/// Starts the host process for the order `number` of `host` outside of the pod, unless one runs,
/// and waits for the result. `command` restarts the runtime; `None` for that of systemd.
///
/// The calling process has one thread.
///
/// # Errors
/// The reason why there is no result.
pub fn restart_in_pod(
    host: &Host,
    number: u64,
    command: Option<&str>,
    progress: Progress<'_>,
) -> Result<RestartResult, PodRestartError> {
    let directory = RestartDirectory::new(host);
    let found = match directory.order()? {
        Some(order) if order.number == number => None,
        Some(order) => Some(format!("the order {}", order.number)),
        None => Some("none".to_owned()),
    };
    if let Some(found) = found {
        return Err(PodRestartError::Order { expected: number, found });
    }
    match directory.try_lock()? {
        Some(lock) => {
            // A result of an earlier attempt.
            directory.remove_result()?;
            directory.install()?;
            progress("starting the restart outside of this pod");
            launch(host, number, command).map_err(PodRestartError::Launch)?;
            drop(lock);
        }
        None => progress("a process outside of this pod applies an order: waiting for its result"),
    }
    wait(host, number)
}

/// Waits for the result of the order `number`.
fn wait(host: &Host, number: u64) -> Result<RestartResult, PodRestartError> {
    let directory = RestartDirectory::new(host);
    let start = Instant::now();
    let mut last_seen = None;
    loop {
        // The result is written before the lock is released.
        if directory.is_locked() {
            last_seen = Some(Instant::now());
        }
        if let Some(result) = directory.result(number)? {
            return Ok(result);
        }
        let has_ended = match last_seen {
            Some(seen) => seen.elapsed() >= GAP,
            None => start.elapsed() >= START,
        };
        if has_ended {
            return Err(PodRestartError::NoResult(advice(host)));
        }
        if start.elapsed() >= PATIENCE {
            return Err(PodRestartError::Late(advice(host)));
        }
        thread::sleep(PAUSE);
    }
}
