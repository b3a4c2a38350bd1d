//! Time limits of a connection.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{Activity, NONE, RequestStage};
use crate::limits::Limits;

/// A reason to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The client sends nothing, or too slowly.
    Silent,
    /// The client does not read.
    Unread,
}

impl Activity {
    /// Returns the time without a request; `None` while there is one.
    fn idle_for(&self) -> Option<Duration> {
        (self.requests.load(Relaxed) == 0).then(|| self.since(self.idle_since.load(Relaxed)))
    }

    /// Returns the time since `moment`.
    fn since(&self, moment: u64) -> Duration {
        Duration::from_millis(self.memory.now().saturating_sub(moment))
    }

    /// Waits until the client exceeds a time limit.
    pub(crate) async fn expired(&self, limits: &Limits) -> Expired {
        loop {
            match self.patience(limits) {
                Ok(patience) => tokio::time::sleep(patience).await,
                Err(expired) => return expired,
            }
        }
    }

    /// Returns the time until the next check of the limits.
    ///
    /// The time is at most the limit of a head or an answer. One that begins during the wait is
    /// noticed within twice its limit, so a request needs no timer of its own.
    fn patience(&self, limits: &Limits) -> Result<Duration, Expired> {
        let unsent = self.unsent_since.load(Relaxed);
        let answers = self.oldest_answer();
        let oldest = answers.into_iter().chain((unsent != NONE).then_some(unsent)).min();
        let unread = oldest
            .map_or(Some(limits.answer), |since| limits.answer.checked_sub(self.since(since)));
        let unread = unread.ok_or(Expired::Unread)?;
        let head = self.head_since.load(Relaxed);
        let silent = match self.idle_for() {
            None => Some(limits.header),
            Some(idle) if head == NONE => limits.idle.checked_sub(idle),
            Some(_) => limits.header.checked_sub(self.since(head)),
        };
        let silent = silent.ok_or(Expired::Silent)?;
        // A millisecond more, because moments are truncated to milliseconds.
        Ok(silent.min(unread).min(limits.header) + Duration::from_millis(1))
    }

    /// Returns the moment of the oldest unread answer; `None` if there is none.
    fn oldest_answer(&self) -> Option<u64> {
        if self.requests.load(Relaxed) == 0 {
            return None;
        }
        let open = self.open();
        let answers = open.requests.iter().filter(|one| one.stage == RequestStage::Answer);
        answers.map(|one| one.since).min()
    }

    /// Waits until the connection has had no request for `time` from now on.
    pub(crate) async fn quiet(&self, time: Duration) {
        let begun = Instant::now();
        loop {
            let idle = self.idle_for().map_or(Duration::ZERO, |idle| idle.min(begun.elapsed()));
            let Some(left) = time.checked_sub(idle) else { return };
            // A millisecond more, because moments are truncated to milliseconds.
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
    }
}
