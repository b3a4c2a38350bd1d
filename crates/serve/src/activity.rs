//! The state of one connection: its requests, its times and its share of the memory.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    limits::{INPUT, Limits, RECEIVED, SMALL_ANSWER, STREAM},
    memory::{Arrival, MemoryBudget, Purpose},
};

/// Value of a moment that is not set.
const NONE: u64 = u64::MAX;
/// Bytes after a request that do not count as the start of another one, such as blanks in headers
/// and chunk sizes.
const SLACK: usize = 1024;

/// The state of one connection.
///
/// hyper's own header timeout also runs while a connection is idle, and HTTP/2 has no such timeout.
/// Bytes and requests are therefore observed here. Moments are milliseconds of
/// [`MemoryBudget::now`].
#[derive(Debug)]
pub(crate) struct Activity {
    /// Memory of the port.
    pub(crate) memory: Arc<MemoryBudget>,
    /// Address by which work is counted.
    pub(crate) peer: IpAddr,
    /// Moment of the connection's arrival.
    accepted: u64,
    /// Moment since which the server waits for the client's handshake; `NONE` while the
    /// client waits for its turn.
    opened: AtomicU64,
    /// All bytes charged to the connection.
    held: AtomicUsize,
    /// Charged bytes of bodies above `COMMON_BODY`.
    large: AtomicUsize,
    /// Charged bytes of the connection itself.
    base: AtomicUsize,
    /// Charged bytes of received data that may still be buffered.
    input: AtomicUsize,
    /// Decrypted HTTP/1.1 bytes that no request has consumed.
    plain: AtomicUsize,
    /// Received bytes that TLS has not decrypted yet.
    sealed: AtomicUsize,
    /// Number of HTTP/2 bodies that wait for room.
    paused: AtomicUsize,
    /// Notified when the last HTTP/2 body has room.
    resumed: Notify,
    /// True while the connection waits for room to begin its first request.
    waits: AtomicBool,
    /// True after the first write.
    wrote: AtomicBool,
    /// True after the handshake.
    handshake_done: AtomicBool,
    /// True after the first request.
    used: AtomicBool,
    /// Number of requests in `open`.
    requests: AtomicU32,
    open: Mutex<OpenRequests>,
    /// Moment since which there is no request.
    idle_since: AtomicU64,
    /// Moment of the first byte of a request with incomplete headers; `NONE` without one.
    head_since: AtomicU64,
    /// Moment since which the client has not read everything; `NONE` if it has.
    unsent_since: AtomicU64,
    /// True after [`Self::give_up`].
    evicted: AtomicBool,
    /// Notified when the connection has to give way, for its task.
    leave: Notify,
    /// Notified when the connection has to give way, for its requests.
    gone: Notify,
}

/// The requests of a connection that are not answered completely.
#[derive(Debug, Default)]
struct OpenRequests {
    /// Number of the next request.
    next: u32,
    requests: Vec<OpenRequest>,
}

/// A request whose answer is not sent completely.
#[derive(Debug)]
struct OpenRequest {
    id: u32,
    stage: RequestStage,
    since: u64,
}

/// The stage of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestStage {
    /// The body is incomplete.
    Body,
    /// The request is complete and has no answer yet.
    Review,
    /// The client has not read the whole answer.
    Answer,
}

/// The state of a connection, which decides its rank when connections have to give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// The handshake is over and no request has begun.
    Unused { since: u64 },
    /// The client has sent nothing yet.
    Silent { since: u64 },
    /// The handshake or a request's head is incomplete.
    Opening { since: u64 },
    /// A body is incomplete, or an answer is unread.
    Unfinished { since: u64 },
    /// All requests are answered.
    Idle { since: u64 },
    /// The first request waits for room to begin.
    Waiting { since: u64 },
    /// The client has sent everything. Its requests are in progress, or wait for room.
    Complete,
}

