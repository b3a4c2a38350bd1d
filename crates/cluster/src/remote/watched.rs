//! Objects and events of a watch, as far as they are read.

use image_swap_core::{labels::SUMMARY, status::cluster_summary::SUMMARY_BYTES};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer};

use super::bounded;

/// Metadata of the object, as far as they are read. The others are skipped: as values in memory they
/// may need many times the bytes of their text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "WatchedFields")]
pub struct WatchedObject {
    /// Version; empty without one.
    pub version: String,
    /// Summary of a heartbeat; empty if it is longer than a summary may be, `None` without one.
    pub summary: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedFields {
    #[serde(deserialize_with = "bounded::version")]
    resource_version: String,
    annotations: Option<AnnotationFields>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AnnotationFields {
    /// See [`SUMMARY`].
    #[serde(rename = "image-swap.io/summary", deserialize_with = "summary")]
    summary: Option<String>,
}

/// Reads a summary.
fn summary<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(bounded_summary(text)))
}

/// Returns `text`, or an empty text if it is longer than a summary may be.
fn bounded_summary(text: String) -> String {
    if text.len() > SUMMARY_BYTES { String::new() } else { text }
}

impl From<WatchedFields> for WatchedObject {
    fn from(fields: WatchedFields) -> Self {
        let summary = fields.annotations.and_then(|it| it.summary);
        Self { version: fields.resource_version, summary }
    }
}

impl From<ObjectMeta> for WatchedObject {
    fn from(metadata: ObjectMeta) -> Self {
        let summary = metadata.annotations.and_then(|mut it| it.remove(SUMMARY));
        let summary = summary.map(bounded_summary);
        Self { version: metadata.resource_version.unwrap_or_default(), summary }
    }
}

#[derive(Deserialize)]
pub(super) struct ListedObjects {
    #[serde(default)]
    pub(super) metadata: WatchedObject,
    #[serde(default, deserialize_with = "bounded::first")]
    pub(super) items: Option<ListedObject>,
}

#[derive(Deserialize)]
pub(super) struct ListedObject {
    pub(super) metadata: WatchedObject,
}

/// Event of an API server.
#[derive(Deserialize)]
pub(super) struct ReceivedEvent {
    #[serde(rename = "type")]
    pub(super) kind: EventKind,
    pub(super) object: ReceivedObject,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum EventKind {
    Bookmark,
    Deleted,
    Error,
    /// The object was created or changed.
    #[serde(other)]
    Changed,
}

#[derive(Deserialize)]
pub(super) struct ReceivedObject {
    #[serde(default)]
    pub(super) metadata: WatchedObject,
    /// Code of an error.
    pub(super) code: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_and_summary_are_kept() {
        let text = r#"{
            "resourceVersion": "9", "name": "a", "managedFields": [{}, {"a": [{}]}],
            "annotations": { "b": "c", "image-swap.io/summary": "{}" }
        }"#;
        let expected = WatchedObject { version: "9".to_owned(), summary: Some("{}".to_owned()) };
        assert_eq!(serde_json::from_str::<WatchedObject>(text).unwrap(), expected);
        let metadata = ObjectMeta {
            resource_version: Some("9".to_owned()),
            annotations: Some([(SUMMARY.to_owned(), "{}".to_owned())].into()),
            ..ObjectMeta::default()
        };
        assert_eq!(WatchedObject::from(metadata), expected);
        let bare = serde_json::from_str::<WatchedObject>(r#"{"annotations":null}"#).unwrap();
        assert_eq!(bare, WatchedObject::default());
    }
}
