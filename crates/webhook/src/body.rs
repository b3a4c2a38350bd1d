//! Request bodies: read whole, within bounds of bytes, time and memory.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::limits::{COMMON_BODY, LARGE_REQUESTS, Limits, REQUESTS};

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("expected a body of at most {limit} bytes, found more")]
    TooLarge { limit: usize },
    #[error("expected the whole body within {seconds} s of the headers, found it incomplete")]
    TooSlow { seconds: u64 },
    #[error("too many requests at once; try again")]
    NoPlace,
    #[error("expected the whole body, found it cut off")]
    CutOff(#[source] hyper::Error),
}

/// Places for requests, so that memory is bounded whatever clients do.
#[derive(Debug)]
pub(crate) struct Places {
    all: Semaphore,
    large: Arc<Semaphore>,
}

/// A whole body; its places are free again when this drops.
#[derive(Debug)]
pub(crate) struct Received<'p> {
    pub(crate) bytes: Bytes,
    /// Every request has one.
    pub(crate) place: SemaphorePermit<'p>,
    /// And a large one this, which goes where its bytes go.
    pub(crate) large: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self { all: Semaphore::new(REQUESTS), large: Arc::new(Semaphore::new(LARGE_REQUESTS)) }
    }

    /// Reads `body` to its end.
    ///
    /// # Errors
    /// If it is larger or slower than it may be, or ends early.
    pub(crate) async fn read(
        &self,
        body: &mut Incoming,
        limits: &Limits,
    ) -> Result<Received<'_>, BodyError> {
        let limit = limits.body_bytes;
        let too_large = || BodyError::TooLarge { limit };
        let announced = usize::try_from(body.size_hint().lower()).map_err(|_| too_large())?;
        if announced > limit {
            return Err(too_large());
        }
        let mut stage = Stage::Queueing;
        // One timer for all of it; none where all of it is here, as it mostly is.
        let read = {
            let mut whole = pin!(self.gather(body, announced, limit, &mut stage));
            match poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
                Poll::Ready(whole) => Ok(whole),
                Poll::Pending => timeout(limits.body, whole).await,
            }
        };
        read.unwrap_or_else(|_| {
            Err(match stage {
                Stage::Queueing => BodyError::NoPlace,
                Stage::Reading => BodyError::TooSlow { seconds: limits.body.as_secs() },
            })
        })
    }

    async fn gather(
        &self,
        body: &mut Incoming,
        announced: usize,
        limit: usize,
        stage: &mut Stage,
    ) -> Result<Received<'_>, BodyError> {
        let place = self.all.acquire().await.map_err(|_| BodyError::NoPlace)?;
        let mut large = None;
        // One that comes in one piece, as most do, is never copied.
        let mut first = Bytes::new();
        let mut whole = Vec::new();
        let mut length = 0_usize;
        loop {
            if large.is_none() && length.max(announced) > COMMON_BODY {
                *stage = Stage::Queueing;
                large = Some(self.large_place().await?);
            }
            *stage = Stage::Reading;
            let Some(frame) = body.frame().await else { break };
            let Ok(data) = frame.map_err(BodyError::CutOff)?.into_data() else { continue };
            length = length.saturating_add(data.len());
            if length > limit {
                return Err(BodyError::TooLarge { limit });
            }
            if first.is_empty() {
                first = data;
            } else {
                if whole.is_empty() {
                    whole.reserve_exact(announced.max(length));
                    whole.extend_from_slice(&first);
                }
                whole.extend_from_slice(&data);
            }
        }
        let bytes = if whole.is_empty() { first } else { Bytes::from(whole) };
        Ok(Received { bytes, place, large })
    }

    async fn large_place(&self) -> Result<OwnedSemaphorePermit, BodyError> {
        Arc::clone(&self.large).acquire_owned().await.map_err(|_| BodyError::NoPlace)
    }
}

/// What takes the time.
enum Stage {
    Queueing,
    Reading,
}

/// Reads and forgets what is left of a body that was refused.
///
/// A client that is still sending would otherwise be reset before it reads the
/// answer. Beyond another `limits.body_bytes`, or a body's time, it has to
/// live with that.
pub(crate) async fn discard(body: &mut Incoming, limits: &Limits) {
    let mut left = limits.body_bytes;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    // Out of time is as good as read.
    let _ = timeout(limits.body, rest).await;
}
