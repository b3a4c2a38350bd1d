//! The nodes of the cluster, their `NodeMirror`s, pods and Leases, as the watches show them.

use std::collections::BTreeMap;

use image_swap_core::{
    control::{node_runtime::NodeFacts, restarts::RestartPodPhase},
    declaration::UnixTime,
    labels,
    status::{NodeMirrorSpec, NodeMirrorStatus},
};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::{
    objects::{NodeInfo, NodeObject},
    outcome::{PodPull, pull_of, restart_of},
};

/// Labels of a control-plane node.
const CONTROL_PLANE: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// Labels of nodes without a host.
const VIRTUAL: [(&str, &str); 3] =
    [("type", "virtual-kubelet"), ("type", "kwok"), ("eks.amazonaws.com/compute-type", "fargate")];

/// Leases of restarts, in messages.
pub(super) const LEASES: &str = "Leases of restarts";

/// The rows of one kind of object, by name.
pub(super) struct Table<R> {
    rows: BTreeMap<String, R>,
    /// The rows of a list that is being read.
    listed: BTreeMap<String, R>,
    /// True once all objects were listed.
    pub(super) is_complete: bool,
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeRow {
    pub(super) uid: String,
    /// Value of [`labels::NODE_RUNTIME`].
    pub(super) label: Option<String>,
    pub(super) is_control_plane: bool,
    /// True if the condition Ready holds.
    pub(super) is_ready: bool,
    /// True if the scheduler may not use the node.
    pub(super) is_cordoned: bool,
    pub(super) boot_id: String,
    pub(super) facts: NodeFacts,
    pub(super) taints: Vec<Value>,
    pub(super) version: RowVersion,
}

/// The `resourceVersion` of a Node. All are equal, so that a heartbeat is no change of the row.
#[derive(Clone, Debug, Default, Eq)]
pub(super) struct RowVersion(pub(super) String);

impl PartialEq for RowVersion {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A `NodeMirror`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MirrorRow {
    /// UID of the Node that owns the object; empty without an owner.
    pub(super) owner: String,
    pub(super) spec: NodeMirrorSpec,
    pub(super) status: NodeMirrorStatus,
}

/// A pod of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AgentRow {
    pub(super) node: String,
    pub(super) is_ready: bool,
}

/// A trial pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrialRow {
    pub(super) uid: String,
    pub(super) node: String,
    /// Number of the declaration on trial.
    pub(super) number: u64,
    pub(super) pull: PodPull,
}

/// The Lease of a node whose runtime is being restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RestartLeaseRow {
    pub(super) uid: String,
    /// Resource version.
    version: u64,
    /// Node: the holder; empty without one.
    pub(super) node: String,
    /// Number of the declaration; `None` if the annotation holds no number.
    pub(super) number: Option<u64>,
    /// True if an administrator ended it.
    pub(super) is_resumed: bool,
    /// End of its time; `None` if the Lease contains none.
    pub(super) until: Option<UnixTime>,
}

/// A pod that restarts the runtime of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RestartPodRow {
    pub(super) uid: String,
    /// Resource version.
    version: u64,
    pub(super) node: String,
    /// Number of the declaration.
    pub(super) number: u64,
    pub(super) phase: RestartPodPhase,
}

/// The objects of restarts.
#[derive(Default)]
pub(super) struct RestartTables {
    pub(super) leases: Table<RestartLeaseRow>,
    pub(super) pods: Table<RestartPodRow>,
}

/// Rows of all objects about nodes, as the watches show them.
#[derive(Default)]
pub(super) struct NodeTables {
    pub(super) nodes: Table<NodeRow>,
    pub(super) mirrors: Table<MirrorRow>,
    pub(super) agents: Table<AgentRow>,
    pub(super) trials: Table<TrialRow>,
    /// Objects of restarts; `None` if administrators restart runtimes.
    pub(super) restarts: Option<RestartTables>,
}

