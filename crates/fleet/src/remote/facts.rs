//! Facts about a workload cluster.

use std::collections::BTreeSet;

use image_swap_core::labels::KUBE_SYSTEM;
use serde::Deserialize;

use super::{
    client::{JSON, METADATA, RemoteCluster},
    error::RemoteError,
    objects::LiveObject,
};

/// Longest UID, in bytes.
const TEXT_MAX: usize = 64;
/// Longest `GROUP/VERSION`, in bytes.
const GROUP_MAX: usize = 320;
/// Number of groups with versions that are kept.
const SERVED_MAX: usize = 1024;

/// Facts about a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFacts {
    /// Groups with versions that the API server serves, as `GROUP/VERSION`, and `v1`.
    pub served: BTreeSet<String>,
}

#[derive(Deserialize)]
struct GroupList {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<GroupVersion>,
}

#[derive(Deserialize)]
struct GroupVersion {
    #[serde(rename = "groupVersion")]
    text: String,
}

impl RemoteCluster {
    /// Returns the identity of the cluster: the UID of its namespace `kube-system`.
    ///
    /// # Errors
    /// The namespace cannot be read.
    pub async fn identity(&self) -> Result<String, RemoteError> {
        let path = format!("/api/v1/namespaces/{KUBE_SYSTEM}");
        let found: Option<LiveObject> = self.read(&path, METADATA).await?;
        let uid = found.ok_or(RemoteError::Refused(404))?.metadata.uid;
        let is_uid =
            !uid.is_empty() && uid.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
        if is_uid && uid.len() <= TEXT_MAX { Ok(uid) } else { Err(RemoteError::BadResponse) }
    }

    /// Returns the APIs that the API server serves.
    ///
    /// # Errors
    /// The cluster does not answer, or refuses a request.
    pub async fn discover(&self) -> Result<RemoteFacts, RemoteError> {
        let groups: Option<GroupList> = self.read("/apis", JSON).await?;
        let groups = groups.ok_or(RemoteError::Refused(404))?.groups;
        let versions = groups.into_iter().flat_map(|it| it.versions).map(|it| it.text);
        let known = versions.filter(|it| it.len() <= GROUP_MAX);
        let mut served: BTreeSet<String> = known.take(SERVED_MAX).collect();
        served.insert("v1".to_owned());
        Ok(RemoteFacts { served })
    }
}
