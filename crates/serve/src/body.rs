//! Request bodies: read whole, within bounds of bytes, time and memory.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use crate::{
    activity::InFlightRequest,
    limits::{COMMON_BODY, Limits},
    memory::Purpose,
};

/// Bytes beyond [`Limits::body_bytes`], as a multiple of it, that are read of a refused
/// body.
const DISCARDED: usize = 4;

/// A reason why there is no body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body has too many bytes.
    #[error("expected a body of at most {limit} bytes, found more")]
    TooLarge {
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The body did not come in time.
    #[error("the body was not complete {seconds} s after the headers")]
    TooSlow {
        /// Seconds that are allowed.
        seconds: u64,
    },
    /// The memory of the port is used up.
    #[error("too many requests at the same time; try again")]
    NoRoom,
    /// The client ended the body early.
    #[error("the body ended early")]
    CutOff(#[source] hyper::Error),
}

/// Reads `body` to its end, and waits until there is room for an answer. The memory of the
/// body is charged to `work`.
///
/// # Errors
/// If the body is larger or slower than allowed, or ends early.
pub async fn read(
    body: &mut Incoming,
    work: &mut InFlightRequest,
    limits: &Limits,
) -> Result<Bytes, BodyError> {
    let limit = limits.body_bytes;
    let too_large = || BodyError::TooLarge { limit };
    let announced = usize::try_from(body.size_hint().lower()).map_err(|_| too_large())?;
    if announced > limit {
        return Err(too_large());
    }
    let mut waits_for_room = false;
    // One timer for all of it; none where all of it is here, which is the common case.
    let read = {
        let mut whole = pin!(gather(body, work, announced, limit, &mut waits_for_room));
        match poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
            Poll::Ready(whole) => Ok(whole),
            Poll::Pending => timeout(limits.body, whole).await,
        }
    };
    let whole = read.unwrap_or_else(|_| {
        Err(if waits_for_room {
            BodyError::NoRoom
        } else {
            BodyError::TooSlow { seconds: limits.body.as_secs() }
        })
    })?;
    work.complete();
    if !work.has_room(Purpose::Answer) && !work.room(Purpose::Answer).await {
        return Err(BodyError::NoRoom);
    }
    Ok(whole)
}

async fn gather(
    body: &mut Incoming,
    work: &mut InFlightRequest,
    announced: usize,
    limit: usize,
    waits_for_room: &mut bool,
) -> Result<Bytes, BodyError> {
    // A body that comes in one piece, the common case, is never copied: its bytes are
    // those of the connection's buffer.
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::CutOff)?.into_data() else { continue };
        work.read(data.len());
        length = length.saturating_add(data.len());
        if length > limit {
            return Err(BodyError::TooLarge { limit });
        }
        if length == data.len() {
            first = data;
            continue;
        }
        if length > whole.capacity() {
            let capacity = capacity(length, announced, whole.capacity(), limit);
            let purpose = if capacity > COMMON_BODY { Purpose::Large } else { Purpose::Input };
            if !work.has_room(purpose) {
                *waits_for_room = true;
                if !work.room(purpose).await {
                    return Err(BodyError::NoRoom);
                }
                *waits_for_room = false;
            }
            let more = capacity - whole.capacity();
            if purpose == Purpose::Large {
                work.charge_large(more);
            } else {
                work.charge(more);
            }
            whole.reserve_exact(capacity - whole.len());
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { Bytes::from(whole) })
}

/// Returns the capacity for `length` bytes: all of a common body at once, and a large one
/// as it comes, because a client may announce bytes and never send them.
fn capacity(length: usize, announced: usize, before: usize, limit: usize) -> usize {
    if (length..=COMMON_BODY).contains(&announced) {
        return announced;
    }
    let doubled = length.max(before.saturating_mul(2)).max(16 * 1024);
    let most = if announced >= length { announced } else { limit };
    doubled.min(most)
}

/// Reads and forgets the rest of a refused body, so that the client, which sends it
/// first, reads the answer.
///
/// HTTP/1.1 would otherwise close the connection under the client, and HTTP/2 end the
/// stream early, which some clients (curl before 7.88.1) report instead of the answer.
/// Beyond a multiple of `limits.body_bytes`, or the time of a body, the client has to
/// accept that.
pub async fn discard(body: &mut Incoming, work: &mut InFlightRequest, limits: &Limits) {
    let mut left = limits.body_bytes.saturating_mul(DISCARDED);
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            work.read(length);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    // Out of time is as good as read.
    let _ = timeout(limits.body, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8 << 20;

    #[test]
    fn an_announced_common_body_is_allocated_at_once() {
        assert_eq!(capacity(9000, 20_000, 0, LIMIT), 20_000);
    }

    #[test]
    fn an_announced_large_body_is_allocated_as_it_comes() {
        assert_eq!(capacity(9000, LIMIT, 0, LIMIT), 16 * 1024);
        assert_eq!(capacity(17_000, LIMIT, 16 * 1024, LIMIT), 32 * 1024);
        assert_eq!(capacity(5 << 20, LIMIT, 4 << 20, LIMIT), LIMIT);
        assert_eq!(capacity(5 << 20, 6 << 20, 4 << 20, LIMIT), 6 << 20);
    }

    #[test]
    fn a_body_without_a_length_never_has_more_than_the_limit() {
        assert_eq!(capacity(5 << 20, 0, 5_000_000, LIMIT), LIMIT);
    }
}
