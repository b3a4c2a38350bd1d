//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod await_restore;
mod candidate;
pub(crate) mod check;
pub(crate) mod completions;
mod connect;
pub(crate) mod controller;
pub(crate) mod convert;
pub(crate) mod deregister;
pub(crate) mod explain;
pub(crate) mod fleet;
pub(crate) mod man;
mod named_release;
pub(crate) mod node;
pub(crate) mod render;
pub(crate) mod rewrite;
mod slots;
pub(crate) mod status;
pub(crate) mod webhook;

use std::future::Future;

use tokio::runtime;

use crate::failure::{Failure, reason};

/// Runs `work` to its end on this thread, and its tasks on `threads` other threads.
fn block_on_threads<T>(
    threads: usize,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let broken = |error| Failure::Broken(format!("cannot start the runtime: {}", reason(&error)));
    runtime.map_err(broken)?.block_on(work)
}

/// Runs `work` to its end on this thread.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::broken)?.block_on(work)
}
