//! The watch of one object of another cluster, with little memory while nothing changes.

use std::{ops::Range, time::Duration};

use http_body_util::BodyExt as _;
use hyper::{Method, body::Bytes};
use tokio::time::{Instant, sleep_until};

use super::{
    client::{METADATA, RemoteClient},
    error::RemoteError,
    request::RemoteRequest,
    service::BoundedBody,
    watched::{EventKind, ListedObjects, ReceivedEvent, ReceivedObject, WatchedObject},
};
use crate::backoff::AttemptBackoff;

/// Metadata of all objects of a list.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Seconds after which the API server ends a watch, as kube requests them.
const LIFE: u32 = 290;
/// Bytes of the longest event, and of the longest list.
const EVENT_MAX: usize = 512 << 10;
/// Pauses after failures.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Watch of one object. It begins again after each end.
pub struct MetadataWatch {
    client: RemoteClient,
    /// Path and query of the list.
    list: String,
    state: WatchProgress,
    backoff: AttemptBackoff,
    /// End of the pause after a failure; `None` after a success.
    pause: Option<Instant>,
}

/// Event of a watch.
#[derive(Debug)]
pub enum WatchedMetadata {
    /// The object exists, with this metadata.
    Present(WatchedObject),
    /// The API server responds, and the object is missing.
    Absent,
    /// The watch failed, with this HTTP status; `None` without a response.
    Failed(Option<u16>),
}

enum WatchProgress {
    /// The object is to be listed.
    Unlisted,
    /// The watch is to begin at this version.
    Listed(String),
    Open(OpenWatch),
}

/// Response of a watch.
struct OpenWatch {
    body: BoundedBody,
    /// Version of the last event.
    version: String,
    /// Lines, and the start of one whose end has not arrived.
    text: Vec<u8>,
    /// Bytes of the text in lines that were returned.
    returned: usize,
    /// Bytes of the text without the end of a line.
    searched: usize,
    /// True after an event.
    has_event: bool,
}

impl MetadataWatch {
    /// Returns the watch of the object `name` in the collection at the path `collection`. No request
    /// is sent.
    pub fn new(client: &RemoteClient, collection: &str, name: &str) -> Self {
        Self {
            client: client.clone(),
            list: format!("{collection}?fieldSelector=metadata.name%3D{name}"),
            state: WatchProgress::Unlisted,
            backoff: AttemptBackoff::new(FIRST_PAUSE, LONGEST_PAUSE),
            pause: None,
        }
    }

    /// Returns the next event. Waits after a failure. A call may be cancelled: an open watch and a
    /// pause go on.
    pub async fn next(&mut self) -> WatchedMetadata {
        loop {
            if let Some(end) = self.pause {
                sleep_until(end).await;
                self.pause = None;
            }
            // Boxed: only the wait for an event lasts long.
            let event = match &self.state {
                WatchProgress::Unlisted => Box::pin(self.list()).await,
                WatchProgress::Listed(version) => {
                    let version = version.clone();
                    Box::pin(self.open(version)).await
                }
                WatchProgress::Open(_) => self.receive().await,
            };
            match event {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(error) => {
                    self.state = WatchProgress::Unlisted;
                    self.pause_after_failure();
                    let code = match error {
                        RemoteError::Refused(code) => Some(code),
                        RemoteError::Unauthorized => Some(401),
                        _ => None,
                    };
                    return WatchedMetadata::Failed(code);
                }
            }
        }
    }

    fn pause_after_failure(&mut self) {
        self.pause = Some(Instant::now() + self.backoff.pause());
    }

    /// Lists the object.
    async fn list(&mut self) -> Result<Option<WatchedMetadata>, RemoteError> {
        let path = &self.list;
        let request =
            RemoteRequest { method: Method::GET, path, accept: METADATA_LIST, body: None };
        let listed = self.client.send_within::<ListedObjects>(request, EVENT_MAX).await?;
        let listed = listed.map_err(|it| RemoteError::of_code(it.code))?;
        self.state = WatchProgress::Listed(listed.metadata.version);
        let found = listed.items.map(|it| WatchedMetadata::Present(it.metadata));
        Ok(Some(found.unwrap_or(WatchedMetadata::Absent)))
    }

    /// Begins the watch at `version`.
    async fn open(&mut self, version: String) -> Result<Option<WatchedMetadata>, RemoteError> {
        let path = format!(
            "{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={LIFE}&resourceVersion={version}",
            self.list
        );
        let request =
            RemoteRequest { method: Method::GET, path: &path, accept: METADATA, body: None };
        let body = self.client.open(request).await?;
        self.state = WatchProgress::Open(OpenWatch::new(body, version));
        Ok(None)
    }

    /// Waits for an event. The watch begins again at the end of the response, after a pause if there
    /// was no event.
    async fn receive(&mut self) -> Result<Option<WatchedMetadata>, RemoteError> {
        let WatchProgress::Open(open) = &mut self.state else { return Ok(None) };
        loop {
            if let Some(line) = open.line() {
                let event = open.read(line)?;
                if event.is_some() {
                    self.backoff.reset();
                    return Ok(event);
                }
                continue;
            }
            if open.text.len() > EVENT_MAX {
                return Err(RemoteError::TooLarge);
            }
            let Some(frame) = open.body.frame().await else { break };
            let frame = frame.map_err(|error| RemoteError::of(&*error))?;
            let data = frame.into_data().unwrap_or_else(|_| Bytes::new());
            open.text.extend_from_slice(&data);
        }
        let (version, has_event) = (std::mem::take(&mut open.version), open.has_event);
        self.state = WatchProgress::Listed(version);
        if !has_event {
            self.pause_after_failure();
        }
        Ok(None)
    }
}

