//! The steps of a reconciliation. Each is tried; one that fails is reported, and keeps
//! no other from being taken.

use std::time::Duration;

use image_swap_core::status::FailingStep;
use tracing::{error, info};

use super::state::ReconcileState;
use crate::error::Error;

/// The steps of one reconciliation that failed.
#[derive(Default)]
pub(super) struct StepErrors {
    failing: Vec<FailingStep>,
    /// The number of failures that are more than a conflict.
    severe: usize,
    /// The time until a write that was delayed is allowed; `None` if none was delayed.
    pub(super) delayed: Option<Duration>,
}

impl StepErrors {
    /// Returns the value of the step `name`, or notes its error.
    pub(super) fn take<T>(&mut self, name: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(name, &error);
                None
            }
        }
    }

    pub(super) fn add(&mut self, name: &str, error: &Error) {
        if let Error::Paced { seconds, .. } = error {
            self.delay(*seconds);
        } else if !error.is_conflict() {
            self.severe += 1;
        }
        let error = error.to_string();
        if !self.failing.iter().any(|step| step.name == name && step.error == error) {
            self.failing.push(FailingStep { name: name.to_owned(), error });
        }
    }

    /// Notes that a write is allowed after `seconds`.
    pub(super) fn delay(&mut self, seconds: u64) {
        let delay = Duration::from_secs(seconds);
        self.delayed = Some(self.delayed.map_or(delay, |before| before.min(delay)));
    }

    /// Returns the failures to report. Another writer that was quicker is none.
    pub(super) fn report(&self) -> Vec<FailingStep> {
        if self.severe == 0 && self.delayed.is_none() {
            return Vec::new();
        }
        self.failing.iter().map(FailingStep::bounded).collect()
    }

    /// Returns true if no step failed.
    pub(super) fn is_empty(&self) -> bool {
        self.failing.is_empty()
    }

    /// Returns true if other writers were quicker, and nothing else failed.
    pub(super) fn are_conflicts(&self) -> bool {
        !self.is_empty() && self.severe == 0 && self.delayed.is_none()
    }

    /// Logs failures that are new, and the end of failures.
    pub(super) fn log(&self, memory: &mut ReconcileState) {
        let failing = self.report();
        for step in &failing {
            if !memory.failing.contains(step) {
                error!(
                    step = step.name,
                    error = step.error,
                    "a step failed; the other steps continue"
                );
            }
        }
        if failing.is_empty() && !memory.failing.is_empty() {
            info!("all steps succeed again");
        }
        memory.failing = failing;
    }
}
