//! Machines are kept when their objects are applied again, moved, or restored from a backup.

use std::{collections::BTreeSet, fs, time::Duration};

use image_swap_testbed::{ClusterApi, ControlPlane, ControlPlanes, Options, Wait, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::management::{NAMESPACE, PLAIN, apply, kustomize, name, output, parts, render};

const CLUSTER: &str = "kept";
const DEADLINE: Duration = Duration::from_mins(3);

/// Resources in the order in which Velero restores them: Secrets, Clusters, then by name. Control
/// planes come before machines.
const RESTORED: [&str; 11] = [
    "secrets",
    "clusters",
    "devclusters",
    "devmachines",
    "devmachinetemplates",
    "kubeadmconfigs",
    "kubeadmconfigtemplates",
    "kubeadmcontrolplanes",
    "machinedeployments",
    "machines",
    "machinesets",
];

/// The `Cluster` under test on its present management cluster.
struct Kept<'a> {
    plane: &'a ControlPlane,
    api: ClusterApi,
    /// Number of the last change that needs no new machine.
    change: u32,
}

impl Kept<'_> {
    /// Returns the names of the machines, after the controllers have compared each machine with its
    /// templates.
    fn settled(&mut self) -> BTreeSet<String> {
        let machines = self.api.wait_machines(self.plane, NAMESPACE, CLUSTER, 2).unwrap();
        let before = names(&machines);
        // The controllers pass this field on to present machines. So its arrival, and the
        // generation in the status, show that they have compared the templates.
        self.change += 1;
        let deletion = json!({ "deletion": { "nodeDrainTimeoutSeconds": self.change } });
        let control_plane = json!({ "spec": { "machineTemplate": { "spec": deletion } } });
        let workers = json!({ "spec": { "template": { "spec": deletion } } });
        for (kind, patch) in
            [("kubeadmcontrolplane", control_plane), ("machinedeployment", workers)]
        {
            self.kubectl(&["patch", kind, CLUSTER, "--type=merge", "--patch", &patch.to_string()]);
        }
        until("the controllers to compare the machines", DEADLINE, || {
            for kind in ["kubeadmcontrolplane", "machinedeployment"] {
                let object = self.get(&[kind, CLUSTER]);
                let (spec, status) = (&object["spec"], &object["status"]);
                let is_compared = status["observedGeneration"] == object["metadata"]["generation"]
                    && status["upToDateReplicas"] == spec["replicas"]
                    && status["replicas"] == spec["replicas"];
                if !is_compared {
                    return Err(Wait::NotYet(object.to_string()));
                }
            }
            let machines = self.api.machines(self.plane, NAMESPACE, CLUSTER)?;
            let has_change = |machine: &Value| {
                machine["spec"]["deletion"]["nodeDrainTimeoutSeconds"] == self.change
            };
            if machines.iter().all(has_change) {
                Ok(())
            } else {
                Err(Wait::NotYet(Value::from(machines).to_string()))
            }
        })
        .unwrap();
        let machines = self.api.wait_machines(self.plane, NAMESPACE, CLUSTER, 2).unwrap();
        assert_eq!(names(&machines), before);
        before
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        output(self.plane.kubectl().args(["--namespace", NAMESPACE]).args(arguments))
    }

    fn get(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "--output=json"][..], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// Moves the objects to another management cluster with clusterctl, by way of a folder.
    fn move_to(self, plane: &ControlPlane) -> Kept<'_> {
        let folder = TempDir::new().unwrap();
        let clusterctl = |api: &ClusterApi, from: &ControlPlane, flag: &str| {
            let mut command = api.clusterctl(from);
            command.args(["move", "--namespace", NAMESPACE, flag]).arg(folder.path());
            output(&mut command);
        };
        clusterctl(&self.api, self.plane, "--to-directory");
        let api = self.api.restart_on(plane).unwrap();
        plane.create_namespace(NAMESPACE).unwrap();
        clusterctl(&api, plane, "--from-directory");
        Kept { plane, api, change: self.change }
    }

    /// Restores a backup of the objects on another management cluster, as Velero does: only name,
    /// labels and annotations of the metadata are left. The `Cluster` is paused meanwhile.
    fn restore_on(self, plane: &ControlPlane) -> Kept<'_> {
        self.pause(true);
        let backup: Vec<Value> = RESTORED.iter().map(|kind| self.get(&[kind])).collect();
        let api = self.api.restart_on(plane).unwrap();
        plane.create_namespace(NAMESPACE).unwrap();
        let folder = TempDir::new().unwrap();
        for (kind, list) in RESTORED.iter().zip(backup) {
            let objects = list["items"].as_array().unwrap().iter().map(restored);
            let list = json!({
                "apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>(),
            });
            let path = folder.path().join(kind);
            fs::write(&path, list.to_string()).unwrap();
            output(plane.kubectl().args(["create", "--filename"]).arg(path));
        }
        let kept = Kept { plane, api, change: self.change };
        kept.pause(false);
        kept
    }

    fn pause(&self, is_paused: bool) {
        let patch = json!({ "spec": { "paused": is_paused } }).to_string();
        self.kubectl(&["patch", "cluster", CLUSTER, "--type=merge", "--patch", &patch]);
    }
}

/// Returns an object of a backup as it is created again.
fn restored(object: &Value) -> Value {
    let mut object = object.clone();
    let metadata = object["metadata"].clone();
    object["metadata"] = json!({
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "labels": metadata["labels"],
        "annotations": metadata["annotations"],
    });
    object["metadata"]["labels"]["velero.io/restore-name"] = "backup-1".into();
    object.as_object_mut().unwrap().remove("status");
    object
}

fn names(machines: &[Value]) -> BTreeSet<String> {
    machines.iter().map(|machine| name(machine).to_owned()).collect()
}

#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn machines_with_the_entry_are_kept() {
    let options = Options { controller_manager: true, ..Options::default() };
    let planes = ControlPlanes::start(parts(), &options, 2).unwrap();
    let api = ClusterApi::start(parts(), &planes.hub).unwrap();
    planes.hub.create_namespace(NAMESPACE).unwrap();
    let manifests = kustomize(&planes.hub, PLAIN, CLUSTER, &render(&["kubeadm-patch"]));
    apply(&planes.hub, &manifests);
    let mut kept = Kept { plane: &planes.hub, api, change: 0 };
    let machines = kept.settled();

    apply(kept.plane, &manifests);
    assert_eq!(kept.settled(), machines, "applied again");

    let mut kept = kept.move_to(&planes.workloads[0]);
    assert_eq!(kept.settled(), machines, "moved by clusterctl");

    let mut kept = kept.restore_on(&planes.workloads[1]);
    assert_eq!(kept.settled(), machines, "restored from a backup");

    // The administrator applies the same manifests to the restored objects.
    apply(kept.plane, &manifests);
    assert_eq!(kept.settled(), machines, "applied to restored objects");

    // Another command replaces the machines of the control plane, so the comparison above counts.
    let commands = json!({ "spec": { "kubeadmConfigSpec": { "preKubeadmCommands": ["true"] } } });
    let commands = commands.to_string();
    kept.kubectl(&["patch", "kubeadmcontrolplane", CLUSTER, "--type=merge", "--patch", &commands]);
    until("a new machine", DEADLINE, || {
        let present = names(&kept.api.machines(kept.plane, NAMESPACE, CLUSTER)?);
        if present.is_subset(&machines) {
            Err(Wait::NotYet(format!("{present:?}")))
        } else {
            Ok(())
        }
    })
    .unwrap();
}
