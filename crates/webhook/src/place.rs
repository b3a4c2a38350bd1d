//! One connection's place among the others, and what it counts there.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::{
    activity::Activity,
    connections::Connections,
    ledger::{OpenAnswer, OpenBody, REQUEST, SMALL_ANSWER},
    limits::COMMON_BODY,
};

/// Received bytes that [`crate::ledger::CONNECTION`] covers.
const SMALL_INPUT: usize = 2 * 1024;
/// Most bytes of incomplete input outside bodies: part of a TLS record, of an
/// HTTP/2 frame, and of a head.
const MOST_INPUT: usize = 48 * 1024;
/// Bytes that wait in a connection whose client does not read: a TLS record, the
/// next request, and what the kernel holds of both.
const STALLED: usize = 48 * 1024;

/// A connection's place; free again when this drops.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: u64,
    /// Work of the connection in it.
    pub(crate) activity: Arc<Activity>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// The connection, or one of its requests, had to give way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GaveWay;

impl Place {
    /// Counts what came and belongs to no complete head or body: no more comes for
    /// now.
    pub(crate) fn wait_for_input(&self) {
        let input = self.activity.unconsumed();
        if input <= SMALL_INPUT {
            return;
        }
        let input = input.min(MOST_INPUT);
        self.activity.count_input();
        self.connections.change(&self.activity, |ledger| {
            ledger.common = ledger.common - ledger.input + input;
            ledger.input = input;
        });
    }

    /// Records that all that came is part of a complete head, or of a body.
    pub(crate) fn consumed(&self) {
        if self.activity.consumed() {
            self.connections.change(&self.activity, |ledger| {
                ledger.common -= std::mem::take(&mut ledger.input);
            });
        }
    }

    /// Records whether the client takes what is written.
    pub(crate) fn written(&self, took: bool) {
        if took {
            if self.activity.flows() {
                self.connections.change(&self.activity, |ledger| {
                    ledger.common -= std::mem::take(&mut ledger.stalled);
                });
            }
        } else if self.activity.stalls() {
            self.connections.change(&self.activity, |ledger| {
                ledger.common += STALLED;
                ledger.stalled += STALLED;
            });
        }
    }

    /// Counts a request whose body is not here yet.
    pub(crate) fn body(self: &Arc<Self>) -> Result<HeldBody, GaveWay> {
        let id = self.connections.next_id();
        let cut = Arc::new(Notify::new());
        let body = OpenBody {
            id,
            since: self.activity.now(),
            bytes: REQUEST,
            large: false,
            complete: false,
            cut: Arc::clone(&cut),
        };
        let counted = self.connections.change(&self.activity, |ledger| {
            ledger.common += body.bytes;
            ledger.bodies.push(body);
        });
        let held = HeldBody { place: Arc::clone(self), id, bytes: REQUEST, large: false, cut };
        if counted { Ok(held) } else { Err(GaveWay) }
    }

    /// Counts `answer` until the client has read it.
    pub(crate) fn answer(self: &Arc<Self>, answer: Vec<u8>, http2: bool) -> Bytes {
        if !http2 && answer.len() <= SMALL_ANSWER {
            return Bytes::from(answer);
        }
        let id = self.connections.next_id();
        let bytes = answer.capacity() + REQUEST;
        let since = self.activity.now();
        self.connections.change(&self.activity, |ledger| {
            ledger.common += bytes;
            ledger.answers.push(OpenAnswer { id, since, bytes });
        });
        Bytes::from_owner(Unread { answer, id, place: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.leave(self.id, &self.activity);
    }
}

/// A body that is counted while it is received, and until this drops.
#[derive(Debug)]
pub(crate) struct HeldBody {
    place: Arc<Place>,
    id: u64,
    bytes: usize,
    large: bool,
    cut: Arc<Notify>,
}

impl HeldBody {
    /// Counts `memory` bytes for the `length` bytes of the body that are here.
    ///
    /// A large body waits until there is room.
    ///
    /// # Errors
    /// If it has to give way.
    pub(crate) async fn hold(&mut self, length: usize, memory: usize) -> Result<(), GaveWay> {
        let held = memory + REQUEST;
        if held == self.bytes {
            return Ok(());
        }
        let large = length > COMMON_BODY;
        if large {
            let more = held - if self.large { self.bytes } else { 0 };
            tokio::select! {
                biased;
                () = self.cut.notified() => return Err(GaveWay),
                () = self.place.connections.large_room(more) => {}
            }
        }
        let (id, mut found) = (self.id, false);
        let counted = self.place.connections.change(&self.place.activity, |ledger| {
            let Some(body) = ledger.bodies.iter_mut().find(|body| body.id == id) else { return };
            found = true;
            if body.large {
                ledger.large -= body.bytes;
            } else {
                ledger.common -= body.bytes;
            }
            (body.bytes, body.large) = (held, large);
            if large {
                ledger.large += held;
            } else {
                ledger.common += held;
            }
        });
        (self.bytes, self.large) = (held, large);
        if counted && found { Ok(()) } else { Err(GaveWay) }
    }

    /// Waits until it has to give way.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Records that the last byte is here: it does not give way any more.
    pub(crate) fn complete(&self) {
        let mut ledger = self.place.activity.ledger();
        if let Some(body) = ledger.bodies.iter_mut().find(|body| body.id == self.id) {
            body.complete = true;
        }
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let id = self.id;
        self.place.connections.change(&self.place.activity, |ledger| {
            let Some(at) = ledger.bodies.iter().position(|body| body.id == id) else { return };
            let body = ledger.bodies.swap_remove(at);
            if body.large {
                ledger.large -= body.bytes;
            } else {
                ledger.common -= body.bytes;
            }
        });
    }
}

/// An answer that is counted until its last byte is written, or its stream gone.
#[derive(Debug)]
struct Unread {
    answer: Vec<u8>,
    id: u64,
    place: Arc<Place>,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let id = self.id;
        self.place.connections.change(&self.place.activity, |ledger| {
            let Some(at) = ledger.answers.iter().position(|answer| answer.id == id) else { return };
            ledger.common -= ledger.answers.remove(at).bytes;
        });
    }
}
