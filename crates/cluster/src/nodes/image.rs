//! The image of trial pods, and the comparison of a pulled image with the mirror.
//!
//! Tasks of their own run these requests: a slow registry must not hold up the controller.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_core::{
    control::effective::Effective, declaration::Declaration, mirror::Fallback, reference::Reference,
};
use image_swap_registry::{
    Error as RegistryError, Lookup, RegistryClient, RegistryTrust, TlsTrust, basic_authorization,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Client, api::ListParams};

use crate::{api, error::Error, partial_meta::WholeObject};

/// Number of pods in a page of the list.
const PAGE: u32 = 200;
/// Number of images that are kept of the list.
const KEPT: usize = 200;
/// Number of manifests that are requested before the search ends.
const ASKED: usize = 20;

/// Outcome of the search for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ImageSearch {
    /// The mirror serves this image, or an administrator configured it.
    Found(String),
    /// No image that nodes request from the mirror runs in the cluster.
    Nothing,
    /// The mirror serves none of the images that nodes request from it; contains the reason.
    Unserved(String),
    /// The search cannot be finished now; contains the reason.
    Failed(String),
}

/// The request of a runtime to the mirror for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MirrorRequest {
    host: String,
    repository: String,
    identifier: String,
}

impl MirrorRequest {
    /// Returns the first request for `image`. `None` if `image` is invalid, or if the runtime
    /// requests the registry that the image names.
    fn of(declaration: &Declaration, image: &str) -> Option<Self> {
        let reference = Reference::parse(image).ok()?;
        let mirrors = declaration.mirrors();
        let url = mirrors.pulls(&reference, Fallback::Never).into_iter().next()?;
        if url == mirrors.own_url(&reference) {
            return None;
        }
        let (_, rest) = url.split_once("://")?;
        let (host, path) = rest.split_once("/v2/")?;
        let (repository, identifier) = path.rsplit_once("/manifests/")?;
        Some(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            identifier: identifier.to_owned(),
        })
    }

    /// Returns a client with the declared trust and credential. The credential is sent to a
    /// host whose certificate is verified, as by the check of the registry.
    fn client(&self, declaration: &Declaration) -> RegistryClient {
        let declared = declaration.registry.as_ref().filter(|it| it.covers(&self.host));
        let is_plain = declaration.mirrors().scheme(&self.host) == "http";
        let is_insecure = declared.is_some_and(|it| it.insecure);
        let trust = if is_plain {
            RegistryTrust::Plain
        } else {
            let mut tls = TlsTrust::system_and(declared.map(|it| it.ca.pem().as_bytes()));
            tls.skip_verify = is_insecure;
            RegistryTrust::Tls(tls)
        };
        let sends = !is_plain && !is_insecure;
        RegistryClient {
            domain: self.host.clone(),
            trust,
            headers: BTreeMap::new(),
            authorization: declared.filter(|_| sends).and_then(basic_authorization),
        }
    }
}

/// Searches the images that run in the cluster for the first one, by name, that the mirror
/// serves. If the registry refuses the controller (`is_refused`), the kubelet decides about the
/// first one.
pub(super) async fn search(client: Client, effective: Effective, is_refused: bool) -> ImageSearch {
    let Some(declaration) = effective.declaration() else { return ImageSearch::Nothing };
    let images = match running(&client, &declaration).await {
        Ok(images) => images,
        Err(error) => return ImageSearch::Failed(error.to_string()),
    };
    let Some(first) = images.first().cloned() else { return ImageSearch::Nothing };
    let count = images.len().min(ASKED);
    for image in images.into_iter().take(ASKED) {
        let Some(request) = MirrorRequest::of(&declaration, &image) else { continue };
        let MirrorRequest { repository, identifier, .. } = &request;
        match request.client(&declaration).manifest(repository, identifier).await {
            Ok(Lookup::Found(_)) => return ImageSearch::Found(image),
            // The server is a registry that does not serve this one.
            Ok(Lookup::NotFound | Lookup::Inconclusive(_))
            | Err(RegistryError::Unexpected { .. }) => {}
            Err(_) if is_refused => return ImageSearch::Found(first),
            Err(error) => return ImageSearch::Failed(error.to_string()),
        }
    }
    if is_refused {
        return ImageSearch::Found(first);
    }
    let which = if count == 1 { first } else { format!("{count} images, such as {first}") };
    ImageSearch::Unserved(format!("the mirror does not serve {which}, which run in the cluster"))
}

