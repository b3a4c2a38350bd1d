//! The watches of the controller of nodes.

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use image_swap_core::labels;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Error as WatchError, Event, watcher},
    },
};
use tracing::debug;

use super::{mirrors::resource, objects::NodeObject, observed::LEASES, orders::AgentSettings};
use crate::{
    api,
    error::{is_refused, watch_reason},
    object_watch::{PAGE, WatchBackoff, all},
    release::Release,
};

/// The custom resource in messages.
const MIRRORS: &str = "NodeMirrors";

/// The watch of each kind of object.
pub(super) struct NodeWatches {
    pub(super) nodes: BoxStream<'static, Seen>,
    pub(super) mirrors: BoxStream<'static, Seen>,
    pub(super) agents: BoxStream<'static, Seen>,
    pub(super) trials: BoxStream<'static, Seen>,
    /// Leases and pods of restarts; no event if administrators restart runtimes.
    pub(super) restarts: BoxStream<'static, Seen>,
}

impl NodeWatches {
    pub(super) fn new(client: &Client, release: &Release, settings: &AgentSettings) -> Self {
        let pods = |namespace: &str| api::namespaced::<Pod, _>(client, namespace);
        let of_agents = all().labels(&[labels::APP_COMPONENT, labels::AGENT].join("="));
        let of_release = || all().labels(&selector(release));
        let restarts = settings.restart.as_ref().map(|restart| {
            let leases = api::namespaced::<Lease, _>(client, &restart.namespace);
            let pods = rows(pods(&restart.namespace), of_release(), "restart pods");
            stream::select(rows(leases, of_release(), LEASES), pods).boxed()
        });
        Self {
            nodes: rows(api::all::<Node, _>(client), all(), "Nodes"),
            mirrors: rows(Api::all_with(client.clone(), &resource()), all(), MIRRORS),
            agents: rows(pods(&settings.namespace), of_agents, "agents"),
            trials: rows(pods(&settings.trial_namespace), of_release(), "trial pods"),
            restarts: restarts.unwrap_or_else(|| stream::pending().boxed()),
        }
    }
}

/// Returns the selector of the objects of `release`.
pub(super) fn selector(release: &Release) -> String {
    [labels::RELEASE, &release.name].join("=")
}

/// An event of the watch of one kind of object, or the reason why the API server refuses it.
pub(super) struct Seen {
    pub(super) kind: &'static str,
    pub(super) event: Result<Event<NodeObject>, String>,
}

/// Watches objects, and lists them page by page. A watch that fails is restarted.
fn rows(api: Api<NodeObject>, config: Config, kind: &'static str) -> BoxStream<'static, Seen> {
    let events = watcher(api, config.page_size(PAGE)).backoff(WatchBackoff::default());
    let seen = move |event: Result<_, WatchError>| {
        let error = match event {
            Ok(event) => return Some(Seen { kind, event: Ok(event) }),
            Err(error) => error,
        };
        let reason = watch_reason(&error);
        debug!(error = reason, "restarting the watch of {kind}");
        is_refused(&error).then(|| Seen { kind, event: Err(obstacle(kind, &reason)) })
    };
    events.filter_map(move |event| std::future::ready(seen(event))).boxed()
}

/// Returns the obstacle that the API server refuses the watch of `kind`, with the remedy.
fn obstacle(kind: &str, reason: &str) -> String {
    let remedy = if kind == MIRRORS {
        "apply the CustomResourceDefinition nodemirrors.image-swap.io and the roles of the chart"
    } else {
        "apply the roles of the chart"
    };
    format!("cannot watch {kind}, so nodes stay as they are: {}; {remedy}", reason.trim())
}