impl NodeTables {
    /// Takes an event of the watch of Leases, if `kind` is [`LEASES`], or of restart pods. Returns
    /// true if a row changed, or if the first list is complete.
    pub(super) fn note_restart(&mut self, kind: &str, event: Event<NodeObject>) -> bool {
        let Some(restarts) = &mut self.restarts else { return false };
        // A write, or a list, may be ahead of the watch.
        if let Event::Apply(object) | Event::Delete(object) = &event {
            let known = match kind {
                LEASES => restarts.leases.get(object.name()).map(|it| it.version),
                _ => restarts.pods.get(object.name()).map(|it| it.version),
            };
            if known.is_some_and(|known| object.version_number() < known) {
                return false;
            }
        }
        match kind {
            LEASES => restarts.leases.note(event, RestartLeaseRow::read),
            _ => restarts.pods.note(event, RestartPodRow::read),
        }
    }

    /// Returns true once every kind of object was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.nodes.is_complete
            && self.mirrors.is_complete
            && self.agents.is_complete
            && self.trials.is_complete
            && self.restarts.as_ref().is_none_or(|it| it.leases.is_complete && it.pods.is_complete)
    }
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), listed: BTreeMap::new(), is_complete: false }
    }
}

impl<R: PartialEq> Table<R> {
    pub(super) fn get(&self, name: &str) -> Option<&R> {
        self.rows.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &R)> {
        self.rows.iter().map(|(name, row)| (name.as_str(), row))
    }

    /// Sets the row `name`. Returns true if it is another one than before.
    pub(super) fn set(&mut self, name: &str, row: R) -> bool {
        if let Some(before) = self.rows.get_mut(name) {
            let is_news = *before != row;
            *before = row;
            return is_news;
        }
        self.rows.insert(name.to_owned(), row);
        true
    }

    /// Removes the row `name`. Returns true if there was one.
    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.rows.remove(name).is_some()
    }

    /// Replaces all rows by those of a list.
    pub(super) fn replace(&mut self, rows: impl IntoIterator<Item = (String, R)>) {
        self.rows = rows.into_iter().collect();
    }

    /// Takes an event of the watch. Returns true if a row changed, or if the first list is
    /// complete.
    pub(super) fn note(
        &mut self,
        event: Event<NodeObject>,
        read: impl Fn(&NodeObject) -> Option<R>,
    ) -> bool {
        match event {
            Event::Init => {
                self.listed = BTreeMap::new();
                false
            }
            Event::InitApply(object) => {
                self.listed.extend(read(&object).map(|row| (object.name().to_owned(), row)));
                false
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let is_news = !self.is_complete || self.rows != listed;
                self.rows = listed;
                self.is_complete = true;
                is_news
            }
            Event::Apply(object) => match read(&object) {
                Some(row) => self.set(object.name(), row),
                None => self.remove(object.name()),
            },
            Event::Delete(object) => self.remove(object.name()),
        }
    }
}

impl NodeRow {
    #[expect(clippy::unnecessary_wraps, reason = "every kind of row is read in the same way")]
    pub(super) fn read(node: &NodeObject) -> Option<Self> {
        let NodeInfo {
            boot_id,
            container_runtime_version,
            kubelet_version,
            os_image,
            operating_system,
        } = node.status.node_info.clone();
        Some(Self {
            uid: node.uid().to_owned(),
            label: node.label(labels::NODE_RUNTIME).map(str::to_owned),
            is_control_plane: CONTROL_PLANE.iter().any(|key| node.label(key).is_some()),
            is_ready: is_ready(node),
            is_cordoned: node.spec.unschedulable,
            boot_id,
            facts: NodeFacts {
                os: operating_system,
                os_image,
                kubelet_version,
                container_runtime_version,
                labels_virtual: VIRTUAL.iter().any(|(key, value)| node.label(key) == Some(value)),
            },
            taints: node.spec.taints.clone(),
            version: RowVersion(node.version().to_owned()),
        })
    }
}

