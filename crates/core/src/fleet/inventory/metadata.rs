//! Metadata of an object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    ClusterKey, ClusterSettings, ClusterSource, OriginObject,
    found::{CredentialRoute, FoundCluster},
    settings,
};

/// Limit of an object in bytes, as JSON. Objects with more cost memory for each cluster.
const OBJECT_MAX: usize = 512 * 1024;

/// Reads metadata and settings of `object`. `route` is called unless the object is refused or being
/// deleted. Returns `None` for an object without name, namespace or UID.
pub(super) fn found(
    source: ClusterSource,
    kind: (&str, &str),
    object: &Value,
    route: impl FnOnce() -> CredentialRoute,
) -> Option<FoundCluster> {
    let metadata = &object["metadata"];
    let text = |key: &str| metadata[key].as_str().map(str::to_owned);
    let key = ClusterKey { namespace: text("namespace")?, source, name: text("name")? };
    let (api_version, kind) = kind;
    let api_version = object["apiVersion"].as_str().unwrap_or(api_version).to_owned();
    let origin = OriginObject { api_version, kind: kind.to_owned(), uid: text("uid")? };
    let size = object.to_string().len();
    if size > OBJECT_MAX {
        let reason =
            format!("the object has {size} bytes, expected at most {OBJECT_MAX}; reduce it");
        let (labels, settings) = (BTreeMap::new(), ClusterSettings::default());
        let route = CredentialRoute::Refused(reason);
        return Some(FoundCluster { key, origin, labels, settings, route });
    }
    let labels = labels(object);
    let (settings, route) = match settings::read(metadata) {
        Err(reason) => (ClusterSettings::default(), CredentialRoute::Refused(reason)),
        Ok(settings) if metadata["deletionTimestamp"].is_string() => {
            (settings, CredentialRoute::Waiting("the object is being deleted".to_owned()))
        }
        Ok(settings) => (settings, route()),
    };
    Some(FoundCluster { key, origin, labels, settings, route })
}

/// Returns the labels of `object`.
pub(super) fn labels(object: &Value) -> BTreeMap<String, String> {
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Returns true if `text` is the name of an object: a DNS subdomain.
pub(in crate::fleet) fn is_name(text: &str) -> bool {
    let is_end = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(|byte| is_end(*byte))
            && bytes.last().is_some_and(|byte| is_end(*byte))
            && bytes.iter().all(|byte| is_end(*byte) || *byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_part)
}
