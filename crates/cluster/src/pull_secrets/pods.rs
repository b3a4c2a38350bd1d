//! The fields of pods that decide on the pull Secret.

use std::collections::BTreeMap;

use futures_util::Stream;
use image_swap_core::{
    control::pull_secrets::SecretUse,
    labels,
    pull_secret::{CoveredImages, NAME},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, core::ObjectMeta, runtime::watcher};
use serde::Deserialize;

use crate::{
    object_watch::{all, pages},
    partial_meta::partial_resource,
};

/// Phases of pods whose containers are not started again.
const ENDED: [&str; 2] = ["Succeeded", "Failed"];

/// Watches every pod of the cluster.
pub(super) fn watch(
    client: &Client,
) -> impl Stream<Item = Result<watcher::Event<SeenPod>, watcher::Error>> + use<> {
    pages(Api::all(client.clone()), all())
}

/// A pod: its names, and the rest only if it names the pull Secret.
///
/// Most of a pod is `managedFields`, status and environment. Nothing of them is kept, not
/// even while a page of pods is read.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "WholePod")]
pub(super) struct SeenPod {
    names: ObjectMeta,
    user: Option<Box<SecretUser>>,
}

/// A pod that names the pull Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SecretUser {
    living: bool,
    /// The record of original images; [`None`] for a pod without one, and for pods that are
    /// never swapped.
    record: Option<String>,
    /// Keys of the record, and the images.
    images: Vec<(String, String)>,
    /// The labels with the value `disabled`.
    disabled: Vec<String>,
}

/// A pod as the API server sends it.
#[derive(Deserialize)]
struct WholePod {
    metadata: PodMetadata,
    #[serde(default)]
    spec: PodFields,
    #[serde(default)]
    status: PodPhase,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<labels::PodAnnotations>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodFields {
    containers: Option<Vec<PodContainer>>,
    init_containers: Option<Vec<PodContainer>>,
    ephemeral_containers: Option<Vec<PodContainer>>,
    volumes: Option<Vec<PodVolume>>,
    image_pull_secrets: Option<Vec<SecretName>>,
}

#[derive(Deserialize)]
struct PodContainer {
    name: String,
    image: Option<String>,
}

#[derive(Deserialize)]
struct PodVolume {
    name: String,
    image: Option<PodVolumeImage>,
}

#[derive(Deserialize)]
struct PodVolumeImage {
    reference: Option<String>,
}

#[derive(Deserialize)]
struct SecretName {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
struct PodPhase {
    phase: Option<String>,
}

impl From<WholePod> for SeenPod {
    fn from(WholePod { metadata, spec, status }: WholePod) -> Self {
        let PodMetadata { name, namespace, uid, resource_version, annotations, labels } = metadata;
        let mut secrets = spec.image_pull_secrets.iter().flatten();
        let is_user = secrets.any(|secret| secret.name.as_deref() == Some(NAME));
        let user = is_user.then(|| {
            let labels = labels.unwrap_or_default();
            let is_exempt = labels.get(labels::EXEMPT).is_some_and(|value| value == "true");
            let annotations = annotations.filter(|it| it.mirror.is_none() && !is_exempt);
            let disabled = labels.into_iter().filter(|(_, value)| value == labels::DISABLED);
            Box::new(SecretUser {
                living: !ENDED.contains(&status.phase.as_deref().unwrap_or_default()),
                record: annotations.and_then(|annotations| annotations.original_images),
                images: spec.images(),
                disabled: disabled.map(|(key, _)| key).collect(),
            })
        });
        let names = ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() };
        Self { names, user }
    }
}

impl PodFields {
    /// Returns every image with its key in the record of originals.
    fn images(self) -> Vec<(String, String)> {
        let Self { containers, init_containers, ephemeral_containers, volumes, .. } = self;
        let containers = [containers, init_containers, ephemeral_containers];
        let containers = containers.into_iter().flatten().flatten();
        let containers = containers.filter_map(|it| Some((it.name, it.image?)));
        let volumes = volumes.into_iter().flatten().filter_map(|volume| {
            Some((format!("volume:{}", volume.name), volume.image?.reference?))
        });
        containers.chain(volumes).collect()
    }
}

impl SeenPod {
    /// Returns the namespace and the name.
    pub(super) fn name(&self) -> Option<(&str, &str)> {
        self.names.namespace.as_deref().zip(self.names.name.as_deref())
    }

    pub(super) fn uid(&self) -> Option<&str> {
        self.names.uid.as_deref()
    }

    /// Returns true if it names the pull Secret and its containers may start again.
    pub(super) fn is_living_user(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.living)
    }

    /// Returns the use that it makes of the pull Secret for the images `covered`; [`None`] if
    /// it does not name the Secret. A pod with `label` set to `disabled` is never swapped.
    pub(super) fn secret_use(
        &self,
        covered: Option<&CoveredImages>,
        label: &str,
    ) -> Option<SecretUse> {
        let SecretUser { living, record, images, disabled } = self.user.as_deref()?;
        let images = || images.iter().map(|(key, image)| (key.as_str(), image.as_str()));
        let swapped = !disabled.iter().any(|key| key == label)
            && covered
                .zip(record.as_deref())
                .is_some_and(|(covered, record)| covered.pulls_swapped(record, images()));
        Some(SecretUse { swapped, living: *living })
    }
}

