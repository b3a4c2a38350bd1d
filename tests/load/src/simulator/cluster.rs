//! One simulated cluster: its objects, its users and its heartbeat.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    counts::{RecordedRequest, RequestCounters},
    object::{FieldConflict, ObjectContent},
};

/// Annotation with the number of a declaration.
const REVISION: [&str; 3] = ["metadata", "annotations", "image-swap.io/revision"];
/// End of the path of the declaration.
const DECLARATION: &str = "/namespaces/jet-system/secrets/registry-info";

/// Reachability of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// The API server answers.
    #[default]
    Online,
    /// Connections stay open, and nothing answers.
    Silent,
    /// Connections are closed at once.
    Closed,
}

/// Results of writes, by the content before and the request. A thousand clusters that apply the
/// same object share one content.
#[derive(Default)]
pub(super) struct ContentCache {
    known: Mutex<HashMap<u64, Arc<ObjectContent>>>,
}

/// Largest number of results. Beyond it, all are forgotten.
const CACHED: usize = 10_000;

impl ContentCache {
    /// Returns the result for `key`, computed by `compute` if it is not known.
    fn get(
        &self,
        key: u64,
        compute: impl FnOnce() -> Result<Arc<ObjectContent>, Vec<FieldConflict>>,
    ) -> Result<Arc<ObjectContent>, Vec<FieldConflict>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&key) {
            return Ok(Arc::clone(found));
        }
        let made = compute()?;
        if known.len() >= CACHED {
            known.clear();
        }
        known.insert(key, Arc::clone(&made));
        Ok(made)
    }
}

/// Object of one cluster.
#[derive(Clone)]
pub(super) struct LiveObject {
    pub(super) content: Arc<ObjectContent>,
    /// Identity of the content: equal for equal histories.
    content_key: u64,
    pub(super) number: u64,
    pub(super) version: u64,
}

/// Heartbeat of a cluster.
#[derive(Default)]
pub(super) struct Heartbeat {
    /// Version of the Lease; 0 before the first heartbeat.
    pub(super) version: u64,
    /// Declaration in its summary; 0 before the first.
    pub(super) revision: u64,
    /// True if a declaration is to be reported.
    is_due: bool,
    renewals: u32,
    watchers: Vec<mpsc::UnboundedSender<Bytes>>,
}

/// Progress of a round of requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundProgress {
    /// Number of writes.
    pub writes: u64,
    /// Receipt of a new declaration; `None` before.
    pub declared: Option<Instant>,
    /// Last write.
    pub last: Option<Instant>,
}

#[derive(Default)]
pub(super) struct ClusterState {
    pub(super) objects: HashMap<String, LiveObject>,
    pub(super) version: u64,
    pub(super) heartbeat: Heartbeat,
    pub(super) round: RoundProgress,
    /// True if reports of declarations wait for an order.
    pub(super) holds_reports: bool,
    /// Recorded requests; `None` unless they are recorded.
    pub(super) record: Option<Vec<RecordedRequest>>,
}

/// A simulated cluster.
pub(super) struct SimulatedCluster {
    pub(super) uid: String,
    /// Token of the administrator.
    pub(super) token: String,
    /// Token of the service account.
    pub(super) account_token: String,
    pub(super) counters: RequestCounters,
    pub(super) availability: watch::Sender<Availability>,
    state: Mutex<ClusterState>,
}

impl SimulatedCluster {
    pub(super) fn new(index: usize) -> Self {
        // As long as a token of an API server.
        let token = |user: &str| format!("{user}-{index}-{}", "A".repeat(900));
        Self {
            uid: format!("0f3b6a1e-0000-4000-8000-{index:012}"),
            token: token("administrator"),
            account_token: token("account"),
            counters: RequestCounters::default(),
            availability: watch::Sender::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ClusterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the Lease, and sends it to the watches.
    pub(super) fn beat(&self, state: &mut ClusterState) {
        state.version += 1;
        let kind = if state.heartbeat.version == 0 { "ADDED" } else { "MODIFIED" };
        state.heartbeat.version = state.version;
        state.heartbeat.renewals += 1;
        let event = json!({ "type": kind, "object": self.lease(&state.heartbeat) });
        self.send(&mut state.heartbeat, &event);
    }

    /// Reports the declaration, if a report of it waits. Later reports do not wait.
    pub(super) fn release_reports(&self) {
        let mut state = self.state();
        state.holds_reports = false;
        if std::mem::take(&mut state.heartbeat.is_due) {
            self.beat(&mut state);
        }
    }

    /// Sends a bookmark to all watches, as API servers do each minute.
    pub(super) fn bookmark(&self) {
        let mut state = self.state();
        let object = json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": { "resourceVersion": state.version.to_string() }, "spec": {},
        });
        self.send(&mut state.heartbeat, &json!({ "type": "BOOKMARK", "object": object }));
    }

    fn send(&self, heartbeat: &mut Heartbeat, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        heartbeat.watchers.retain(|watcher| watcher.send(line.clone()).is_ok());
        let bytes = line.len() * heartbeat.watchers.len();
        self.counters.sent.fetch_add(u64::try_from(bytes).unwrap_or_default(), Relaxed);
    }

