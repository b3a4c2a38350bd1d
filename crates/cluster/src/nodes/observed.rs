//! The nodes of the cluster, their `NodeMirror`s and pods, as the watches show them.

use std::collections::BTreeMap;

use image_swap_core::{
    control::node_runtime::NodeFacts,
    labels,
    status::{NodeMirrorSpec, NodeMirrorStatus},
};
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::{
    objects::{FleetObject, NodeInfo},
    outcome::{PodPull, pull_of},
};

/// Labels of a control-plane node.
const CONTROL_PLANE: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// Labels of nodes without a host.
const VIRTUAL: [(&str, &str); 3] =
    [("type", "virtual-kubelet"), ("type", "kwok"), ("eks.amazonaws.com/compute-type", "fargate")];

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

/// Everything that the watches show.
#[derive(Default)]
pub(super) struct Fleet {
    pub(super) nodes: Table<NodeRow>,
    pub(super) mirrors: Table<MirrorRow>,
    pub(super) agents: Table<AgentRow>,
    pub(super) trials: Table<TrialRow>,
}

impl Fleet {
    /// Returns true once every kind of object was listed.
    pub(super) fn is_complete(&self) -> bool {
        self.nodes.is_complete
            && self.mirrors.is_complete
            && self.agents.is_complete
            && self.trials.is_complete
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

    /// Takes an event of the watch. Returns true if a row changed, or if the first list is
    /// complete.
    pub(super) fn note(
        &mut self,
        event: Event<FleetObject>,
        read: impl Fn(&FleetObject) -> Option<R>,
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
    pub(super) fn read(node: &FleetObject) -> Option<Self> {
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
    pub(super) fn read(mirror: &FleetObject) -> Option<Self> {
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
    pub(super) fn read(pod: &FleetObject) -> Option<Self> {
        let is_ready =
            pod.status.conditions.iter().any(|it| it.kind == "Ready" && it.status == "True");
        Some(Self { node: pod.spec.node_name.clone()?, is_ready })
    }
}

impl TrialRow {
    /// Reads a trial pod; `None` for any other pod.
    pub(super) fn read(pod: &FleetObject) -> Option<Self> {
        Some(Self {
            uid: pod.uid().to_owned(),
            node: pod.spec.node_name.clone()?,
            number: pod.metadata.annotations.trial.as_deref()?.parse().ok()?,
            pull: pull_of(&pod.status),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mk_object(object: Value) -> FleetObject {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn node_is_read_without_the_rest_of_its_status() {
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
        let (is_control_plane, is_cordoned) = (true, true);
        let taints = vec![json!({ "key": "a", "effect": "NoSchedule" })];
        assert_eq!(row.version.0, "7");
        let version = RowVersion::default();
        let expected =
            NodeRow { uid, label, is_control_plane, is_cordoned, boot_id, facts, taints, version };
        assert_eq!(row, expected);
        node["spec"] = json!({});
        node["metadata"]["labels"] = Value::Null;
        node["status"] = json!({});
        let bare = NodeRow::read(&mk_object(node)).unwrap();
        assert_eq!(bare, NodeRow { uid: "1".into(), ..NodeRow::default() });
    }

    #[test]
    fn heartbeat_is_no_news_and_a_list_replaces_all_rows() {
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
