//! Reading of whole request bodies, within limits of bytes, time and memory.

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

/// Multiple of [`Limits::body_bytes`] that is read of a rejected body.
const DISCARDED: usize = 4;

/// The error of reading a body.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body has too many bytes.
    #[error("expected a body of at most {limit} bytes, found more")]
    TooLarge {
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The body was not complete in time.
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
/// Returns an error if the body is larger or slower than allowed, ends early, or has no room.
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
    // One timer for the whole body. A body that is already received, the common case, needs none.
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
    // A body in one piece, the common case, is not copied. Its bytes are those of the connection's
    // buffer.
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

/// Returns the capacity for `length` bytes. A common body is allocated at once, and a large one in
/// steps, because a client may announce bytes and never send them.
fn capacity(length: usize, announced: usize, before: usize, limit: usize) -> usize {
    if (length..=COMMON_BODY).contains(&announced) {
        return announced;
    }
    let doubled = length.max(before.saturating_mul(2)).max(16 * 1024);
    let most = if announced >= length { announced } else { limit };
    doubled.min(most)
}

/// Reads and drops the rest of a rejected body. A client that reads only after it has sent the body
/// then gets the answer.
///
/// HTTP/1.1 would otherwise close the connection during the client's writes. HTTP/2 would end the
/// stream early, which some clients (curl before 7.88.1) report in place of the answer. After a
/// multiple of `limits.body_bytes`, or the time limit of a body, this happens nevertheless.
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
    // The end of the time limit is treated like the end of the body.
    let _ = timeout(limits.body, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8 << 20;

    #[test]
    fn announced_common_body_is_allocated_at_once() {
        assert_eq!(capacity(9000, 20_000, 0, LIMIT), 20_000);
    }

    #[test]
    fn announced_large_body_is_allocated_as_received() {
        assert_eq!(capacity(9000, LIMIT, 0, LIMIT), 16 * 1024);
        assert_eq!(capacity(17_000, LIMIT, 16 * 1024, LIMIT), 32 * 1024);
        assert_eq!(capacity(5 << 20, LIMIT, 4 << 20, LIMIT), LIMIT);
        assert_eq!(capacity(5 << 20, 6 << 20, 4 << 20, LIMIT), 6 << 20);
    }

    #[test]
    fn body_without_a_length_is_limited() {
        assert_eq!(capacity(5 << 20, 0, 5_000_000, LIMIT), LIMIT);
    }
}
