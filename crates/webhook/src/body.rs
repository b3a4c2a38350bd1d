//! Request bodies: read whole, within bounds of bytes, time and memory.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming};
use tokio::time::timeout;

use crate::{
    limits::Limits,
    place::{GaveWay, HeldBody, Place},
};

/// Parts of `Limits::body_bytes` that are read of a body that was refused.
const DISCARDED: usize = 8;

/// Reason for which there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("expected a body of at most {limit} bytes, found more")]
    TooLarge { limit: usize },
    #[error("expected the whole body within {seconds} s of the headers, found it incomplete")]
    TooSlow { seconds: u64 },
    #[error("too many unfinished requests at once; try again")]
    GaveWay,
    #[error("expected the whole body, found it cut off")]
    CutOff(#[source] hyper::Error),
}

impl From<GaveWay> for BodyError {
    fn from(_: GaveWay) -> Self {
        Self::GaveWay
    }
}

/// A whole body.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    /// Counts its bytes; `None` if they all came at once, so that no other
    /// connection can be served before the review is done.
    pub(crate) held: Option<HeldBody>,
}

/// Reads `body` to its end.
///
/// # Errors
/// If it is larger or slower than it may be, ends early, or has to give way.
pub(crate) async fn read(
    body: &mut Incoming,
    limits: &Limits,
    place: &Arc<Place>,
) -> Result<Received, BodyError> {
    let limit = limits.body_bytes;
    let too_large = || BodyError::TooLarge { limit };
    let announced = usize::try_from(body.size_hint().lower()).map_err(|_| too_large())?;
    if announced > limit {
        return Err(too_large());
    }
    // One timer for all of it; none where all of it is here, as it mostly is.
    let mut whole = pin!(gather(body, announced, limit, place));
    match poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        Poll::Ready(whole) => whole,
        Poll::Pending => timeout(limits.body, whole)
            .await
            .unwrap_or(Err(BodyError::TooSlow { seconds: limits.body.as_secs() })),
    }
}

async fn gather(
    body: &mut Incoming,
    announced: usize,
    limit: usize,
    place: &Arc<Place>,
) -> Result<Received, BodyError> {
    let mut pieces = Pieces { announced, ..Pieces::default() };
    let mut held = None;
    while let Some(frame) = next(body, &mut pieces, &mut held, place).await? {
        place.consumed();
        let Ok(data) = frame.map_err(BodyError::CutOff)?.into_data() else { continue };
        if pieces.length().saturating_add(data.len()) > limit {
            return Err(BodyError::TooLarge { limit });
        }
        pieces.add(data);
    }
    if let Some(held) = &held {
        held.complete();
    }
    Ok(Received { bytes: pieces.whole(), held })
}

/// Returns the next frame; if it is not here, what came before is counted meanwhile.
async fn next(
    body: &mut Incoming,
    pieces: &mut Pieces,
    held: &mut Option<HeldBody>,
    place: &Arc<Place>,
) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>, BodyError> {
    let mut frame = body.frame();
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut frame).poll(cx))).await;
    if let Poll::Ready(frame) = polled {
        return Ok(frame);
    }
    pieces.own();
    let held = match held {
        Some(held) => held,
        None => held.insert(place.body()?),
    };
    held.hold(pieces.length(), pieces.memory()).await?;
    tokio::select! {
        biased;
        frame = frame => Ok(frame),
        () = held.cut() => Err(BodyError::GaveWay),
    }
}

/// Bytes of a body, in the order in which they came.
#[derive(Debug, Default)]
struct Pieces {
    announced: usize,
    /// The first piece: a body that comes in one piece, as most do, is never copied.
    first: Bytes,
    whole: Vec<u8>,
}

impl Pieces {
    fn length(&self) -> usize {
        self.first.len() + self.whole.len()
    }

    /// Returns the bytes of memory that it takes.
    fn memory(&self) -> usize {
        self.first.len() + self.whole.capacity()
    }

    fn add(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        self.own();
        self.reserve(data.len());
        self.whole.extend_from_slice(&data);
    }

    /// Copies the first piece, which may be a small part of a large buffer.
    fn own(&mut self) {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.reserve(first.len());
            self.whole.extend_from_slice(&first);
        }
    }

    /// Makes room for `more` bytes: no more than twice of what came.
    fn reserve(&mut self, more: usize) {
        let length = self.whole.len() + more;
        if length > self.whole.capacity() {
            let twice = length.saturating_mul(2);
            let ahead = if self.announced < length { twice } else { self.announced.min(twice) };
            self.whole.reserve_exact(ahead - self.whole.len());
        }
    }

    fn whole(self) -> Bytes {
        if self.whole.is_empty() { self.first } else { Bytes::from(self.whole) }
    }
}

/// Reads and forgets what is left of a body that was refused.
///
/// A client that is still sending would otherwise be reset before it reads the
/// answer. Beyond [`DISCARDED`] times the limit, or a body's time, it is.
pub(crate) async fn discard(body: &mut Incoming, limits: &Limits, place: &Arc<Place>) {
    let mut left = limits.body_bytes.saturating_mul(DISCARDED);
    let Ok(held) = place.body() else { return };
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            place.consumed();
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    tokio::select! {
        biased;
        // Out of time is as good as read.
        _ = timeout(limits.body, rest) => {}
        () = held.cut() => {}
    }
}
