//! Removal of the pull Secrets when the release leaves.

use std::collections::BTreeMap;

use image_swap_core::{labels, pull_secret::NAME};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, api::ListParams};
use tracing::{info, warn};

use super::{
    existing::FoundSecret,
    pods::secret_use,
    write::{WriteOutcome, Writer, reason},
};
use crate::{api, error::Error, partial_meta::WholeObject, release::Release};

/// Number of objects after which a list does not end. Kubernetes supports 150,000 pods.
const OBJECTS: u32 = 500_000;
/// Longest name of a pod, and longest UID, in bytes.
const NAME_MAX: usize = 253;

/// Deletes the release's pull Secrets, except those to which a living pod refers. The pods become
/// the owners of the latter, and a later release takes them over.
///
/// A namespace that refuses the request does not keep others from being cleared. A page of a list has
/// `page` objects.
///
/// # Errors
/// The API server does not list Secrets or pods.
pub(crate) async fn leave(client: &Client, release: &Release, page: u32) -> Result<(), Error> {
    let mut secrets = Vec::new();
    let all = api::all::<Secret, _>(client);
    let named = ListParams::default().limit(page).fields(&format!("metadata.name={NAME}"));
    each(&all, named, "pull Secrets", &mut |secret| {
        if secret.label(labels::MANAGED_BY) == Some(&release.name)
            && let Some(namespace) = secret.namespace()
        {
            secrets.push((namespace.to_owned(), FoundSecret::of(&secret)));
        }
    })
    .await?;
    if secrets.is_empty() {
        return Ok(());
    }
    let mut users: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let pods = ListParams::default().limit(page);
    each(&api::all::<Pod, _>(client), pods, "pods", &mut |pod| {
        if let (Some((namespace, name)), Some(uid)) = (pod.name(), pod.uid())
            && [namespace, name, uid].iter().all(|it| it.len() <= NAME_MAX)
            && secret_use(&pod, None, "").is_some_and(|used| used.living)
        {
            let user = (name.to_owned(), uid.to_owned());
            users.entry(namespace.to_owned()).or_default().push(user);
        }
    })
    .await?;
    let writer = Writer::new(client, release);
    for (namespace, found) in secrets {
        let pods = users.get(&namespace).map_or(&[][..], Vec::as_slice);
        match writer.leave(&namespace, &found, pods).await {
            Ok(WriteOutcome::Written(_)) => {
                info!(namespace, pods = pods.len(), "kept the pull Secret for pods that name it");
            }
            Ok(_) => info!(namespace, "deleted the pull Secret"),
            Err(error) => {
                let reason =
                    reason(&error).unwrap_or_else(|| "another writer changed it".to_owned());
                warn!(namespace, reason, "cannot remove the pull Secret");
            }
        }
    }
    Ok(())
}

/// Calls `visit` with every object that `params` select, a page at a time.
///
/// # Errors
/// The API server refuses a request, or does not end the list.
async fn each(
    objects: &Api<WholeObject>,
    mut params: ListParams,
    doing: &str,
    visit: &mut (dyn FnMut(WholeObject) + Send),
) -> Result<(), Error> {
    for _ in 0..OBJECTS / params.limit.unwrap_or(1).max(1) {
        let page = objects.list(&params).await.map_err(Error::api(format!("list {doing}")))?;
        page.items.into_iter().for_each(&mut *visit);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
    Err(Error::Endless(format!("list {doing}")))
}
