//! Machines are kept when their objects are applied again, or restored from a backup.

use std::fs;

use image_swap_testbed::{ClusterApi, ControlPlane, ControlPlanes, Options, Wait, until};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    compared::{ComparedCluster, DEADLINE, names, restored},
    management::{NAMESPACE, PLAIN, apply, kustomize, output, parts, render},
};

const CLUSTER: &str = "kept";

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

impl ComparedCluster<'_> {
    /// Restores a backup of the objects on another management cluster, as Velero does: only name,
    /// labels and annotations of the metadata are left. The `Cluster` is paused meanwhile.
    fn restore_on(self, plane: &ControlPlane) -> ComparedCluster<'_> {
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
        let kept = ComparedCluster { plane, api, name: self.name, change: self.change };
        kept.pause(false);
        kept
    }

    fn pause(&self, is_paused: bool) {
        let patch = json!({ "spec": { "paused": is_paused } }).to_string();
        self.kubectl(&["patch", "cluster", self.name, "--type=merge", "--patch", &patch]);
    }
}

#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn machines_with_the_entry_are_kept() {
    let options = Options { controller_manager: true, ..Options::default() };
    let planes = ControlPlanes::start(parts(), &options, 1).unwrap();
    let api = ClusterApi::start(parts(), &planes.hub).unwrap();
    planes.hub.create_namespace(NAMESPACE).unwrap();
    let manifests = kustomize(&planes.hub, PLAIN, CLUSTER, &render(&["kubeadm-patch"]));
    apply(&planes.hub, &manifests);
    let mut kept = ComparedCluster { plane: &planes.hub, api, name: CLUSTER, change: 0 };
    let machines = kept.settled();

    apply(kept.plane, &manifests);
    assert_eq!(kept.settled(), machines, "applied again");

    let mut kept = kept.restore_on(&planes.workloads[0]);
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
