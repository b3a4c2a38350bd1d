//! The record of applied objects, in a `ConfigMap` of the workload cluster.
//!
//! The record is written before a new object and after the last old one. So it always names every
//! object that the fleet controller applied, whenever its process ends. In steady state it is read
//! and not written.

use image_swap_core::{
    fleet::bundle::{AppliedObjects, BundleObject, FLEET_MANAGER},
    labels::{APP_MANAGED_BY, APP_NAME, IMAGE_SWAP},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    client::{JSON, RemoteCluster},
    error::RemoteError,
    objects::{ApplyMode, named},
};

/// Key of the record in its `ConfigMap`.
const KEY: &str = "objects";

/// `ConfigMap` with the record.
#[derive(Default, Deserialize)]
struct RecordMap {
    #[serde(default)]
    data: RecordData,
}

#[derive(Default, Deserialize)]
struct RecordData {
    #[serde(default)]
    objects: String,
}

/// Returns the `ConfigMap` with the record `objects` of a release in `namespace`.
pub(super) fn record_map(namespace: &str, objects: &AppliedObjects) -> BundleObject {
    let name = format!("{FLEET_MANAGER}-objects");
    let value = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": { APP_NAME: IMAGE_SWAP, APP_MANAGED_BY: FLEET_MANAGER },
        },
        "data": { KEY: objects.text() },
    });
    BundleObject { value: value.into(), ..named("v1", "ConfigMap", namespace, &name) }
}

impl RemoteCluster {
    /// Returns the objects that the fleet controller applied for the release in `namespace`.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    pub(super) async fn recorded(&self, namespace: &str) -> Result<AppliedObjects, RemoteError> {
        let path = record_map(namespace, &AppliedObjects::default()).path();
        let found: Option<RecordMap> = self.read(&path, JSON).await?;
        Ok(AppliedObjects::parse(&found.unwrap_or_default().data.objects))
    }

    /// Writes the record. Returns false if its namespace does not exist.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    pub(super) async fn record(
        &self,
        namespace: &str,
        objects: &AppliedObjects,
    ) -> Result<bool, RemoteError> {
        let map = record_map(namespace, objects);
        match self.apply_object(&map, &map.value, ApplyMode::Forced).await? {
            Ok(_) => Ok(true),
            Err(refused) if refused.code == 404 => Ok(false),
            Err(refused) => Err(RemoteError::of_code(refused.code)),
        }
    }
}
