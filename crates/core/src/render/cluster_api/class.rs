//! A patch of a `ClusterClass`.

use serde_json::{Value, json};

use super::{BOOTSTRAP, COMMANDS, CONTROL_PLANE, MachineEntries, component};

/// A list of a class's templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassList {
    /// `files` of the `KubeadmControlPlaneTemplate`.
    ControlPlaneFiles,
    /// `preKubeadmCommands` of the `KubeadmControlPlaneTemplate`.
    ControlPlaneCommands,
    /// `files` of a `KubeadmConfigTemplate`.
    WorkerFiles,
    /// `preKubeadmCommands` of a `KubeadmConfigTemplate`.
    WorkerCommands,
}

/// The templates of a class that the patch is for.
#[derive(Clone, Debug)]
pub struct ClassTargets {
    /// Version of the templates, such as `v1beta2`.
    pub version: String,
    /// True if the patch is for the control plane.
    pub control_plane: bool,
    /// Classes of `MachineDeployment`s; `*` matches all.
    pub machine_deployments: Vec<String>,
    /// Classes of `MachinePool`s; `*` matches all.
    pub machine_pools: Vec<String>,
    /// Lists that the templates lack.
    pub missing: Vec<ClassList>,
}

/// Returns the entry of `spec.patches` that adds `entries` to the templates of a class.
pub fn class_patch(entries: &MachineEntries, targets: &ClassTargets) -> Value {
    let mut definitions = Vec::new();
    let version = |group: &str| [group, "/", &targets.version].concat();
    if targets.control_plane {
        let is_missing = [ClassList::ControlPlaneFiles, ClassList::ControlPlaneCommands]
            .map(|list| targets.missing.contains(&list));
        definitions.push(json!({
            "selector": {
                "apiVersion": version(CONTROL_PLANE),
                "kind": "KubeadmControlPlaneTemplate",
                "matchResources": { "controlPlane": true },
            },
            "jsonPatches": json_patches(entries, "/spec/template/spec/kubeadmConfigSpec", is_missing),
        }));
    }
    let mut workers = json!({});
    // Cluster API refuses a selector that matches nothing in the class.
    for (key, names) in [
        ("machineDeploymentClass", &targets.machine_deployments),
        ("machinePoolClass", &targets.machine_pools),
    ] {
        if !names.is_empty() {
            workers[key] = json!({ "names": names });
        }
    }
    if workers != json!({}) {
        let is_missing = [ClassList::WorkerFiles, ClassList::WorkerCommands]
            .map(|list| targets.missing.contains(&list));
        definitions.push(json!({
            "selector": {
                "apiVersion": version(BOOTSTRAP),
                "kind": "KubeadmConfigTemplate",
                "matchResources": workers,
            },
            "jsonPatches": json_patches(entries, "/spec/template/spec", is_missing),
        }));
    }
    json!({
        "name": "image-swap",
        "description": "Adds the declared mirrors to the container runtimes of new machines.",
        "definitions": definitions,
    })
}

/// Returns the operations that add `entries` to the lists of the object at `fields`.
fn json_patches(
    entries: &MachineEntries,
    fields: &str,
    [no_files, no_commands]: [bool; 2],
) -> Vec<Value> {
    let add = |path: String, value: Value| json!({ "op": "add", "path": path, "value": value });
    let mut operations = Vec::new();
    if no_files {
        operations.push(add(format!("{fields}/files"), json!(entries.files)));
    } else {
        let append = |file: &Value| add(format!("{fields}/files/-"), file.clone());
        operations.extend(entries.files.iter().map(append));
    }
    if let Some(command) = &entries.command {
        operations.push(if no_commands {
            add(format!("{fields}/{COMMANDS}"), json!([command]))
        } else {
            add(format!("{fields}/{COMMANDS}/0"), json!(command))
        });
    }
    operations
}

/// Returns the Kustomize component that appends [`class_patch`] to the patches of each class.
pub fn class_component(entries: &MachineEntries, targets: &ClassTargets) -> String {
    component::print_class(&class_patch(entries, targets))
}
