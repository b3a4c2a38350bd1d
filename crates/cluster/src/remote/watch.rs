//! The watch of one object of another cluster, with little memory while nothing changes.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::{Method, body::Bytes};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::{
    client::{METADATA, RemoteClient, RemoteRequest},
    error::RemoteError,
    service::BoundedBody,
};
use crate::backoff::AttemptBackoff;

/// Metadata of all objects of a list.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Seconds after which the API server ends a watch, as kube requests them.
const LIFE: u32 = 290;
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
    Present(Box<ObjectMeta>),
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
    /// Start of a line whose end has not arrived, or several lines.
    text: Vec<u8>,
    /// Bytes of the text without the end of a line.
    searched: usize,
    /// True after an event.
    has_event: bool,
}

#[derive(Deserialize)]
struct ListedMetadata {
    metadata: ListMeta,
    items: Option<Vec<FoundMetadata>>,
}

#[derive(Deserialize)]
struct FoundMetadata {
    metadata: ObjectMeta,
}

/// Event of an API server.
#[derive(Deserialize)]
struct ReceivedEvent {
    #[serde(rename = "type")]
    kind: String,
    object: ReceivedObject,
}

#[derive(Deserialize)]
struct ReceivedObject {
    #[serde(default)]
    metadata: ObjectMeta,
    /// Code of an error.
    code: Option<u16>,
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
        let listed = self.client.send::<ListedMetadata>(request).await?;
        let listed = listed.map_err(|it| RemoteError::of_code(it.code))?;
        self.state = WatchProgress::Listed(listed.metadata.resource_version.unwrap_or_default());
        let found = listed.items.unwrap_or_default().into_iter().next();
        Ok(Some(
            found.map_or(WatchedMetadata::Absent, |it| {
                WatchedMetadata::Present(Box::new(it.metadata))
            }),
        ))
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
        let open = OpenWatch { body, version, text: Vec::new(), searched: 0, has_event: false };
        self.state = WatchProgress::Open(open);
        Ok(None)
    }

    /// Waits for an event. The watch begins again at the end of the response, after a pause if there
    /// was no event.
    async fn receive(&mut self) -> Result<Option<WatchedMetadata>, RemoteError> {
        let WatchProgress::Open(open) = &mut self.state else { return Ok(None) };
        loop {
            if let Some(line) = open.line() {
                let event = open.read(&line)?;
                if event.is_some() {
                    self.backoff.reset();
                    return Ok(event);
                }
                continue;
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
    /// Removes and returns the first line; `None` if its end has not arrived. Keeps no memory
    /// between two events.
    fn line(&mut self) -> Option<Vec<u8>> {
        let found = self.text[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = found.map(|at| self.searched + at) else {
            self.searched = self.text.len();
            return None;
        };
        self.searched = 0;
        let rest = self.text[end + 1..].to_vec();
        let mut line = std::mem::replace(&mut self.text, rest);
        line.truncate(end);
        Some(line)
    }

    /// Reads the event in `line`; returns `None` for a bookmark and an empty line.
    ///
    /// # Errors
    /// The event is an error, or none of an API server.
    fn read(&mut self, line: &[u8]) -> Result<Option<WatchedMetadata>, RemoteError> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let ReceivedEvent { kind, object } =
            serde_json::from_slice(line).map_err(|_| RemoteError::BadResponse)?;
        if kind == "ERROR" {
            // An expired version is no failure of the API server: the object is listed again.
            return Err(object.code.map_or(RemoteError::BadResponse, RemoteError::of_code));
        }
        if let Some(version) = &object.metadata.resource_version {
            self.version.clone_from(version);
        }
        self.has_event = true;
        Ok(match &*kind {
            "BOOKMARK" => None,
            "DELETED" => Some(WatchedMetadata::Absent),
            _ => Some(WatchedMetadata::Present(Box::new(object.metadata))),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Either, Full};

    use super::*;

    fn open(text: &[u8]) -> OpenWatch {
        let body = Either::Right(Full::new(Bytes::new()));
        let (text, version) = (text.to_vec(), "1".to_owned());
        OpenWatch { body, version, text, searched: 0, has_event: false }
    }

    #[test]
    fn lines_are_read_across_frames() {
        let mut open = open(b"one\ntw");
        assert_eq!(open.line().unwrap(), b"one");
        assert_eq!(open.line(), None);
        open.text.extend_from_slice(b"o\n\n");
        assert_eq!(open.line().unwrap(), b"two");
        assert_eq!(open.line().unwrap(), b"");
        assert_eq!((open.line(), open.text.capacity()), (None, 0));
    }

    #[test]
    fn bookmark_only_moves_the_version() {
        let mut open = open(b"");
        let bookmark = br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
        assert!(open.read(bookmark).unwrap().is_none());
        assert_eq!(open.version, "7");
        let deleted = br#"{"type":"DELETED","object":{"metadata":{"resourceVersion":"8"}}}"#;
        assert!(matches!(open.read(deleted), Ok(Some(WatchedMetadata::Absent))));
    }

    #[test]
    fn expired_version_is_an_error() {
        let expired = br#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410}}"#;
        let found = open(b"").read(expired);
        assert!(matches!(found, Err(RemoteError::Refused(410))), "{found:?}");
        let found = open(b"").read(b"{");
        assert!(matches!(found, Err(RemoteError::BadResponse)), "{found:?}");
    }
}
