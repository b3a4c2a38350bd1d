//! Which pods were swapped: by their metadata alone.

use futures_util::{Stream, StreamExt, stream};
use image_swap_core::admission::ORIGINALS;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::sync::watch;

use super::Order;
use crate::follow::{Patience, all};

type Event = Result<watcher::Event<PartialObjectMeta<Pod>>, watcher::Error>;

/// Every pod of the cluster, from the first order on that has a content.
pub(super) fn watch_after(
    client: &Client,
    mut orders: watch::Receiver<Order>,
) -> impl Stream<Item = Event> + use<> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::all(client.clone());
    let begun = async move {
        let has_content = |order: &Order| matches!(order, Order::Keep { content: Some(_), .. });
        // Nobody gives orders any more: nobody will ask for pods either.
        if orders.wait_for(has_content).await.is_err() {
            std::future::pending::<()>().await;
        }
        watcher(pods, all()).backoff(Patience::default())
    };
    stream::once(begun).flatten()
}

/// Namespace and name.
pub(super) fn name(pod: &PartialObjectMeta<Pod>) -> Option<(&str, &str)> {
    pod.metadata.namespace.as_deref().zip(pod.metadata.name.as_deref())
}

/// Whether one of its images was swapped.
pub(super) fn is_swapped(pod: &PartialObjectMeta<Pod>) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(ORIGINALS))
}
