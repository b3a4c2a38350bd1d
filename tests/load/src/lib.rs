//! The load generator of the benchmarks.
//!
//! A [`LoadClient`] sends one kind of request. [`closed`] sends requests one after another on
//! several clients and counts answers. [`open`] sends requests at a given rate and measures
//! latencies. [`http`] contains clients of an admission server, and [`constant`] servers to compare
//! it with. [`registry`] is a registry that controllers check. [`simulator`] has API servers of workload
//! clusters. [`process`] and [`audit`] observe programs under test.

pub mod audit;
pub mod constant;
pub mod http;
mod loops;
pub mod process;
pub mod registry;
pub mod sample;
pub mod simulator;
pub mod statistics;

use std::error::Error;

use tokio::runtime::{Builder, Runtime};

pub use self::loops::{LoadClient, OpenRound, closed, open};

/// The result of a step of a benchmark.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Returns a runtime with `workers` threads.
///
/// # Errors
/// Returns the system's error if no thread can be started.
pub fn runtime(workers: usize) -> Outcome<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}
