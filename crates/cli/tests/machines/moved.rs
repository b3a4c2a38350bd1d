//! Machines are kept when clusterctl moves their objects to another management cluster, where the
//! webhook adds the script to new objects as well.

use std::{collections::BTreeMap, fs, path::Path};

use image_swap_testbed::{ClusterApi, ControlPlane, Wait, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    compared::{ComparedCluster, DEADLINE, is_compared},
    fleet,
    management::{NAMESPACE, name, output, try_apply},
    release::Release,
    webhook::{self, CLUSTER, KINDS, SECRET, STYLES},
};

/// A `Cluster` of a `ClusterClass` in the same namespace. The template of its workers has the label
/// for the webhook, and not the script.
const OF_CLASS: &str = "class";
/// Label by which clusterctl takes an object along.
const MOVE: &str = "clusterctl.cluster.x-k8s.io/move";

/// The machines of all clusters, and the fields from which new ones are made.
#[derive(Debug, PartialEq)]
struct KeptMachines {
    /// Identifiers of the machines at their provider, by name.
    ids: BTreeMap<String, Value>,
    /// Fields with the lists of the script in control planes and templates, by kind and name.
    templates: BTreeMap<String, Value>,
}

impl KeptMachines {
    fn of(cluster: &ComparedCluster<'_>) -> Self {
        let items = |kind: &str| cluster.get(&[kind])["items"].as_array().unwrap().clone();
        let machines = items("machine");
        let ids = machines.iter().map(|it| (name(it).to_owned(), it["spec"]["providerID"].clone()));
        let fields = |(kind, path): (&str, &str)| {
            let all = items(kind).into_iter();
            all.map(|it| (format!("{kind} {}", name(&it)), it.pointer(path).unwrap().clone()))
                .collect::<Vec<_>>()
        };
        Self { ids: ids.collect(), templates: KINDS.into_iter().flat_map(fields).collect() }
    }
}

/// Moves all objects of `cluster` and of its neighbours to `target`, whose webhook answers. Checks
/// that neither the objects nor the machines change.
pub(crate) fn check(cluster: ComparedCluster<'_>, target: &ControlPlane) {
    let before = KeptMachines::of(&cluster);
    assert!(before.ids.len() == 6 && before.ids.values().all(Value::is_string), "{before:?}");
    let script = cluster.get(&["secret", SECRET])["data"].clone();
    let folder = TempDir::new().unwrap();
    clusterctl(&cluster.api, cluster.plane, "--to-directory", folder.path());
    let taken = folder.path().join(format!("Secret_{NAMESPACE}_{SECRET}.yaml"));
    let taken: Value = serde_json::from_str(&fs::read_to_string(taken).unwrap()).unwrap();
    assert_eq!(taken["data"], script);

    let api = cluster.api.restart_on(target).unwrap();
    for namespace in [NAMESPACE, fleet::NAMESPACE] {
        target.create_namespace(namespace).unwrap();
    }
    let manifests = webhook::manifests();
    let mut release = Release::install(target);
    release.wait_webhook(&manifests);
    clusterctl(&api, target, "--from-directory", folder.path());
    let mut cluster = ComparedCluster { plane: target, api, name: CLUSTER, change: cluster.change };
    assert_eq!(KeptMachines::of(&cluster).templates, before.templates, "moved");
    let secret = cluster.get(&["secret", SECRET]);
    assert_eq!((&secret["data"], &secret["metadata"]["labels"][MOVE]), (&script, &"".into()));
    let template = cluster.get(&[KINDS[1].0, OF_CLASS]);
    assert_eq!(template["metadata"]["labels"]["image-swap.io/bootstrap"], "enabled");

    for style in STYLES {
        try_apply(target, &manifests, style).unwrap();
    }
    cluster.settled();
    wait_compared(&cluster);
    assert_eq!(KeptMachines::of(&cluster), before, "compared");
    // No update of the template removed the script again.
    let template = cluster.get(&[KINDS[1].0, OF_CLASS]);
    assert_eq!(template["metadata"]["generation"], 1, "{template}");
    webhook::check_references(&release);
}

/// Runs `clusterctl move` with a flag for a folder.
fn clusterctl(api: &ClusterApi, plane: &ControlPlane, flag: &str, folder: &Path) {
    let mut command = api.clusterctl(plane);
    output(command.args(["move", "--namespace", NAMESPACE, flag]).arg(folder));
}

/// Waits until the controllers have compared the machines of all clusters. A moved object has no
/// status before.
fn wait_compared(cluster: &ComparedCluster<'_>) {
    until("the controllers to compare moved machines", DEADLINE, || {
        for kind in ["kubeadmcontrolplane", "machinedeployment"] {
            let objects = cluster.get(&[kind]);
            let objects = objects["items"].as_array().unwrap();
            assert_eq!(objects.len(), 3, "{objects:?}");
            if let Some(other) = objects.iter().find(|it| !is_compared(it)) {
                return Err(Wait::NotYet(other.to_string()));
            }
        }
        let cluster = cluster.get(&["cluster", OF_CLASS]);
        let conditions = cluster["status"]["conditions"].as_array();
        let is_reconciled =
            |it: &Value| it["type"] == "TopologyReconciled" && it["status"] == "True";
        if conditions.is_some_and(|all| all.iter().any(is_reconciled)) {
            Ok(())
        } else {
            Err(Wait::NotYet(cluster.to_string()))
        }
    })
    .unwrap();
}