impl OpenWatch {
    /// Returns the watch whose events are in `body`, from `version`.
    const fn new(body: BoundedBody, version: String) -> Self {
        Self { body, version, text: Vec::new(), returned: 0, searched: 0, has_event: false }
    }

    /// Returns the place of the next line in the text; `None` if its end has not arrived. Then the
    /// lines that were returned are removed, so that no memory is kept between two events.
    fn line(&mut self) -> Option<Range<usize>> {
        let found = self.text[self.searched..].iter().position(|byte| *byte == b'\n');
        if let Some(end) = found.map(|at| self.searched + at) {
            let line = self.returned..end;
            (self.returned, self.searched) = (end + 1, end + 1);
            return Some(line);
        }
        if self.returned > 0 {
            self.text = self.text[self.returned..].to_vec();
            self.returned = 0;
        }
        self.searched = self.text.len();
        None
    }

    /// Reads the event in the line at `place`; returns `None` for a bookmark and an empty line.
    ///
    /// # Errors
    /// The event is an error, or none of an API server.
    fn read(&mut self, place: Range<usize>) -> Result<Option<WatchedMetadata>, RemoteError> {
        let line = &self.text[place];
        if line.len() > EVENT_MAX {
            return Err(RemoteError::TooLarge);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let ReceivedEvent { kind, object } =
            serde_json::from_slice(line).map_err(|_| RemoteError::BadResponse)?;
        let ReceivedObject { metadata, code } = object;
        if matches!(kind, EventKind::Error) {
            // An expired version is no failure of the API server: the object is listed again.
            return Err(code.map_or(RemoteError::BadResponse, RemoteError::of_code));
        }
        if !metadata.version.is_empty() {
            self.version.clone_from(&metadata.version);
        }
        self.has_event = true;
        Ok(match kind {
            EventKind::Bookmark | EventKind::Error => None,
            EventKind::Deleted => Some(WatchedMetadata::Absent),
            EventKind::Changed => Some(WatchedMetadata::Present(metadata)),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Either, Full};
    use image_swap_core::{labels::SUMMARY, status::cluster_summary::SUMMARY_BYTES};

    use super::*;

    /// Returns a watch that has received `text`.
    fn open(text: &[u8]) -> OpenWatch {
        let body = Either::Right(Full::new(Bytes::new()));
        OpenWatch { text: text.to_vec(), ..OpenWatch::new(body, "1".to_owned()) }
    }

    /// Reads the event in `text`.
    fn read(text: &[u8]) -> (OpenWatch, Result<Option<WatchedMetadata>, RemoteError>) {
        let mut open = open(&[text, b"\n"].concat());
        let line = open.line().unwrap();
        let event = open.read(line);
        (open, event)
    }

    #[test]
    fn lines_are_read_across_frames() {
        let mut open = open(b"one\ntw");
        let mut line = |more: &[u8]| {
            open.text.extend_from_slice(more);
            let line = open.line().map(|it| open.text[it].to_vec());
            (line.map(|it| String::from_utf8(it).unwrap()), open.text.capacity())
        };
        assert_eq!(line(b"").0.unwrap(), "one");
        assert_eq!(line(b"").0, None);
        assert_eq!(line(b"o\n\n").0.unwrap(), "two");
        assert_eq!(line(b"").0.unwrap(), "");
        assert_eq!(line(b""), (None, 0));
    }

    #[test]
    fn event_beyond_its_limits_is_an_error() {
        let event = |metadata: &str| {
            let text = format!(r#"{{"type":"MODIFIED","object":{{"metadata":{{{metadata}}}}}}}"#);
            read(text.as_bytes()).1
        };
        let version = format!(r#""resourceVersion":"{}""#, "1".repeat(65));
        assert!(matches!(event(&version), Err(RemoteError::BadResponse)));
        let filler = format!(r#""a":"{}""#, "x".repeat(EVENT_MAX));
        assert!(matches!(event(&filler), Err(RemoteError::TooLarge)));
        // A long summary is a heartbeat that cannot be read.
        let long = "x".repeat(SUMMARY_BYTES + 1);
        match event(&format!(r#""annotations":{{"{SUMMARY}":"{long}"}}"#)) {
            Ok(Some(WatchedMetadata::Present(found))) => assert_eq!(found.summary.unwrap(), ""),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bookmark_only_moves_the_version() {
        let bookmark = br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
        let (open, event) = read(bookmark);
        assert!(event.unwrap().is_none());
        assert_eq!(open.version, "7");
        let deleted = br#"{"type":"DELETED","object":{"metadata":{"resourceVersion":"8"}}}"#;
        assert!(matches!(read(deleted).1, Ok(Some(WatchedMetadata::Absent))));
    }

    #[test]
    fn expired_version_is_an_error() {
        let expired = br#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410}}"#;
        let found = read(expired).1;
        assert!(matches!(found, Err(RemoteError::Refused(410))), "{found:?}");
        let found = read(b"{").1;
        assert!(matches!(found, Err(RemoteError::BadResponse)), "{found:?}");
    }
}
