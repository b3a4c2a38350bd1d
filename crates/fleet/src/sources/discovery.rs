//! Versions of an API that the API server serves.

use hyper::Request;
use image_swap_cluster::error::code;
use kube::{Client, Error, api::ApiResource};

/// Kind with its API group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApiKind {
    pub(crate) group: &'static str,
    pub(crate) kind: &'static str,
    /// Versions that are read, newest first.
    pub(crate) versions: &'static [&'static str],
}

/// Returns the newest version of `wanted` that the API server serves; `None` if it serves none.
///
/// # Errors
/// The API server cannot be reached, or is not ready: then it may not list all groups yet.
pub(crate) async fn served(client: &Client, wanted: ApiKind) -> Result<Option<ApiResource>, Error> {
    let groups = client.list_api_groups().await?.groups;
    let Some(group) = groups.into_iter().find(|group| group.name == wanted.group) else {
        return check_ready(client).await.map(|()| None);
    };
    for version in wanted.versions {
        if group.versions.iter().any(|it| it.version == *version)
            && let Some(resource) = resource(client, wanted, version).await?
        {
            return Ok(Some(resource));
        }
    }
    Ok(None)
}

/// Returns an error if the API server is not ready.
async fn check_ready(client: &Client) -> Result<(), Error> {
    let ready = Request::get("/readyz").body(Vec::new()).map_err(Error::HttpError)?;
    match client.request_text(ready).await {
        Err(error) if !matches!(code(&error), Some(403 | 404)) => Err(error),
        _ => Ok(()),
    }
}

/// Returns the resource of a version; `None` if the version has other kinds alone.
async fn resource(
    client: &Client,
    wanted: ApiKind,
    version: &str,
) -> Result<Option<ApiResource>, Error> {
    let api_version = format!("{}/{version}", wanted.group);
    let resources = match client.list_api_group_resources(&api_version).await {
        Ok(list) => list.resources,
        // The version was removed meanwhile.
        Err(error) if code(&error) == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut resources = resources.into_iter();
    let found = resources.find(|it| it.kind == wanted.kind && !it.name.contains('/'));
    Ok(found.map(|found| ApiResource {
        group: wanted.group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: found.kind,
        plural: found.name,
    }))
}
