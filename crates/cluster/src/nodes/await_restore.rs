//! Waits for the restoration of nodes while Helm removes the agents.

use std::time::Duration;

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use image_swap_core::{
    control::restoration::{PresentNode, Restoration, restoration},
    labels::{AGENT, APP_COMPONENT, APP_NAME, AWAIT_RESTORE, IMAGE_SWAP},
    status::node_mirror::{GROUP, PLURAL},
};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams},
    runtime::{
        WatchStreamExt,
        wait::{await_condition, conditions},
        watcher::{Error as WatchError, Event, watcher},
    },
};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::{
    mirrors::{self, NodeWriter, NodeWritten},
    objects::NodeObject,
    observed::{MirrorRow, NodeRow, NodeTables},
    taints,
};
use crate::{
    api::{self, with_uid},
    error::{Error, watch_code, watch_reason},
    object_watch::{PAGE, WatchBackoff, all},
    release::Release,
};

/// Longest time for the deletion of the custom resource with all of its objects.
const DELETION: Duration = Duration::from_secs(20);
/// Number of nodes that a cluster can have. Kubernetes supports 5,000.
const NODES: usize = 100_000;
/// Annotation of objects that Helm keeps, and its value.
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// The result of the wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Number of nodes that have a `NodeMirror`.
    pub nodes: usize,
    /// Nodes that are not restored, by name.
    pub pending: Vec<PendingNode>,
    /// Reason why the custom resource `NodeMirror` stays; `None` if it is gone.
    pub kept: Option<String>,
    /// Failures of other steps.
    pub failures: Vec<String>,
}

/// A node that is not restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingNode {
    /// Name of the Node.
    pub name: String,
    /// Reason.
    pub reason: String,
    /// Command that an administrator runs on the host; `None` for the usual one.
    pub command: Option<String>,
}

/// The wait for the nodes of a release.
pub struct RestoreWait {
    client: Client,
    release: Release,
    /// Namespace of the pods that wait; `None` outside of a cluster.
    pods: Option<String>,
    /// Number of objects in a page of a list.
    page: u32,
}

/// Facts about nodes, and the failures to read them.
#[derive(Default)]
struct Watched {
    tables: NodeTables,
    /// Last failure of a watch; `None` if both work.
    failure: Option<String>,
    /// True if there is no custom resource `NodeMirror`.
    is_undefined: bool,
    /// Failure to remove a taint; `None` if none is left.
    taint: Option<String>,
    /// Number of `NodeMirror`s and of Nodes since the beginning of the last list.
    listed: [usize; 2],
    /// True if the API server lists more than a cluster can have.
    is_excessive: bool,
}

impl RestoreWait {
    /// Returns the wait for the nodes of `release`. `pods` is the namespace of the pods that wait.
    pub fn new(client: &Client, release: Release, pods: Option<String>) -> Self {
        Self { client: client.clone(), release, pods, page: PAGE }
    }

    /// Returns the wait with lists of `page` objects at a time.
    #[must_use]
    pub fn by_pages(self, page: u32) -> Self {
        Self { page, ..self }
    }

    /// Waits until every node is restored or stuck, at most for the time `deadline`. Removes the
    /// startup taint of all nodes, and the custom resource if every node is restored.
    pub async fn run(self, deadline: Duration) -> RestoreSummary {
        let end = Instant::now() + deadline;
        let mut watched = Watched::default();
        self.watch(&mut watched, end).await;
        let pending = watched.pending();
        let nodes = watched.tables.mirrors.iter().count();
        let kept = match watched.obstacle() {
            _ if watched.is_undefined => None,
            Some(obstacle) => Some(obstacle),
            None if !pending.is_empty() => Some("it has the reports of these nodes".to_owned()),
            None => self.delete_definition().await.unwrap_or_else(|error| Some(error.to_string())),
        };
        let mut failures: Vec<String> = watched.taint.into_iter().collect();
        if let Some(namespace) = &self.pods {
            failures.extend(self.end_stuck_pods(namespace).await.err().map(|it| it.to_string()));
        }
        RestoreSummary { nodes, pending, kept, failures }
    }

