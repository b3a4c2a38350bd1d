//! A restore of a workload cluster's objects, as Velero does it.

use image_swap_testbed::Answer;
use serde_json::{Value, json};

use crate::machine_cluster::{MachineCluster, NAMESPACE, RESOURCES, belongs, path_of};

/// Metadata that Velero removes from an object before it creates it (`resetMetadata` in its
/// `pkg/restore`).
const RESET: [&str; 9] = [
    "generateName",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
];

/// Loses all objects of the workload cluster `name`, as a management cluster that breaks, and
/// creates them again from a backup. Its machines run on all the while.
pub(crate) fn restore(cluster: &MachineCluster, name: &str) {
    cluster.pause(name, true);
    let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    let mut paths = vec![secrets];
    paths.extend(RESOURCES.map(|(group, resource)| path_of(group, resource)));
    let backup: Vec<(&String, Vec<Value>)> =
        paths.iter().map(|path| (path, backup_of(cluster, path, name))).collect();
    for (path, objects) in &backup {
        assert!(!objects.is_empty(), "nothing of {name} at {path}");
        for object in objects {
            lose(cluster, path, object);
        }
    }
    for (path, objects) in &backup {
        for object in objects {
            let answer = cluster.control_plane.request("POST", path, Some(&stripped(object)));
            expect(&answer.unwrap(), 201);
        }
    }
    cluster.pause(name, false);
}

/// Returns the objects of the workload cluster `name` at `path`, with their types.
fn backup_of(cluster: &MachineCluster, path: &str, name: &str) -> Vec<Value> {
    let list = cluster.control_plane.get(path).unwrap().unwrap();
    let kind = list["kind"].as_str().unwrap().trim_end_matches("List");
    let items = list["items"].as_array().unwrap().iter().filter(|item| belongs(item, name));
    items
        .map(|item| {
            let mut item = item.clone();
            item["apiVersion"] = list["apiVersion"].clone();
            item["kind"] = Value::from(kind);
            item
        })
        .collect()
}

/// Removes an object without its controller: deletes it, and then its finalizers.
fn lose(cluster: &MachineCluster, path: &str, object: &Value) {
    let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
    let request =
        |method, body: Option<&Value>| cluster.control_plane.request(method, &path, body).unwrap();
    let deleted = request("DELETE", None);
    expect(&deleted, 200);
    let finalizers = json!({ "metadata": { "finalizers": null } });
    let patched = request("PATCH", Some(&finalizers));
    assert!([200, 404].contains(&patched.status), "{path}: {}", patched.body);
    assert_eq!(cluster.control_plane.get(&path).unwrap(), None);
}

/// Returns an object as Velero creates it: without status, and with its own label.
fn stripped(object: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| !RESET.contains(&key.as_str()) && key != "managedFields");
    object["metadata"]["labels"]["velero.io/restore-name"] = Value::from("restore");
    object
}

fn expect(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.body);
}
