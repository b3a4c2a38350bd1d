//! New machines have the script in their bootstrap data, and nothing that image-swap prints
//! replaces a machine.

use std::{fs, path::Path};

use crate::{
    machine_cluster::{
        MachineCluster, NAME, NAMESPACE, OF_CLASS, class_manifests, manifests, rendered,
        write_kustomization,
    },
    restore::restore,
};

/// The path of the script on a machine.
const SCRIPT: &str = "/etc/image-swap/bootstrap.sh";

/// Checks that each of the two machines of the workload cluster `name` has the script.
fn assert_born(cluster: &MachineCluster, name: &str) {
    let script = rendered("bootstrap", &[]);
    let files = cluster.files(name, SCRIPT);
    assert_eq!(files.len(), 2);
    for (machine, file) in files {
        assert_eq!(file.as_deref(), Some(script.as_str()), "{machine}");
    }
}

/// Applies the same manifests again, and checks that no specification changes.
fn assert_stable(cluster: &MachineCluster, name: &str, kustomization: &Path) {
    let (machines, generations) = (cluster.wait_settled(name), cluster.generations());
    cluster.apply(kustomization);
    assert_eq!(cluster.wait_settled(name), machines);
    assert_eq!(cluster.generations(), generations);
}

/// Has the script in the templates, and restores the objects of the cluster from a backup.
#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn machines_are_born_with_the_script_once() {
    let cluster = MachineCluster::start();
    let folder = tempfile::tempdir().unwrap();
    write_kustomization(folder.path(), &manifests(), "kubeadm-patch");
    cluster.apply(folder.path());
    let machines = cluster.wait_settled(NAME);
    assert_born(&cluster, NAME);
    assert_stable(&cluster, NAME, folder.path());
    restore(&cluster, NAME);
    assert_eq!(cluster.wait_settled(NAME), machines);
}

/// Has the script in a Secret, to which a patch of upstream's ClusterClass refers.
#[test]
#[ignore = "needs Cluster API: cargo xtask test"]
fn machines_of_class_are_born_with_the_script() {
    let cluster = MachineCluster::start();
    let folder = tempfile::tempdir().unwrap();
    let manifests = class_manifests(&cluster.cluster_api);
    write_kustomization(folder.path(), &manifests, "cluster-class-patch");
    let secret = rendered("cluster-class-patch", &["--secret", "--namespace", NAMESPACE]);
    let all = format!("{manifests}---\n{secret}");
    fs::write(folder.path().join("cluster.yaml"), all).unwrap();
    cluster.apply(folder.path());
    cluster.wait_settled(OF_CLASS);
    assert_born(&cluster, OF_CLASS);
    assert_stable(&cluster, OF_CLASS, folder.path());
}
