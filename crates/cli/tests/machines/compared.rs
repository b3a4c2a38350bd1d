//! Machines that their controllers have compared with changed templates.

use std::{collections::BTreeSet, time::Duration};

use image_swap_testbed::{ClusterApi, ControlPlane, Wait, until};
use serde_json::{Value, json};

use crate::management::{NAMESPACE, name, output};

pub(crate) const DEADLINE: Duration = Duration::from_mins(3);

/// A `Cluster` with two machines on its present management cluster.
pub(crate) struct ComparedCluster<'a> {
    pub(crate) plane: &'a ControlPlane,
    pub(crate) api: ClusterApi,
    pub(crate) name: &'static str,
    /// Number of the last change that needs no new machine.
    pub(crate) change: u32,
}

impl ComparedCluster<'_> {
    /// Returns the names of the machines, after the controllers have compared each machine with its
    /// templates.
    pub(crate) fn settled(&mut self) -> BTreeSet<String> {
        let machines = self.api.wait_machines(self.plane, NAMESPACE, self.name, 2).unwrap();
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
            let patch = patch.to_string();
            self.kubectl(&["patch", kind, self.name, "--type=merge", "--patch", &patch]);
        }
        until("the controllers to compare the machines", DEADLINE, || {
            for kind in ["kubeadmcontrolplane", "machinedeployment"] {
                let object = self.get(&[kind, self.name]);
                if !is_compared(&object) {
                    return Err(Wait::NotYet(object.to_string()));
                }
            }
            let machines = self.api.machines(self.plane, NAMESPACE, self.name)?;
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
        let machines = self.api.wait_machines(self.plane, NAMESPACE, self.name, 2).unwrap();
        assert_eq!(names(&machines), before);
        before
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        output(self.plane.kubectl().args(["--namespace", NAMESPACE]).args(arguments))
    }

    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "--output=json"][..], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }
}

/// Returns true if a controller has compared the machines of `object` with its templates, and
/// replaces none.
pub(crate) fn is_compared(object: &Value) -> bool {
    let (spec, status) = (&object["spec"], &object["status"]);
    status["observedGeneration"] == object["metadata"]["generation"]
        && status["upToDateReplicas"] == spec["replicas"]
        && status["replicas"] == spec["replicas"]
}

/// Returns an object of a backup as Velero creates it again: only name, labels and annotations of the
/// metadata are left.
pub(crate) fn restored(object: &Value) -> Value {
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

pub(crate) fn names(machines: &[Value]) -> BTreeSet<String> {
    machines.iter().map(|machine| name(machine).to_owned()).collect()
}
