//! Removal of the pull Secrets when the release leaves.

use std::collections::BTreeMap;

use image_swap_core::pull_secret::NAME;
use kube::{Api, Client, api::ListParams};
use tracing::{info, warn};

use super::{
    existing::{FoundSecret, SeenSecret},
    pods::SeenPod,
    write::{WriteOutcome, Writer, reason},
};
use crate::{error::Error, object_watch::PAGE, release::Release};

/// Deletes the release's pull Secrets, but for those that a living pod names: these are left
/// to the pods as their owners, and a later release takes them over.
///
/// One namespace that refuses keeps no other from being cleared.
///
/// # Errors
/// The API server does not list Secrets or pods.
pub(crate) async fn leave(client: &Client, release: &Release) -> Result<(), Error> {
    let mut secrets = Vec::new();
    each(client, &format!("metadata.name={NAME}"), "pull Secrets", |secret: SeenSecret| {
        if secret.is_managed_by(&release.name)
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
    each(client, "", "pods", |pod: SeenPod| {
        if let (Some((namespace, name)), Some(uid)) = (pod.name(), pod.uid())
            && pod.is_living_user()
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
                info!(namespace, pods = pods.len(), "the pull Secret stays for pods that name it");
            }
            Ok(_) => info!(namespace, "the pull Secret is deleted"),
            Err(error) => {
                let reason = reason(&error).unwrap_or_else(|| "it has just changed".to_owned());
                warn!(namespace, reason, "the pull Secret cannot be removed");
            }
        }
    }
    Ok(())
}

/// Calls `visit` with every object that the field selector `fields` matches, a page at a time.
async fn each<K>(
    client: &Client,
    fields: &str,
    doing: &str,
    mut visit: impl FnMut(K),
) -> Result<(), Error>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let objects: Api<K> = Api::all(client.clone());
    let mut params = ListParams::default().limit(PAGE);
    if !fields.is_empty() {
        params = params.fields(fields);
    }
    loop {
        let page = objects.list(&params).await.map_err(Error::api(format!("list {doing}")))?;
        page.items.into_iter().for_each(&mut visit);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}