/// A reason to end a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The client sends nothing, or too slowly.
    Silent,
    /// The client does not read.
    Unread,
}

impl Activity {
    /// Returns the state of a connection that was just accepted from `peer`.
    pub(crate) fn new(memory: Arc<MemoryBudget>, peer: IpAddr, arrival: Arrival) -> Self {
        Self {
            memory,
            peer,
            accepted: arrival.moment,
            opened: AtomicU64::new(arrival.moment),
            held: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            base: AtomicUsize::new(0),
            input: AtomicUsize::new(0),
            plain: AtomicUsize::new(0),
            sealed: AtomicUsize::new(0),
            paused: AtomicUsize::new(0),
            resumed: Notify::new(),
            waits: AtomicBool::new(false),
            wrote: AtomicBool::new(false),
            handshake_done: AtomicBool::new(false),
            used: AtomicBool::new(false),
            requests: AtomicU32::new(0),
            open: Mutex::default(),
            idle_since: AtomicU64::new(arrival.moment),
            head_since: AtomicU64::new(NONE),
            unsent_since: AtomicU64::new(NONE),
            evicted: AtomicBool::new(false),
            leave: Notify::new(),
            gone: Notify::new(),
        }
    }

    /// Returns the bytes charged to the connection.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Returns the bytes charged for bodies beyond `COMMON_BODY`.
    pub(crate) fn large(&self) -> usize {
        self.large.load(Relaxed)
    }

    /// Charges `bytes` until [`Self::close`].
    pub(crate) fn occupy(&self, bytes: usize) {
        self.base.fetch_add(bytes, Relaxed);
        self.charge(bytes);
    }

    /// Charges `bytes` to the connection and the port.
    fn charge(&self, bytes: usize) {
        self.held.fetch_add(bytes, Relaxed);
        self.memory.take(bytes);
    }

