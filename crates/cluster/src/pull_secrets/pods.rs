//! Which pods were swapped: by their metadata alone.

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    core::ApiResource,
    runtime::{
        WatchStreamExt,
        watcher::{self, watcher},
    },
};
use tokio::sync::watch;

use super::{Order, PAGE};
use crate::{
    follow::{Patience, all},
    outline::Glimpse,
};

type Event = Result<watcher::Event<Glimpse>, watcher::Error>;

/// Every pod of the cluster, from the first order on that has a content.
pub(super) fn watch_after(
    client: &Client,
    mut orders: watch::Receiver<Order>,
) -> impl Stream<Item = Event> + use<> {
    let pods: Api<Glimpse> = Api::all_with(client.clone(), &ApiResource::erase::<Pod>(&()));
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
    use image_swap_core::cluster::webhooks::Owner;
    use kube::client::Body;

    use super::*;

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
}
