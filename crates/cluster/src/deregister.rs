//! Deregisters the webhook before an uninstallation, so that no pod is refused for lack of
//! replicas.

use image_swap_core::labels;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Client;
use serde_json::json;
use tracing::info;

use crate::{api, error::Error, object_watch::PAGE, pull_secrets, release::Release};

/// Marks `release` as leaving, so that no controller registers it again, and
/// deletes its webhook configuration, so that no pod is refused once the
/// replicas are gone. Then it removes the pull Secrets that no living pod names. In this
/// order; an object that is already gone is fine.
///
/// # Errors
/// If the API server refuses or cannot be reached.
pub async fn deregister(client: &Client, release: &Release) -> Result<(), Error> {
    deregister_by_pages(client, release, PAGE).await
}

/// Deregisters as [`deregister`], and lists `page` objects at a time.
///
/// # Errors
/// If the API server refuses or cannot be reached.
pub async fn deregister_by_pages(
    client: &Client,
    release: &Release,
    page: u32,
) -> Result<(), Error> {
    let anchors = api::all::<ClusterRole, _>(client);
    let mark = json!({ "metadata": { "annotations": { labels::LEAVING: "true" } } });
    let marked = api::patch_if_present(&anchors, release.anchor(), &mark).await?;
    let registrations = api::registrations(client);
    let deleted = api::delete(&registrations, &release.admission()).await?;
    info!(marked, deleted, "deregistered the release");
    pull_secrets::leave(client, release, page).await
}