    /// Returns the events of the Lease since the version `since`.
    pub(super) fn watch(&self, since: u64) -> mpsc::UnboundedReceiver<Bytes> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        let heartbeat = &mut state.heartbeat;
        if heartbeat.version > since {
            let event = json!({ "type": "ADDED", "object": self.lease(heartbeat) });
            // The receiver exists.
            let _ = sender.send(format!("{event}\n").into());
        }
        heartbeat.watchers.retain(|it| !it.is_closed());
        heartbeat.watchers.push(sender);
        receiver
    }

    /// Returns the Lease of the heartbeat.
    pub(super) fn lease(&self, heartbeat: &Heartbeat) -> Value {
        let summary = json!({
            "version": "0.1.0", "bundleHash": "0123456789abcdef",
            "registryInfoRevision": heartbeat.revision, "source": "registry-info",
            "webhook": "Fail", "replicas": { "ready": 2, "total": 2 },
            "nodes": { "total": 3, "applied": 3, "verified": 3 },
            "podsNotFromMirror": null, "problems": [],
        });
        json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
            "metadata": {
                "name": "image-swap-heartbeat", "namespace": "image-swap",
                "uid": self.uid_of(0), "resourceVersion": heartbeat.version.to_string(),
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { "image-swap.io/summary": summary.to_string() },
                "managedFields": [{
                    "manager": "image-swap", "operation": "Update",
                    "apiVersion": "coordination.k8s.io/v1", "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {
                        "f:metadata": { "f:annotations": {
                            ".": {}, "f:image-swap.io/summary": {},
                        } },
                        "f:spec": { "f:holderIdentity": {}, "f:renewTime": {} },
                    },
                }],
            },
            "spec": {
                "holderIdentity": "image-swap-controller-0", "leaseDurationSeconds": 180,
                "renewTime": format!("2026-01-01T00:00:00.{:06}Z", heartbeat.renewals),
            },
        })
    }

    /// Returns the UID of the object with `number`.
    pub(super) fn uid_of(&self, number: u64) -> String {
        let (_, index) = self.uid.rsplit_once('-').unwrap_or_default();
        format!("0f3b6a1e-{:04x}-4000-9000-{index}", number & 0xffff)
    }

    /// Applies `body` to the object at `path`. Returns the object, and true if it is new.
    ///
    /// # Errors
    /// Fields of other managers; none if a forced apply names another version than the present one.
    pub(super) fn apply(
        &self,
        cache: &ContentCache,
        path: &str,
        manager: &str,
        body: &[u8],
        is_forced: bool,
    ) -> Result<(LiveObject, bool), Vec<FieldConflict>> {
        let mut state = self.state();
        let before = state.objects.get(path).cloned();
        if is_forced && before.as_ref().is_some_and(|it| !admits_version(body, it.version)) {
            return Err(Vec::new());
        }
        let key = hash(&(before.as_ref().map(|it| it.content_key), manager, body, is_forced, path));
        let content = cache.get(key, || {
            let value = serde_json::from_slice(body).unwrap_or_default();
            let former = before.as_ref().map(|it| &it.content);
            let next = ObjectContent::apply(former.map(|it| &**it), manager, &value, is_forced)?;
            // An apply without effect keeps the content.
            let same = former.filter(|it| it.is_same(&next)).map(Arc::clone);
            Ok(same.unwrap_or_else(|| Arc::new(next)))
        })?;
        Ok(self.store(&mut state, path, content, key))
    }

    /// Merges `body` into the object at `path`. Returns `None` if it does not exist.
    pub(super) fn merge(&self, path: &str, manager: &str, body: &[u8]) -> Option<LiveObject> {
        let mut state = self.state();
        let before = state.objects.get(path).cloned()?;
        let changes = serde_json::from_slice(body).unwrap_or_default();
        let content = Arc::new(before.content.merge(manager, &changes));
        let key = hash(&(before.content_key, manager, body));
        Some(self.store(&mut state, path, content, key).0)
    }

    /// Stores the content of an object. An unchanged one keeps its version.
    fn store(
        &self,
        state: &mut ClusterState,
        path: &str,
        content: Arc<ObjectContent>,
        key: u64,
    ) -> (LiveObject, bool) {
        if let Some(before) = state.objects.get(path)
            && Arc::ptr_eq(&before.content, &content)
        {
            return (before.clone(), false);
        }
        state.version += 1;
        let version = state.version;
        let before = state.objects.get(path);
        let is_new = before.is_none();
        let number = before.map_or(version, |it| it.number);
        let object = LiveObject { content, content_key: key, number, version };
        state.objects.insert(path.to_owned(), object.clone());
        if path.ends_with(DECLARATION) {
            let revision = object.content.text(&REVISION).and_then(|it| it.parse().ok());
            let revision = revision.unwrap_or_default();
            if state.heartbeat.revision != revision {
                // The controller of the cluster reports the new declaration.
                state.heartbeat.revision = revision;
                state.round.declared = Some(Instant::now());
                if state.holds_reports {
                    state.heartbeat.is_due = true;
                } else {
                    self.beat(state);
                }
            }
        }
        (object, is_new)
    }
}

/// Returns true if `body` names no version of the object, or `version`.
fn admits_version(body: &[u8], version: u64) -> bool {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let named = object["metadata"]["resourceVersion"].as_str();
    named.is_none_or(|it| it == version.to_string())
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
