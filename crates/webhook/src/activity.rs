//! Work of one connection, so that it can end when its time is up.

use std::{
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{ledger::Ledger, limits::Limits};

/// A moment that has not come.
const NONE: u64 = u64::MAX;

/// Work of one connection.
///
/// hyper's own header timeout also runs while a connection is idle, and HTTP/2
/// has none; so bytes and requests are observed here, and [`Self::expired`]
/// distinguishes them.
#[derive(Debug)]
pub(crate) struct Activity {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// See [`Limits::linger`].
    linger: Duration,
    /// Beginning of the millisecond counts below; one moment for all connections of
    /// a listener.
    origin: Instant,
    /// Beginning of the connection.
    accepted: u64,
    /// Set once it had a request.
    used: AtomicBool,
    /// Requests that have no answer yet.
    requests: AtomicU32,
    /// Beginning of the time without a request.
    idle_since: AtomicU64,
    /// Arrival of the first byte of a request whose headers are not complete.
    head_since: AtomicU64,
    /// Moment since which the client takes no byte that is written to it.
    stalled_since: AtomicU64,
    /// Bytes received since the last head, or piece of a body, was complete.
    received: AtomicUsize,
    /// Set while the ledger counts some of them.
    input_counted: AtomicBool,
    /// Set once it was requested to make room.
    leaving: AtomicBool,
    /// Notified when others need its place.
    leave: Notify,
    /// Notified when it has to go at once.
    pub(crate) cut: Notify,
    ledger: Mutex<Ledger>,
}

/// Reason for which a connection ends that had its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// It had no request for too long, or sends one too slowly.
    Idle,
    /// The client does not read what is written to it.
    Stalled,
}

impl Activity {
    /// Starts the record of a connection that was just accepted.
    pub(crate) fn new(address: IpAddr, linger: Duration, origin: Instant) -> Self {
        let accepted = milliseconds(origin.elapsed());
        Self {
            address,
            linger,
            origin,
            accepted,
            used: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            idle_since: AtomicU64::new(accepted),
            head_since: AtomicU64::new(NONE),
            stalled_since: AtomicU64::new(NONE),
            received: AtomicUsize::new(0),
            input_counted: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            leave: Notify::new(),
            cut: Notify::new(),
            ledger: Mutex::default(),
        }
    }

    /// Returns the milliseconds since the listener's beginning.
    pub(crate) fn now(&self) -> u64 {
        milliseconds(self.origin.elapsed())
    }

    /// Returns its bytes, for the moment that the guard lives.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing panics while holding it.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that bytes of requests came. For HTTP/1.1 alone, where bytes outside
    /// a request begin the next one. In HTTP/2 they may as well be a ping.
    pub(crate) fn read(&self) {
        if self.requests.load(Relaxed) == 0 && self.head_since.load(Relaxed) == NONE {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// Records that `bytes` came from the network.
    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes, Relaxed);
    }

    /// Returns the bytes that came since the last head or piece of a body.
    pub(crate) fn unconsumed(&self) -> usize {
        self.received.load(Relaxed)
    }

    /// Records that all that came has reached a request; returns true if
    /// the ledger counts some of it.
    pub(crate) fn consumed(&self) -> bool {
        self.received.store(0, Relaxed);
        self.input_counted.load(Relaxed) && self.input_counted.swap(false, Relaxed)
    }

    /// Records that the ledger counts received bytes.
    pub(crate) fn count_input(&self) {
        self.input_counted.store(true, Relaxed);
    }

    /// Records that the client takes no more bytes; returns true if it did before.
    pub(crate) fn stalls(&self) -> bool {
        let first = self.is_flowing();
        if first {
            self.stalled_since.store(self.now(), Relaxed);
        }
        first
    }

    /// Records that the client takes bytes; returns true if it did not before.
    pub(crate) fn flows(&self) -> bool {
        let stalled = !self.is_flowing();
        if stalled {
            self.stalled_since.store(NONE, Relaxed);
        }
        stalled
    }

    fn is_flowing(&self) -> bool {
        self.stalled_since.load(Relaxed) == NONE
    }

