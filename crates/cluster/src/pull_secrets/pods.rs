//! The fields of pods that decide on the pull Secret.

use image_swap_core::{
    control::pull_secrets::SecretUse,
    labels,
    pull_secret::{CoveredImages, NAME},
};

use crate::partial_meta::WholeObject;

/// Phases of pods whose containers are not started again.
const ENDED: [&str; 2] = ["Succeeded", "Failed"];

/// Returns the use that `pod` makes of the pull Secret for the images `covered`; [`None`] if
/// it does not name the Secret. A pod with `label` set to `disabled` is never swapped.
pub(super) fn secret_use(
    pod: &WholeObject,
    covered: Option<&CoveredImages>,
    label: &str,
) -> Option<SecretUse> {
    let mut secrets = pod.spec.image_pull_secrets.iter().flatten();
    secrets.find(|secret| secret.name.as_deref() == Some(NAME))?;
    let annotations = &pod.metadata.annotations;
    let is_reviewed = annotations.mirror.is_none()
        && pod.label(labels::EXEMPT) != Some("true")
        && pod.label(label) != Some(labels::DISABLED);
    let record = annotations.original_images.as_deref().filter(|_| is_reviewed);
    let images = images(pod);
    let images = || images.iter().map(|(key, image)| (key.as_str(), *image));
    Some(SecretUse {
        swapped: covered.zip(record).is_some_and(|(it, record)| it.pulls_swapped(record, images())),
        living: !ENDED.contains(&pod.status.phase.as_deref().unwrap_or_default()),
    })
}

/// Returns every image of `pod` with its key in the record of originals.
pub(crate) fn images(pod: &WholeObject) -> Vec<(String, &str)> {
    let spec = &pod.spec;
    let containers = [&spec.containers, &spec.init_containers, &spec.ephemeral_containers];
    let containers = containers.into_iter().flatten().flatten();
    let containers = containers.filter_map(|it| Some((it.name.clone(), it.image.as_deref()?)));
    let volumes = spec.volumes.iter().flatten().filter_map(|volume| {
        let image = volume.image.as_ref()?.reference.as_deref()?;
        Some((format!("volume:{}", volume.name), image))
    });
    containers.chain(volumes).collect()
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future::ready};

    use futures_util::StreamExt;
    use hyper::{Request, Response};
    use image_swap_core::declaration::{Declaration, DeclarationSource};
    use k8s_openapi::api::core::v1::Pod;
    use kube::{Client, client::Body, runtime::watcher::Config};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::all,
        object_watch::{PAGE, pages},
    };

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
        secret_use(&serde_json::from_value(pod).unwrap(), Some(&covered()), LABEL)
    }

    #[test]
    fn swapped_pod_needs_the_secret() {
        assert_eq!(used(mk_pod()), Some(SecretUse { swapped: true, living: true }));
        let pod: WholeObject = serde_json::from_value(mk_pod()).unwrap();
        assert_eq!((pod.name(), pod.uid()), (Some(("apps", "shop-1")), Some("7c9e")));
        assert_eq!(secret_use(&pod, None, LABEL), Some(SecretUse { swapped: false, living: true }));
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
    fn pod_with_only_a_name_is_read() {
        let pod = json!({ "metadata": { "name": "a", "namespace": "b" } });
        let pod: WholeObject = serde_json::from_value(pod).unwrap();
        assert_eq!((pod.name(), secret_use(&pod, None, LABEL).is_none()), (Some(("b", "a")), true));
    }

    #[tokio::test]
    async fn pods_are_listed_by_the_page() {
        let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
        let server = tower::service_fn(move |request: Request<Body>| {
            sender.send(request.into_parts().0).unwrap();
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let pods = all::<Pod, WholeObject>(&Client::new(server, "default"));
        let watching = pages(pods, Config::default(), "pods").for_each(|_| ready(()));
        let request = tokio::select! {
            request = requests.recv() => request.unwrap(),
            () = watching => panic!("a watch never ends"),
        };
        assert_eq!(request.uri.path(), "/api/v1/pods");
        let query = request.uri.query().unwrap();
        assert!(query.split('&').any(|part| part == format!("limit={PAGE}")), "{query}");
    }
}