impl MirrorRow {
    #[expect(clippy::unnecessary_wraps, reason = "every kind of row is read in the same way")]
    pub(super) fn read(mirror: &NodeObject) -> Option<Self> {
        let owners = mirror.metadata.names.owner_references.iter().flatten();
        let owner = owners.into_iter().find(|it| it.kind == "Node");
        Some(Self {
            owner: owner.map(|it| it.uid.clone()).unwrap_or_default(),
            spec: NodeMirrorSpec {
                node_uid: mirror.spec.node_uid.clone(),
                container_runtime_version: mirror.spec.container_runtime_version.clone(),
            },
            status: mirror.status.mirror(),
        })
    }
}

impl AgentRow {
    /// Reads the pod of an agent; `None` before it is scheduled.
    pub(super) fn read(pod: &NodeObject) -> Option<Self> {
        Some(Self { node: pod.spec.node_name.clone()?, is_ready: is_ready(pod) })
    }
}

impl TrialRow {
    /// Reads a trial pod; `None` for any other pod.
    pub(super) fn read(pod: &NodeObject) -> Option<Self> {
        Some(Self {
            uid: pod.uid().to_owned(),
            node: pod.spec.node_name.clone()?,
            number: pod.metadata.annotations.trial.as_deref()?.parse().ok()?,
            pull: pull_of(&pod.status),
        })
    }
}

impl RestartLeaseRow {
    #[expect(clippy::unnecessary_wraps, reason = "every kind of row is read in the same way")]
    pub(super) fn read(lease: &NodeObject) -> Option<Self> {
        let mark = lease.metadata.annotations.restart.as_deref();
        let spec = &lease.spec;
        let acquired = spec.acquire_time.as_deref().and_then(|it| it.parse::<Timestamp>().ok());
        let until = acquired.zip(spec.lease_duration_seconds);
        let until = until.map(|(at, seconds)| at.as_second().saturating_add(seconds));
        Some(Self {
            uid: lease.uid().to_owned(),
            version: lease.version_number(),
            node: spec.holder_identity.clone().unwrap_or_default(),
            number: mark.and_then(|it| it.parse().ok()),
            is_resumed: mark == Some(labels::RESUME),
            until: until.and_then(|it| UnixTime::try_from(it).ok()),
        })
    }
}

impl RestartPodRow {
    /// Reads a restart pod; `None` for any other pod.
    pub(super) fn read(pod: &NodeObject) -> Option<Self> {
        Some(Self {
            uid: pod.uid().to_owned(),
            version: pod.version_number(),
            node: pod.spec.node_name.clone()?,
            number: pod.metadata.annotations.restart.as_deref()?.parse().ok()?,
            phase: restart_of(&pod.status),
        })
    }
}