    /// Releases charged `bytes`.
    fn discharge(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Relaxed);
        self.memory.give(bytes);
    }

    /// Releases the bytes of the connection itself and of received data.
    pub(crate) fn close(&self) {
        self.discharge(self.base.swap(0, Relaxed) + self.input.swap(0, Relaxed));
    }

    /// Charges `bytes` that were received from the network.
    pub(crate) fn received(&self, bytes: usize) {
        let input = self.input.load(Relaxed);
        let more = (RECEIVED * bytes).min(INPUT.saturating_sub(input));
        if more > 0 {
            self.input.store(input + more, Relaxed);
            self.charge(more);
        }
    }

    /// Sets the number of received bytes that TLS cannot decrypt yet.
    pub(crate) fn seal(&self, bytes: usize) {
        self.sealed.store(bytes, Relaxed);
    }

    /// Returns true while no bytes of the connection may be read.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Relaxed) > 0
    }

    /// Waits until bytes of the connection may be read.
    pub(crate) async fn resumed(&self) {
        loop {
            let resumed = self.resumed.notified();
            if !self.is_paused() {
                return;
            }
            resumed.await;
        }
    }

    /// Records a write. `whole` is true if the socket took all bytes.
    pub(crate) fn written(&self, whole: bool) {
        if !self.wrote.load(Relaxed) {
            self.wrote.store(true, Relaxed);
        }
        if whole {
            if self.unsent_since.load(Relaxed) != NONE {
                self.unsent_since.store(NONE, Relaxed);
            }
        } else if self.unsent_since.load(Relaxed) == NONE {
            self.unsent_since.store(self.memory.now(), Relaxed);
        }
    }

    /// Returns true after the first write.
    pub(crate) fn has_written(&self) -> bool {
        self.wrote.load(Relaxed)
    }

    /// Records the start or the end of a wait for room. A wait restarts the time of a head.
    pub(crate) fn wait(&self, waits: bool) {
        self.waits.store(waits, Relaxed);
        if self.head_since.load(Relaxed) != NONE {
            self.head_since.store(self.memory.now(), Relaxed);
        }
    }

    /// Records the start or the end of a wait for a turn with the handshake.
    pub(crate) fn queue(&self, waits: bool) {
        self.opened.store(if waits { NONE } else { self.memory.now() }, Relaxed);
    }

    /// Records the end of the handshake.
    pub(crate) fn handshake_done(&self) {
        self.handshake_done.store(true, Relaxed);
    }

    /// Records `bytes` of decrypted HTTP/1.1.
    pub(crate) fn read(&self, bytes: usize) {
        self.plain.fetch_add(bytes, Relaxed);
        if self.requests.load(Relaxed) == 0 && self.head_since.load(Relaxed) == NONE {
            self.head_since.store(self.memory.now(), Relaxed);
        }
    }

    /// Begins a request whose headers are complete and, over HTTP/1.1, took `head` bytes.
    pub(crate) fn request(self: &Arc<Self>, head: Option<usize>) -> InFlightRequest {
        self.head_since.store(NONE, Relaxed);
        self.used.store(true, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        let since = self.memory.now();
        let mut open = self.open();
        let id = open.next;
        open.next = open.next.wrapping_add(1);
        open.requests.push(OpenRequest { id, stage: RequestStage::Body, since });
        drop(open);
        let mut work = InFlightRequest {
            id,
            consumed: head.unwrap_or(0),
            is_http2: head.is_none(),
            charge: Charge { activity: Arc::clone(self), bytes: 0, large: 0 },
        };
        if work.is_http2 {
            work.charge(STREAM);
        }
        work
    }

    /// Locks the open requests.
    fn open(&self) -> MutexGuard<'_, OpenRequests> {
        // No code panics while it holds the lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the state that decides when the connection gives way.
    pub(crate) fn state(&self) -> ConnectionState {
        if self.waits.load(Relaxed) {
            return ConnectionState::Waiting { since: self.accepted };
        }
        let unsent = self.unsent_since.load(Relaxed);
        if unsent != NONE {
            return ConnectionState::Unfinished { since: unsent };
        }
        let head = self.head_since.load(Relaxed);
        if self.requests.load(Relaxed) == 0 {
            return if head != NONE {
                ConnectionState::Opening { since: head }
            } else if self.used.load(Relaxed) {
                ConnectionState::Idle { since: self.idle_since.load(Relaxed) }
            } else if self.handshake_done.load(Relaxed) {
                ConnectionState::Unused { since: self.accepted }
            } else {
                match self.opened.load(Relaxed) {
                    NONE => ConnectionState::Opening { since: self.memory.now() },
                    since if self.input.load(Relaxed) == 0 => ConnectionState::Silent { since },
                    since => ConnectionState::Opening { since },
                }
            };
        }
        let open = self.open();
        let unfinished = open.requests.iter().filter(|one| one.stage != RequestStage::Review);
        unfinished
            .map(|one| one.since)
            .min()
            .map_or(ConnectionState::Complete, |since| ConnectionState::Unfinished { since })
    }

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

    /// Makes the connection give way, even if it waits for room.
    pub(crate) fn give_up(&self) {
        self.waits.store(false, Relaxed);
        self.evicted.store(true, Relaxed);
        self.leave.notify_one();
        self.gone.notify_waiters();
    }

    /// Returns true if the connection has to give way.
    pub(crate) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    /// Waits until the connection has to give way. A connection whose request was completed, or
    /// began to wait for room, after the decision is kept.
    pub(crate) async fn evicted(&self) {
        loop {
            self.leave.notified().await;
            if !matches!(self.state(), ConnectionState::Complete | ConnectionState::Waiting { .. })
            {
                return;
            }
            self.evicted.store(false, Relaxed);
        }
    }
}

/// A request until the end of its answer, with the bytes charged for it.
#[derive(Debug)]
pub struct InFlightRequest {
    id: u32,
    /// HTTP/1.1 bytes of the head and of the body that has been read.
    consumed: usize,
    is_http2: bool,
    charge: Charge,
}

