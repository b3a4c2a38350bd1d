//! Lists of Secrets in the fleet controller's namespace.

use image_swap_cluster::Error;
use image_swap_core::labels;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _, api::ListParams, core::PartialObjectMeta};

/// Secrets in a page of a list.
const PAGE: u32 = 500;

/// Returns what `select` returns for each Secret of the release `release` whose name begins with
/// `prefix`. Only metadata are read. `action` describes the request in an error.
///
/// # Errors
/// [`Error::Api`].
pub(super) async fn select<T>(
    secrets: &Api<Secret>,
    (release, prefix): (&str, &str),
    action: &str,
    select: impl Fn(&PartialObjectMeta<Secret>) -> Option<T>,
) -> Result<Vec<T>, Error> {
    let of_release = format!("{}={release}", labels::RELEASE);
    let mut params = ListParams::default().labels(&of_release).limit(PAGE);
    let mut selected = Vec::new();
    loop {
        let page = secrets.list_metadata(&params).await.map_err(Error::api(action))?;
        let named = page.items.iter().filter(|it| it.name_any().starts_with(prefix));
        selected.extend(named.filter_map(&select));
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(selected),
        }
    }
}