/// Returns true if the condition Ready of a Node or a pod holds.
fn is_ready(object: &NodeObject) -> bool {
    object.status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mk_object(object: Value) -> NodeObject {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn node_status_is_read_in_part() {
        let mut node = json!({
            "metadata": {
                "name": "a", "uid": "1", "resourceVersion": "7",
                "labels": {
                    "image-swap.io/runtime": "crio", "node-role.kubernetes.io/control-plane": "",
                    "type": "virtual-kubelet",
                },
                "managedFields": [{ "manager": "kubelet" }],
            },
            "spec": {
                "podCIDR": "10.0.0.0/24", "taints": [{ "key": "a", "effect": "NoSchedule" }],
                "unschedulable": true,
            },
            "status": {
                "capacity": { "cpu": "4" }, "images": [{ "names": ["a"], "sizeBytes": 1 }],
                "conditions": [
                    { "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z" },
                ],
                "nodeInfo": {
                    "bootID": "b", "containerRuntimeVersion": "cri-o://1.34.1",
                    "kubeletVersion": "v1.34.1", "osImage": "Fedora", "operatingSystem": "linux",
                    "machineID": "m", "kernelVersion": "6",
                },
            },
        });
        let row = NodeRow::read(&mk_object(node.clone())).unwrap();
        let facts = NodeFacts {
            os: "linux".into(),
            os_image: "Fedora".into(),
            kubelet_version: "v1.34.1".into(),
            container_runtime_version: "cri-o://1.34.1".into(),
            labels_virtual: true,
        };
        let (uid, boot_id) = ("1".into(), "b".into());
        let label = Some("crio".into());
        let taints = vec![json!({ "key": "a", "effect": "NoSchedule" })];
        assert_eq!(row.version.0, "7");
        let expected = NodeRow {
            uid,
            label,
            is_control_plane: true,
            is_ready: true,
            is_cordoned: true,
            boot_id,
            facts,
            taints,
            version: RowVersion::default(),
        };
        assert_eq!(row, expected);
        node["spec"] = json!({});
        node["metadata"]["labels"] = Value::Null;
        node["status"] = json!({});
        let bare = NodeRow::read(&mk_object(node)).unwrap();
        assert_eq!(bare, NodeRow { uid: "1".into(), ..NodeRow::default() });
    }

    #[test]
    fn lease_is_read_with_its_end() {
        let lease = |mark: &str, spec: Value| {
            let annotations = json!({ "image-swap.io/restart": mark });
            let metadata = json!({
                "name": "restart-a", "uid": "1", "resourceVersion": "42", "annotations": annotations,
            });
            let object = mk_object(json!({ "metadata": metadata, "spec": spec }));
            RestartLeaseRow::read(&object).unwrap()
        };
        let spec = json!({
            "holderIdentity": "a", "acquireTime": "1970-01-01T00:01:00.250000Z",
            "leaseDurationSeconds": 900,
        });
        let (node, number, until) = ("a".to_owned(), Some(5), Some(960));
        let (uid, version) = ("1".to_owned(), 42);
        let expected = RestartLeaseRow { uid, version, node, number, is_resumed: false, until };
        assert_eq!(lease("5", spec.clone()), expected);
        let resumed = RestartLeaseRow { number: None, is_resumed: true, ..expected };
        assert_eq!(lease("resume", spec), resumed);
        let empty = lease("5 ", json!({}));
        assert_eq!((empty.number, empty.is_resumed, empty.until), (None, false, None));
    }

    #[test]
    fn watch_behind_a_write_is_skipped() {
        let lease = |uid: &str, version: u64| {
            mk_object(json!({ "metadata": {
                "name": "restart-a", "uid": uid, "resourceVersion": version.to_string(),
            } }))
        };
        let restarts = Some(RestartTables::default());
        let mut tables = NodeTables { restarts, ..NodeTables::default() };
        assert!(tables.note_restart(LEASES, Event::Apply(lease("new", 10))));
        assert!(!tables.note_restart(LEASES, Event::Apply(lease("old", 8))));
        assert!(!tables.note_restart(LEASES, Event::Delete(lease("old", 9))));
        let uid = |tables: &NodeTables| {
            let leases = &tables.restarts.as_ref().unwrap().leases;
            leases.get("restart-a").map(|it| it.uid.clone())
        };
        assert_eq!(uid(&tables).as_deref(), Some("new"));
        assert!(tables.note_restart(LEASES, Event::Delete(lease("new", 11))));
        assert_eq!(uid(&tables), None);
    }

    #[test]
    fn list_replaces_rows_and_heartbeats_change_none() {
        let node = |name: &str, time: &str| {
            mk_object(json!({ "metadata": { "name": name, "uid": name, "resourceVersion": time } }))
        };
        let mut nodes = Table::default();
        assert!(!nodes.note(Event::Init, NodeRow::read));
        assert!(!nodes.note(Event::InitApply(node("a", "1")), NodeRow::read));
        assert!(!nodes.is_complete && nodes.get("a").is_none());
        assert!(nodes.note(Event::InitDone, NodeRow::read) && nodes.is_complete);
        assert!(!nodes.note(Event::Apply(node("a", "2")), NodeRow::read));
        assert_eq!(nodes.get("a").unwrap().version.0, "2");
        assert!(nodes.note(Event::Apply(node("b", "3")), NodeRow::read));
        nodes.note(Event::Init, NodeRow::read);
        nodes.note(Event::InitApply(node("b", "4")), NodeRow::read);
        // Rows stay in force until the list is complete.
        assert_eq!(nodes.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(nodes.note(Event::InitDone, NodeRow::read));
        assert_eq!(nodes.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b"]);
        assert!(nodes.note(Event::Delete(node("b", "5")), NodeRow::read));
    }
}