impl InFlightRequest {
    /// Returns true if there is room for `purpose`.
    pub(crate) fn has_room(&self, purpose: Purpose) -> bool {
        self.charge.activity.memory.has_room(purpose)
    }

    /// Waits until there is room for `purpose`. Returns false if the connection has to give way.
    pub(crate) async fn room(&self, purpose: Purpose) -> bool {
        let gone = self.charge.activity.gone.notified();
        if self.charge.activity.is_evicted() {
            return false;
        }
        let _paused = self.is_http2.then(|| Pause::of(&self.charge.activity));
        tokio::select! {
            () = self.charge.activity.memory.room(purpose) => true,
            () = gone => false,
        }
    }

    /// Records `bytes` of the body that were read.
    pub(crate) const fn read(&mut self, bytes: usize) {
        self.consumed += bytes;
    }

    /// Charges `bytes` until the request ends.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.charge.bytes += bytes;
        self.charge.activity.charge(bytes);
    }

    /// Charges `bytes` of a body above `COMMON_BODY` until the request ends.
    pub(crate) fn charge_large(&mut self, bytes: usize) {
        self.charge(bytes);
        self.charge.large += bytes;
        self.charge.activity.large.fetch_add(bytes, Relaxed);
        self.charge.activity.memory.large.fetch_add(bytes, Relaxed);
    }

    /// Records the end of the request's body.
    pub(crate) fn complete(&self) {
        self.enter(RequestStage::Review);
    }

    /// Splits off the charge of the body, for a thread that may keep the body after the client
    /// has disconnected.
    pub fn split(&mut self) -> Charge {
        let Charge { activity, bytes: charged, large } = &mut self.charge;
        let bytes = *charged - if self.is_http2 { STREAM } else { 0 };
        *charged -= bytes;
        Charge { activity: Arc::clone(activity), bytes, large: std::mem::take(large) }
    }

    /// Sets the stage of the request, and the moment of its start.
    fn enter(&self, stage: RequestStage) {
        // A review has no time limit, so its moment is not read.
        let now = (stage != RequestStage::Review).then(|| self.charge.activity.memory.now());
        let mut open = self.charge.activity.open();
        if let Some(one) = open.requests.iter_mut().find(|one| one.id == self.id) {
            one.stage = stage;
            one.since = now.unwrap_or(one.since);
        }
    }

    /// Returns `answer`, which ends the request once its last byte is sent.
    pub(crate) fn answer(mut self, answer: Bytes) -> Bytes {
        if answer.is_empty() || (!self.is_http2 && answer.len() <= SMALL_ANSWER) {
            return answer;
        }
        drop(self.split());
        self.charge(answer.len());
        self.enter(RequestStage::Answer);
        Bytes::from_owner(Unsent { answer, _work: self })
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        let Self { id, consumed, is_http2, charge: Charge { activity, .. } } = self;
        let mut open = activity.open();
        if let Some(index) = open.requests.iter().position(|one| one.id == *id) {
            open.requests.swap_remove(index);
        }
        drop(open);
        if !*is_http2 {
            // Bytes after the request are the start of the next one.
            let left = activity.plain.load(Relaxed).saturating_sub(*consumed);
            let left = if left <= SLACK { 0 } else { left };
            activity.plain.store(left, Relaxed);
            let left = left + RECEIVED * activity.sealed.load(Relaxed);
            let input = activity.input.load(Relaxed);
            if let Some(used_up) = input.checked_sub(left).filter(|bytes| *bytes > 0) {
                activity.input.store(left, Relaxed);
                activity.discharge(used_up);
            }
        }
        activity.idle_since.store(activity.memory.now(), Relaxed);
        activity.requests.fetch_sub(1, Relaxed);
    }
}