/// Returns the images of all pods that nodes request from a mirror, with the names before swapping.
async fn running(client: &Client, declaration: &Declaration) -> Result<BTreeSet<String>, Error> {
    let pods = api::all::<Pod, WholeObject>(client);
    let mut images = BTreeSet::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = pods.list(&page).await.map_err(Error::api("list running pods"))?;
        for image in list.items.iter().flat_map(written) {
            if !images.contains(&image) && MirrorRequest::of(declaration, &image).is_some() {
                images.insert(image);
                if images.len() > KEPT {
                    images.pop_last();
                }
            }
        }
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(images),
        }
    }
}

/// Returns the images of `pod`, and those that it had before they were swapped. A mirror does
/// not serve a swapped image under the name of another registry.
fn written(pod: &WholeObject) -> Vec<String> {
    let spec = &pod.spec;
    let containers = [&spec.containers, &spec.init_containers];
    let images = containers.into_iter().flatten().flatten().filter_map(|it| it.image.clone());
    let originals = pod.metadata.annotations.original_images.as_deref();
    let originals: Option<BTreeMap<String, String>> =
        originals.and_then(|text| serde_json::from_str(text).ok());
    images.chain(originals.into_iter().flat_map(BTreeMap::into_values)).collect()
}

/// Compares the pulled `image`, of which the runtime reports `digest`, with the answer of the
/// mirror.
///
/// A mirror that does not answer the controller proves nothing against the pull: a node on
/// trial pulls from no other registry.
///
/// # Errors
/// The mirror serves other content, or does not serve the image: the reason.
pub(super) async fn compare(
    effective: Effective,
    image: String,
    digest: Option<String>,
) -> Result<(), String> {
    let declaration = effective.declaration();
    let request = declaration.as_ref().and_then(|it| MirrorRequest::of(it, &image));
    let Some((declaration, request)) = declaration.as_ref().zip(request) else {
        return Err(format!("no rule for whole registries covers the trial image {image}"));
    };
    let client = request.client(declaration);
    let MirrorRequest { host, repository, identifier } = &request;
    let served = match client.manifest(repository, identifier).await {
        Ok(Lookup::Found(served)) => served,
        Ok(Lookup::NotFound) => {
            let colon = if identifier.contains(':') { '@' } else { ':' };
            return Err(format!(
                "the mirror does not serve {host}/{repository}{colon}{identifier}"
            ));
        }
        Ok(Lookup::Inconclusive(_)) | Err(_) => return Ok(()),
    };
    let Some(digest) = digest.filter(|digest| *digest != served) else { return Ok(()) };
    // A runtime may report the manifest of its platform: the mirror serves that one, too.
    match client.manifest(repository, &digest).await {
        Ok(Lookup::NotFound) => {
            Err(format!("the node pulled {digest}, which {host}/{repository} does not serve"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use image_swap_core::control::effective::{Origin, SecretData};
    use serde_json::json;

    use super::*;

    fn declaration(rules: &str) -> Declaration {
        let data = [
            ("DOMAIN", "h.example.org"),
            ("BASE_PATH", "airgap"),
            ("USERNAME", "robot"),
            ("PASSWORD", "s3cret"),
            ("INSECURE", "false"),
            ("MIRROR_REGISTRIES", rules),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        Effective { origin: Origin::RegistryInfo, secret }.declaration().unwrap()
    }

    #[test]
    fn request_is_that_of_the_runtime() {
        let declared = declaration("docker.io::h.example.org/airgap/docker.io");
        let request = MirrorRequest::of(&declared, "busybox:1.36").unwrap();
        let expected = MirrorRequest {
            host: "h.example.org".into(),
            repository: "airgap/docker.io/library/busybox".into(),
            identifier: "1.36".into(),
        };
        assert_eq!(request, expected);
        let client = request.client(&declared);
        assert!(client.authorization.is_some() && client.domain == "h.example.org");
        for other in ["quay.io/a/b:1", "h.example.org/airgap/docker.io/library/busybox", "A B"] {
            assert_eq!(MirrorRequest::of(&declared, other), None, "{other}");
        }
    }

    #[test]
    fn images_are_those_that_were_written() {
        let pod = json!({
            "metadata": {
                "name": "a", "annotations": { "image-swap.io/original-images": r#"{"main":"nginx:1"}"# },
            },
            "spec": {
                "containers": [{ "name": "main", "image": "h.example.org/airgap/docker.io/library/nginx:1" }],
                "initContainers": [{ "name": "first", "image": "busybox" }],
            },
        });
        let mut found = written(&serde_json::from_value(pod).unwrap());
        found.sort();
        let swapped = "h.example.org/airgap/docker.io/library/nginx:1";
        assert_eq!(found, ["busybox", swapped, "nginx:1"]);
    }
}