    /// Records that a request's headers are complete; it has its answer when the
    /// guard drops.
    pub(crate) fn request(&self) -> Busy<'_> {
        self.head_since.store(NONE, Relaxed);
        self.used.store(true, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        Busy(self)
    }

    /// Returns the number of requests without an answer.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Relaxed) as usize
    }

    /// Returns the time that it has been without a request; `None` while it has one.
    fn idle_for(&self) -> Option<Duration> {
        (self.requests.load(Relaxed) == 0).then(|| self.since(self.idle_since.load(Relaxed)))
    }

    /// Returns the beginning of a handshake or head that is not complete, of a
    /// connection without a request.
    pub(crate) fn unfinished_since(&self) -> Option<u64> {
        if self.requests.load(Relaxed) > 0 {
            None
        } else if !self.used.load(Relaxed) {
            Some(self.accepted)
        } else {
            let since = self.head_since.load(Relaxed);
            (since != NONE).then_some(since)
        }
    }

    /// Returns the moment since which the client takes no bytes.
    pub(crate) fn stalled_since(&self) -> Option<u64> {
        let since = self.stalled_since.load(Relaxed);
        (since != NONE).then_some(since)
    }

    /// Returns the time that it has been idle, if it may be closed for the sake of
    /// others; `None` if a request might be lost.
    pub(crate) fn dispensable(&self) -> Option<Duration> {
        let idle = self.idle_for()?;
        (!self.used.load(Relaxed) || idle >= self.linger).then_some(idle)
    }

    fn since(&self, moment: u64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(moment))
    }

    /// Waits until the client has taken longer than it may.
    pub(crate) async fn expired(&self, limits: &Limits) -> Expired {
        loop {
            match self.patience(limits) {
                Ok(patience) => tokio::time::sleep(patience).await,
                Err(expired) => return expired,
            }
        }
    }

    /// Returns the time to wait before the next look, or the reason to end.
    ///
    /// Never longer than a head may take: one that begins meanwhile is
    /// noticed within twice its time, and no request has to set a timer.
    fn patience(&self, limits: &Limits) -> Result<Duration, Expired> {
        let longest = limits.header.min(limits.write);
        // A millisecond more, since the counts are truncated to milliseconds.
        let patience = |left: Duration| left.min(longest) + Duration::from_millis(1);
        let unread = self.ledger().answers.first().map(|answer| answer.since);
        if let Some(since) = self.stalled_since().into_iter().chain(unread).min() {
            let left = limits.write.checked_sub(self.since(since));
            return left.map(patience).ok_or(Expired::Stalled);
        }
        let Some(idle) = self.idle_for() else { return Ok(longest) };
        let head = self.head_since.load(Relaxed);
        let left = if head == NONE {
            limits.idle.checked_sub(idle)
        } else {
            limits.header.checked_sub(self.since(head))
        };
        left.map(patience).ok_or(Expired::Idle)
    }

    /// Waits until it has been without a request for `time`, counted from now on.
    pub(crate) async fn quiet(&self, time: Duration) {
        let begun = Instant::now();
        loop {
            let idle = self.idle_for().map_or(Duration::ZERO, |idle| idle.min(begun.elapsed()));
            let Some(left) = time.checked_sub(idle) else { return };
            // A millisecond more, since the counts are truncated to milliseconds.
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
    }

    /// Requests that it makes room.
    pub(crate) fn ask_to_leave(&self) {
        self.leaving.store(true, Relaxed);
        self.leave.notify_one();
    }

    /// Returns true if it was requested to make room.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Waits until it has to make room. If a request has come meanwhile,
    /// that goes first.
    pub(crate) async fn asked_to_leave(&self) {
        loop {
            self.leave.notified().await;
            if self.dispensable().is_some() {
                return;
            }
            self.leaving.store(false, Relaxed);
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NONE - 1)
}

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Busy<'a>(&'a Activity);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Relaxed);
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_is_not_quiet_while_a_request_has_no_answer() {
        const MOMENT: Duration = Duration::from_millis(1);
        let activity = Activity::new([127, 0, 0, 1].into(), Duration::ZERO, Instant::now());
        let busy = activity.request();
        assert!(timeout(MOMENT * 20, activity.quiet(MOMENT)).await.is_err());
        drop(busy);
        activity.quiet(MOMENT).await;
    }
}