/// A wait of an HTTP/2 request for room. The connection is not read during it, because HTTP/2
/// keeps each frame with far more memory than its bytes.
struct Pause<'a>(&'a Activity);

impl<'a> Pause<'a> {
    fn of(activity: &'a Activity) -> Self {
        activity.paused.fetch_add(1, Relaxed);
        Self(activity)
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        if self.0.paused.fetch_sub(1, Relaxed) == 1 {
            self.0.resumed.notify_waiters();
        }
    }
}

/// A charge of bytes to a connection, released when the value drops.
#[derive(Debug)]
pub struct Charge {
    activity: Arc<Activity>,
    bytes: usize,
    large: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let Self { activity, bytes, large } = self;
        if *large > 0 {
            activity.large.fetch_sub(*large, Relaxed);
            activity.memory.large.fetch_sub(*large, Relaxed);
        }
        if *bytes > 0 {
            activity.discharge(*bytes);
        }
    }
}

/// An answer that is not sent completely. The request ends when the last byte drops.
struct Unsent {
    answer: Bytes,
    _work: InFlightRequest,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future as _, net::Ipv4Addr, task::Context};

    use tokio::time::timeout;

    use super::*;
    use crate::limits::MEMORY;

    fn mk_activity() -> Arc<Activity> {
        let memory = MemoryBudget::new(MEMORY, &Limits::default());
        let arrival = memory.arrival();
        Arc::new(Activity::new(memory, Ipv4Addr::LOCALHOST.into(), arrival))
    }

    #[tokio::test]
    async fn connection_with_unanswered_request_is_not_quiet() {
        const MOMENT: Duration = Duration::from_millis(1);
        let activity = mk_activity();
        let work = activity.request(None);
        assert!(timeout(MOMENT * 20, activity.quiet(MOMENT)).await.is_err());
        drop(work);
        activity.quiet(MOMENT).await;
    }

    #[test]
    fn bytes_behind_a_request_stay_charged() {
        let activity = mk_activity();
        activity.received(9000);
        activity.read(9000);
        let mut work = activity.request(Some(100));
        work.read(900);
        drop(work);
        assert_eq!(activity.held(), 8000);
        let mut work = activity.request(Some(100));
        work.read(7900);
        drop(work);
        assert_eq!((activity.held(), activity.memory.used()), (0, 0));
    }

    #[test]
    fn bytes_of_an_incomplete_record_stay_charged() {
        let activity = mk_activity();
        activity.received(9000);
        activity.read(1000);
        activity.seal(8000);
        drop(activity.request(Some(1000)));
        assert_eq!(activity.held(), 16_000);
        activity.seal(0);
        drop(activity.request(Some(0)));
        assert_eq!(activity.held(), 0);
    }

    #[tokio::test]
    async fn http2_connection_pauses_while_a_body_waits() {
        let activity = mk_activity();
        activity.memory.take(MEMORY);
        let work = activity.request(None);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let mut room = Box::pin(work.room(Purpose::Large));
        assert!(room.as_mut().poll(cx).is_pending());
        assert!(activity.is_paused());
        activity.memory.give(MEMORY);
        assert!(room.await);
        activity.resumed().await;
    }

    #[test]
    fn answer_is_charged_until_it_is_dropped() {
        for head in [None, Some(100)] {
            let activity = mk_activity();
            let mut work = activity.request(head);
            work.charge(5000);
            work.complete();
            assert_eq!(activity.state(), ConnectionState::Complete);
            let mut answer = work.answer(vec![0; 100_000].into());
            let rest = answer.split_off(99_999);
            drop(answer);
            assert_eq!(activity.held(), 100_000 + if head.is_none() { STREAM } else { 0 });
            assert!(matches!(activity.state(), ConnectionState::Unfinished { .. }));
            drop(rest);
            assert_eq!(activity.held(), 0);
            assert!(matches!(activity.state(), ConnectionState::Idle { .. }));
        }
    }
}