    /// Watches until no node has to be waited for, or until `end`.
    async fn watch(&self, watched: &mut Watched, end: Instant) {
        let page = self.page;
        let nodes = rows(api::all::<Node, _>(&self.client), page).map(|event| (true, event));
        let mirrors = Api::all_with(self.client.clone(), &mirrors::resource());
        let mut events = stream::select(nodes, rows(mirrors, page).map(|event| (false, event)));
        while !watched.is_settled() && !watched.is_excessive {
            tokio::select! {
                event = events.next() => match event {
                    Some((is_node, event)) => watched.note(is_node, event),
                    None => return,
                },
                () = sleep_until(end) => return,
            }
            self.remove_taints(watched).await;
        }
    }

    /// Removes the startup taint of every node that has it.
    async fn remove_taints(&self, watched: &mut Watched) {
        let tables = &mut watched.tables;
        if !tables.nodes.is_complete {
            return;
        }
        let writes = taints::removals(tables);
        if writes.is_empty() {
            watched.taint = None;
            return;
        }
        for (name, outcome) in NodeWriter::new(&self.client).execute(writes).await {
            match outcome {
                Ok(NodeWritten::Node(node)) => {
                    tables.nodes.note(Event::Apply(node), NodeRow::read);
                    watched.taint = None;
                }
                Ok(NodeWritten::Mirror(_) | NodeWritten::Gone) => {
                    tables.nodes.remove(&name);
                }
                // A conflict is followed by an event of the watch.
                Err(error) => watched.taint = Some(error.to_string()),
            }
        }
    }

    /// Deletes the custom resource. Returns the reason why it stays; `None` if it is gone.
    ///
    /// # Errors
    /// The API server rejects a request.
    async fn delete_definition(&self) -> Result<Option<String>, Error> {
        let kind = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        let definitions: Api<DynamicObject> =
            Api::all_with(self.client.clone(), &ApiResource::from_gvk(&kind));
        let name = format!("{PLURAL}.{GROUP}");
        let Some(found) = api::get(&definitions, &name).await? else { return Ok(None) };
        let is_kept = found.annotations().get(KEEP.0).is_some_and(|it| it == KEEP.1);
        let is_own = found.labels().get(APP_NAME).is_some_and(|it| it == IMAGE_SWAP);
        if !is_kept || !is_own {
            return Ok(Some("no chart of image-swap created it".to_owned()));
        }
        if let Some(other) = self.other_agents().await? {
            return Ok(Some(format!("the agents {other} belong to another release")));
        }
        let uid = found.uid().unwrap_or_default();
        let action = format!("delete {name}");
        if !api::delete_by(&definitions, &name, &with_uid(&uid), action).await? {
            return Ok(None);
        }
        // A release that is installed next would meet the one that is being deleted.
        let gone = await_condition(definitions, &name, conditions::is_deleted(&uid));
        match timeout(DELETION, gone).await {
            Ok(Ok(_)) => Ok(None),
            _ => Ok(Some("its deletion has not ended".to_owned())),
        }
    }

    /// Returns a `DaemonSet` of the agents of another release; `None` without one.
    ///
    /// # Errors
    /// The API server rejects the request.
    async fn other_agents(&self) -> Result<Option<String>, Error> {
        let selector = format!("{APP_NAME}={IMAGE_SWAP},{APP_COMPONENT}={AGENT}");
        let sets: Api<DynamicObject> = api::all::<DaemonSet, _>(&self.client);
        let found = sets.list_metadata(&ListParams::default().labels(&selector)).await;
        let found = found.map_err(Error::api("list the agents of all releases"))?;
        let own = format!("{}-agent-", self.release.name);
        let other = found.items.iter().find(|set| !set.name_any().starts_with(&own));
        Ok(other.map(|set| format!("{}/{}", set.namespace().unwrap_or_default(), set.name_any())))
    }

