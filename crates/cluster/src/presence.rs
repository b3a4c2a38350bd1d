//! The presence of an object.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use tracing::debug;

use crate::{api, error::watch_reason, object_watch, partial_meta::MetadataObject};

/// Calls `on_change` with each state of the Secret `name` in `namespace`: true if it is present. The
/// API server sends no content. An error of the watch changes nothing. Never ends.
pub async fn follow_presence(
    client: &Client,
    namespace: &str,
    name: &str,
    on_change: impl Fn(bool),
) {
    let secrets = api::namespaced::<Secret, MetadataObject>(client, namespace);
    let take = |state: Result<Option<MetadataObject>, _>| match state {
        Ok(found) => on_change(found.is_some()),
        Err(error) => debug!(name, error = watch_reason(&error), "restarting the watch"),
    };
    object_watch::follow(secrets, name, take).await;
}
