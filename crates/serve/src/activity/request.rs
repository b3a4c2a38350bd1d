//! A request in progress, and the bytes charged for it.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bytes::Bytes;

use super::{Activity, NONE, OpenRequest, RequestStage};
use crate::{
    limits::{RECEIVED, SMALL_ANSWER, STREAM},
    memory::Purpose,
};

/// Bytes after a request that do not count as the start of another one, such as blanks in headers
/// and chunk sizes.
const SLACK: usize = 1024;

impl Activity {
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
