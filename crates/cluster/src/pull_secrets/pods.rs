//! Which pods were swapped: by their metadata alone.

use std::borrow::Cow;

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod};
use kube::{
    Api, Client, Resource,
    core::ObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use serde::Deserialize;
use tokio::sync::watch;

use super::{
    Order,
    outline::{Outline, PAGE},
};
use crate::follow::{Patience, all};

/// What is held of a pod.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Whole")]
pub(super) struct SeenPod {
    names: ObjectMeta,
    /// Whether one of its images was swapped.
    pub(super) is_swapped: bool,
}

/// As the API server sends it.
#[derive(Deserialize)]
struct Whole {
    metadata: Outline,
}

impl From<Whole> for SeenPod {
    fn from(Whole { metadata }: Whole) -> Self {
        Self { is_swapped: metadata.is_swapped(), names: metadata.into_names() }
    }
}

impl SeenPod {
    /// Namespace and name.
    pub(super) fn name(&self) -> Option<(&str, &str)> {
        self.names.namespace.as_deref().zip(self.names.name.as_deref())
    }
}

impl Resource for SeenPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    /// The API server keeps the rest of a pod to itself.
    fn metadata_api() -> bool {
        true
    }

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.names
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.names
    }
}

type Event = Result<watcher::Event<SeenPod>, watcher::Error>;

/// Every pod of the cluster, from the first order on that has a content.
pub(super) fn watch_after(
    client: &Client,
    mut orders: watch::Receiver<Order>,
) -> impl Stream<Item = Event> + use<> {
    let pods: Api<SeenPod> = Api::all(client.clone());
    let begun = async move {
        let has_content = |order: &Order| matches!(order, Order::Keep { content: Some(_), .. });
        // Nobody gives orders any more: nobody will ask for pods either.
        if orders.wait_for(has_content).await.is_err() {
            std::future::pending::<()>().await;
        }
        watcher(pods, all().page_size(PAGE)).backoff(Patience::default())
    };
    stream::once(begun).flatten()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::{Request, Response};
    use image_swap_core::{admission::ORIGINALS, cluster::webhooks::Owner};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// A pod's metadata as API servers send it, and everything that it may have.
    fn mk_pod(annotations: &Value) -> Value {
        json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {
                "name": "shop-1", "generateName": "shop-", "namespace": "apps",
                "uid": "7c9e", "resourceVersion": "42", "generation": 1,
                "creationTimestamp": null,
                "labels": { "app": "shop" },
                "annotations": annotations,
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop", "uid": "1f",
                }],
                "finalizers": ["example.org/finalizer"],
                "managedFields": [{
                    "manager": "kubelet", "operation": "Update", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:status": { "f:phase": {} } },
                }],
            },
        })
    }

    #[test]
    fn of_a_pod_nothing_is_held_but_its_names_and_whether_it_was_swapped() {
        let names = ObjectMeta {
            name: Some("shop-1".into()),
            namespace: Some("apps".into()),
            uid: Some("7c9e".into()),
            resource_version: Some("42".into()),
            ..ObjectMeta::default()
        };
        for (annotations, is_swapped) in [
            (json!({ ORIGINALS: "{}", "example.org/long": "x" }), true),
            (json!({ "example.org/long": "x" }), false),
            (Value::Null, false),
        ] {
            let pod: SeenPod = serde_json::from_value(mk_pod(&annotations)).unwrap();
            assert_eq!((&pod.names, pod.is_swapped), (&names, is_swapped));
            assert_eq!(pod.name(), Some(("apps", "shop-1")));
        }
    }

    /// What is asked for first, of whoever knows of pods.
    #[tokio::test]
    async fn pods_are_listed_by_the_page_and_without_what_is_not_metadata() {
        let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
        let server = tower::service_fn(move |request: Request<Body>| {
            asked.send(request.into_parts().0).unwrap();
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let owner = Owner { name: "a".into(), uid: "b".into() };
        let (_orders, given) = watch::channel(Order::Keep { owner, content: Some(b"{}".to_vec()) });
        let watching = watch_after(&Client::new(server, "default"), given)
            .for_each(|_| std::future::ready(()));
        let question = tokio::select! {
            question = questions.recv() => question.unwrap(),
            () = watching => panic!("a watch never ends"),
        };
        assert_eq!(question.uri.path(), "/api/v1/pods");
        let query = question.uri.query().unwrap();
        assert!(query.split('&').any(|part| part == format!("limit={PAGE}")), "{query}");
        let accept = question.headers["accept"].to_str().unwrap();
        assert!(accept.contains("as=PartialObjectMetadataList"), "{accept}");
    }

    #[test]
    fn a_pod_that_has_no_more_than_a_name_can_be_read() {
        let pod = json!({ "metadata": { "name": "a", "namespace": "b" } });
        let pod: SeenPod = serde_json::from_value(pod).unwrap();
        assert_eq!((pod.name(), pod.is_swapped), (Some(("b", "a")), false));
    }
}