partial_resource!(SeenPod, Pod, whole);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::StreamExt;
    use hyper::{Request, Response};
    use image_swap_core::declaration::{Declaration, DeclarationSource};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    const LABEL: &str = "k8s.twr.io/imageswap";

    fn covered() -> CoveredImages {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": "registry-info", "namespace": "jet-system" },
            "stringData": {
                "DOMAIN": "h.io", "BASE_PATH": "d", "INSECURE": "false",
                "MIRROR_REGISTRIES": "docker.io::h.io/d",
            },
        });
        let declaration =
            Declaration::read(DeclarationSource::RegistryInfo, &secret.to_string(), 0);
        CoveredImages::of(&declaration.unwrap()).unwrap()
    }

    /// Returns a swapped pod as the API server sends it.
    fn mk_pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "shop-1", "namespace": "apps", "uid": "7c9e", "resourceVersion": "42",
                "labels": { "app": "shop" },
                "annotations": { labels::ORIGINAL_IMAGES: r#"{"main":"nginx"}"#, "other": "x" },
                "managedFields": [{ "manager": "kubelet", "fieldsV1": { "f:status": {} } }],
            },
            "spec": {
                "nodeName": "one", "tolerations": [],
                "containers": [{ "name": "main", "image": "h.io/d/library/nginx", "env": [] }],
                "imagePullSecrets": [{ "name": "other" }, { "name": NAME }],
            },
            "status": { "phase": "Running", "conditions": [] },
        })
    }

    fn used(pod: Value) -> Option<SecretUse> {
        let pod: SeenPod = serde_json::from_value(pod).unwrap();
        pod.secret_use(Some(&covered()), LABEL)
    }

    #[test]
    fn swapped_pod_needs_the_secret() {
        assert_eq!(used(mk_pod()), Some(SecretUse { swapped: true, living: true }));
        let pod: SeenPod = serde_json::from_value(mk_pod()).unwrap();
        assert_eq!((pod.name(), pod.uid()), (Some(("apps", "shop-1")), Some("7c9e")));
        assert_eq!(pod.secret_use(None, LABEL), Some(SecretUse { swapped: false, living: true }));
    }

    #[test]
    fn every_list_of_images_counts() {
        for (list, key, item) in [
            ("initContainers", "init", json!({ "name": "init", "image": "h.io/d/x" })),
            ("ephemeralContainers", "debug", json!({ "name": "debug", "image": "h.io/d/x" })),
            ("volumes", "volume:v", json!({ "name": "v", "image": { "reference": "h.io/d/x" } })),
        ] {
            let mut pod = mk_pod();
            pod["spec"]["containers"][0]["image"] = "quay.io/own".into();
            pod["spec"][list] = json!([item]);
            assert_eq!(used(pod.clone()).map(|it| it.swapped), Some(false), "{list}");
            pod["metadata"]["annotations"][labels::ORIGINAL_IMAGES] =
                format!(r#"{{"{key}":"x"}}"#).into();
            assert_eq!(used(pod).map(|it| it.swapped), Some(true), "{list}");
        }
    }

    #[test]
    fn pod_that_is_not_swapped_needs_none() {
        for (path, value) in [
            ("/metadata/annotations", json!({ labels::ORIGINAL_IMAGES: "anything" })),
            ("/metadata/annotations", Value::Null),
            ("/metadata/annotations/other", json!("x")),
            ("/metadata/labels", json!({ LABEL: "disabled" })),
            ("/metadata/labels", json!({ labels::EXEMPT: "true" })),
            ("/spec/containers/0/image", json!("ghcr.io/tenant/own:1")),
        ] {
            let mut pod = mk_pod();
            *pod.pointer_mut(path).unwrap() = value;
            let is_untouched = pod == mk_pod();
            assert_eq!(used(pod).map(|it| it.swapped), Some(is_untouched), "{path}");
        }
        let mut pod = mk_pod();
        pod["metadata"]["annotations"][labels::MIRROR_POD] = "x".into();
        assert_eq!(used(pod).map(|it| it.swapped), Some(false));
        for secrets in [Value::Null, json!([{ "name": "other" }]), json!([{}])] {
            let mut pod = mk_pod();
            pod["spec"]["imagePullSecrets"] = secrets;
            assert_eq!(used(pod), None);
        }
    }

    #[test]
    fn ended_pod_does_not_live() {
        for (phase, living) in [
            ("Pending", true),
            ("Running", true),
            ("Unknown", true),
            ("Succeeded", false),
            ("Failed", false),
        ] {
            let mut pod = mk_pod();
            pod["status"]["phase"] = phase.into();
            assert_eq!(used(pod), Some(SecretUse { swapped: true, living }), "{phase}");
        }
    }

    #[test]
    fn pod_with_a_name_alone_is_read() {
        let pod = json!({ "metadata": { "name": "a", "namespace": "b" } });
        let pod: SeenPod = serde_json::from_value(pod).unwrap();
        assert_eq!((pod.name(), pod.user.is_none()), (Some(("b", "a")), true));
    }

    #[tokio::test]
    async fn pods_are_listed_by_the_page() {
        let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
        let server = tower::service_fn(move |request: Request<Body>| {
            asked.send(request.into_parts().0).unwrap();
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let watching = watch(&Client::new(server, "default")).for_each(|_| std::future::ready(()));
        let question = tokio::select! {
            question = questions.recv() => question.unwrap(),
            () = watching => panic!("a watch never ends"),
        };
        assert_eq!(question.uri.path(), "/api/v1/pods");
        let query = question.uri.query().unwrap();
        assert!(
            query.split('&').any(|part| part == format!("limit={}", crate::object_watch::PAGE)),
            "{query}"
        );
    }
}