    /// Deletes pods of this wait that are being deleted. The kubelet of a node that is off
    /// confirms no deletion, and the Job would not end without it.
    ///
    /// # Errors
    /// The API server rejects a request.
    async fn end_stuck_pods(&self, namespace: &str) -> Result<(), Error> {
        let pods: Api<DynamicObject> = api::namespaced::<Pod, _>(&self.client, namespace);
        let selector = format!("{APP_NAME}={IMAGE_SWAP},{APP_COMPONENT}={AWAIT_RESTORE}");
        let found = pods.list_metadata(&ListParams::default().labels(&selector)).await;
        let found = found.map_err(Error::api("list the pods that wait for nodes"))?;
        for pod in found.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()) {
            let name = pod.name_any();
            let action = format!("delete the pod {name}");
            api::delete_by(&pods, &name, &DeleteParams::default().grace_period(0), action).await?;
        }
        Ok(())
    }
}

impl Watched {
    /// Takes an event of the watch of Nodes, or of the one of `NodeMirror`s.
    fn note(&mut self, is_node: bool, event: Result<Event<NodeObject>, WatchError>) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                self.is_undefined |= !is_node && watch_code(&error) == Some(404);
                let kind = if is_node { "Nodes" } else { "NodeMirrors" };
                let reason = watch_reason(&error);
                debug!(reason, "restarting the watch of {kind}");
                self.failure = Some(format!("cannot watch {kind}: {}", reason.trim()));
                return;
            }
        };
        let listed = &mut self.listed[usize::from(is_node)];
        match &event {
            Event::Init => *listed = 0,
            Event::InitApply(object) => {
                *listed += 1;
                self.is_excessive |= *listed > NODES || object.is_excessive();
            }
            Event::Apply(object) => self.is_excessive |= object.is_excessive(),
            Event::InitDone | Event::Delete(_) => {}
        }
        if self.is_excessive {
            return;
        }
        if is_node {
            self.tables.nodes.note(event, NodeRow::read);
        } else {
            self.tables.mirrors.note(event, MirrorRow::read);
        }
    }

    /// Returns the reason why the nodes are not known; `None` if they are.
    fn obstacle(&self) -> Option<String> {
        if self.is_excessive {
            return Some("the API server lists more nodes than a cluster can have".to_owned());
        }
        let is_known = self.tables.nodes.is_complete && self.tables.mirrors.is_complete;
        let unanswered = || "the API server has not listed the nodes in time".to_owned();
        (!is_known).then(|| self.failure.clone().unwrap_or_else(unanswered))
    }

    /// Returns true if no event can improve the result.
    fn is_settled(&self) -> bool {
        let has_taint = || !taints::removals(&self.tables).is_empty();
        let is_waiting = || self.progress().any(|(_, it)| matches!(it, Restoration::Waiting(_)));
        let is_known = self.is_undefined || self.obstacle().is_none();
        is_known && self.tables.nodes.is_complete && !has_taint() && !is_waiting()
    }

    /// Returns the progress of each node.
    fn progress(&self) -> impl Iterator<Item = (&str, Restoration)> {
        self.tables.mirrors.iter().map(|(name, mirror)| {
            let node = self.tables.nodes.get(name);
            let node = node.map(|row| PresentNode { uid: &row.uid, boot_id: &row.boot_id });
            (name, restoration(&mirror.owner, &mirror.status, node))
        })
    }

    /// Returns the nodes that are not restored.
    fn pending(&self) -> Vec<PendingNode> {
        let pending = |(name, progress): (&str, Restoration)| {
            let (reason, command) = match progress {
                Restoration::Done => return None,
                Restoration::Waiting(reason) => (reason.to_owned(), None),
                Restoration::Stuck { reason, command } => (reason, command),
            };
            Some(PendingNode { name: name.to_owned(), reason, command })
        };
        self.progress().filter_map(pending).collect()
    }
}

/// Watches objects, and lists them page by page. A watch that fails is restarted.
fn rows(
    api: Api<NodeObject>,
    page: u32,
) -> BoxStream<'static, Result<Event<NodeObject>, WatchError>> {
    watcher(api, all().page_size(page)).backoff(WatchBackoff::default()).boxed()
}
