//! What one connection is doing, so that it can be told when its time is up.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use crate::limits::Limits;

/// No request head has begun.
const NONE: u64 = u64::MAX;

/// What one connection is doing.
///
/// hyper's own header timeout also runs while a connection is idle, and HTTP/2
/// has none; so bytes and requests are observed here, and [`Self::expired`]
/// tells the one from the other.
#[derive(Debug)]
pub(crate) struct Activity {
    /// See [`Limits::linger`].
    linger: Duration,
    /// Where the millisecond counts below begin.
    origin: Instant,
    /// Whether it ever had a request.
    used: AtomicBool,
    /// Requests that have no answer yet.
    requests: AtomicU32,
    /// Since when there has been none.
    idle_since: AtomicU64,
    /// When the first byte of a request came whose headers are not complete.
    head_since: AtomicU64,
    /// Others need its place.
    leave: Notify,
}

impl Activity {
    /// A connection that was just accepted.
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            origin: Instant::now(),
            used: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NONE),
            leave: Notify::new(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(NONE - 1)
    }

    /// Bytes came.
    fn read(&self) {
        if self.requests.load(Relaxed) == 0 && self.head_since.load(Relaxed) == NONE {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// A request's headers are complete; it has its answer when the guard drops.
    pub(crate) fn request(&self) -> Busy<'_> {
        self.head_since.store(NONE, Relaxed);
        self.used.store(true, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        Busy(self)
    }

    /// For how long it has been without a request; `None` while it has one.
    fn idle_for(&self) -> Option<Duration> {
        (self.requests.load(Relaxed) == 0).then(|| self.since(&self.idle_since))
    }

    /// Whether it may be closed for the sake of others, and the greater the
    /// rather. `None` if a request might be lost.
    pub(crate) fn dispensable(&self) -> Option<impl Ord + use<>> {
        let idle = self.idle_for()?;
        let unused = !self.used.load(Relaxed);
        (unused || idle >= self.linger).then_some((unused, idle))
    }

    fn since(&self, moment: &AtomicU64) -> Duration {
        Duration::from_millis(self.now().saturating_sub(moment.load(Relaxed)))
    }

    /// Waits until the client has taken longer than it may.
    pub(crate) async fn expired(&self, limits: &Limits) {
        while let Some(patience) = self.patience(limits) {
            tokio::time::sleep(patience).await;
        }
    }

    /// How long to wait before looking again; `None` if it took too long.
    ///
    /// Never longer than a head may take: one that begins while we wait is
    /// noticed within twice its time, and no request has to set a timer.
    fn patience(&self, limits: &Limits) -> Option<Duration> {
        let Some(idle) = self.idle_for() else { return Some(limits.header) };
        let left = if self.head_since.load(Relaxed) == NONE {
            limits.idle.checked_sub(idle)
        } else {
            limits.header.checked_sub(self.since(&self.head_since))
        };
        // A millisecond more, since the counts are truncated to milliseconds.
        left.map(|left| left.min(limits.header) + Duration::from_millis(1))
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

    /// Asks it to make room.
    pub(crate) fn ask_to_leave(&self) {
        self.leave.notify_one();
    }

    /// Waits until it is asked to make room. If a request has come meanwhile,
    /// that goes first.
    pub(crate) async fn asked_to_leave(&self) {
        loop {
            self.leave.notified().await;
            if self.dispensable().is_some() {
                return;
            }
        }
    }
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

/// A stream that reports to an [`Activity`] when bytes come.
///
/// For HTTP/1.1 alone, where bytes outside a request begin the next one. In
/// HTTP/2 they may as well be a ping.
#[derive(Debug)]
pub(crate) struct Observed<S> {
    /// The stream.
    pub(crate) stream: S,
    /// Where it reports to.
    pub(crate) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn it_is_not_quiet_while_a_request_has_no_answer() {
        const MOMENT: Duration = Duration::from_millis(1);
        let activity = Activity::new(Duration::ZERO);
        let busy = activity.request();
        assert!(timeout(MOMENT * 20, activity.quiet(MOMENT)).await.is_err());
        drop(busy);
        activity.quiet(MOMENT).await;
    }
}
