//! A management cluster with Cluster API and one workload cluster, whose machines are in memory.

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use image_swap_testbed::{ClusterApi, ControlPlane, Error, Options, Parts, Wait, until};
use serde_json::{Value, json};

/// The namespace of all objects.
pub(crate) const NAMESPACE: &str = "clusters";
/// The name of the workload cluster.
pub(crate) const NAME: &str = "one";
/// The Kubernetes version of the machines. It is only a text: nothing runs on them.
const VERSION: &str = "v1.37.2";
/// The deadline of a wait, long enough for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(1);

/// Resources of Cluster API by group, in the order in which Velero restores them: by name, and
/// `clusters` last.
pub(crate) const RESOURCES: [(&str, &str); 9] = [
    ("infrastructure.cluster.x-k8s.io", "devclusters"),
    ("infrastructure.cluster.x-k8s.io", "devmachines"),
    ("infrastructure.cluster.x-k8s.io", "devmachinetemplates"),
    ("bootstrap.cluster.x-k8s.io", "kubeadmconfigs"),
    ("bootstrap.cluster.x-k8s.io", "kubeadmconfigtemplates"),
    ("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes"),
    ("cluster.x-k8s.io", "machinedeployments"),
    ("cluster.x-k8s.io", "machines"),
    ("cluster.x-k8s.io", "machinesets"),
];

/// Returns the path of a resource in the namespace, in the version `v1beta2`.
pub(crate) fn path_of(group: &str, resource: &str) -> String {
    format!("/apis/{group}/v1beta2/namespaces/{NAMESPACE}/{resource}")
}

/// A management cluster with one workload cluster of two machines.
pub(crate) struct MachineCluster {
    // Dropped in this order: clients before servers.
    pub(crate) cluster_api: ClusterApi,
    pub(crate) control_plane: ControlPlane,
}

impl MachineCluster {
    /// Starts the controllers.
    pub(crate) fn start() -> Self {
        static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
        let control_plane = ControlPlane::start(&PARTS, &Options::default()).unwrap();
        control_plane.create_namespace(NAMESPACE).unwrap();
        let cluster_api = ClusterApi::start(&PARTS, &control_plane).unwrap();
        Self { cluster_api, control_plane }
    }

    /// Applies manifests as a GitOps tool does, by server-side apply.
    pub(crate) fn apply(&self, manifests: &[Value]) {
        let mut kubectl = self.control_plane.kubectl();
        kubectl.args(["apply", "--server-side", "--field-manager=gitops", "--filename=-"]);
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": manifests });
        feed(&mut kubectl, &list.to_string());
    }

    /// Returns the objects of a resource in the namespace.
    pub(crate) fn list(&self, group: &str, resource: &str) -> Vec<Value> {
        let list = self.control_plane.get(&path_of(group, resource)).unwrap().unwrap();
        let mut items = list["items"].as_array().unwrap().clone();
        for item in &mut items {
            // Items of a list of JSON objects have their types only in the list.
            item["apiVersion"] = list["apiVersion"].clone();
            let kind = list["kind"].as_str().unwrap().trim_end_matches("List");
            item["kind"] = Value::from(kind);
        }
        items
    }

    /// Returns the machines.
    pub(crate) fn machines(&self) -> Vec<Value> {
        self.list("cluster.x-k8s.io", "machines")
    }

    /// Returns the provider ids of the machines by name. A replaced machine has another name.
    pub(crate) fn provider_ids(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.machines()
            .iter()
            .map(|machine| {
                (text(&machine["metadata"]["name"]), text(&machine["spec"]["providerID"]))
            })
            .collect()
    }

    /// Waits until `look` returns a value; it returns the present state otherwise.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        until(what, PATIENCE, || look(self).map_err(Wait::NotYet)).unwrap()
    }

    /// Waits until two machines run, each with its Node, and every controller has seen the last
    /// change of its object. Returns their provider ids by name.
    pub(crate) fn wait_settled(&self) -> BTreeMap<String, String> {
        self.wait("two machines that run", |cluster| {
            let machines = cluster.machines();
            let phases: Vec<_> = machines
                .iter()
                .map(|machine| {
                    let status = &machine["status"];
                    format!("{} {}", status["phase"], status["nodeRef"]["name"])
                })
                .collect();
            let runs = |machine: &Value| {
                machine["status"]["phase"] == "Running"
                    && machine["status"]["nodeRef"]["name"].is_string()
            };
            if machines.len() != 2 || !machines.iter().all(runs) {
                return Err(phases.join(", "));
            }
            let owners = [
                ("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes"),
                ("cluster.x-k8s.io", "machinedeployments"),
            ];
            for (group, resource) in owners {
                for object in cluster.list(group, resource) {
                    let (generation, status) =
                        (&object["metadata"]["generation"], &object["status"]);
                    let seen = &status["observedGeneration"];
                    let current = (&status["upToDateReplicas"], &status["readyReplicas"]);
                    if seen != generation || current != (&json!(1), &json!(1)) {
                        return Err(format!("{resource}: {generation} {status}"));
                    }
                }
            }
            Ok(cluster.provider_ids())
        })
    }

    /// Returns the bootstrap data of every machine by the machine's name, decoded from its
    /// Secret.
    pub(crate) fn bootstrap_data(&self) -> BTreeMap<String, String> {
        let data_of = |machine: &Value| {
            let secret = machine["spec"]["bootstrap"]["dataSecretName"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{secret}");
            let secret = self.control_plane.get(&path).unwrap().unwrap();
            let value = BASE64_STANDARD.decode(secret["data"]["value"].as_str().unwrap()).unwrap();
            let name = machine["metadata"]["name"].as_str().unwrap().to_owned();
            (name, String::from_utf8(value).unwrap())
        };
        self.machines().iter().map(data_of).collect()
    }

    /// Sets or clears the pause of the workload cluster.
    pub(crate) fn pause(&self, paused: bool) -> Result<(), Error> {
        let path = format!("{}/{NAME}", path_of("cluster.x-k8s.io", "clusters"));
        let body = json!({ "spec": { "paused": paused } });
        let answer = self.control_plane.request("PATCH", &path, Some(&body))?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Ok(())
    }
}

/// Runs a command with `input` as its standard input; it must succeed.
fn feed(command: &mut Command, input: &str) {
    let mut child =
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the manifests of a workload cluster with one control plane machine and one worker.
/// `bootstrap` has the fields that both kubeadm configurations get: `files`,
/// `preKubeadmCommands`.
pub(crate) fn manifests(bootstrap: &Value) -> Vec<Value> {
    let metadata = |name: &str| json!({ "name": name, "namespace": NAMESPACE });
    let config = |more: Value| {
        let mut config = bootstrap.clone();
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let machine_template = json!({
        "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": NAME,
    });
    let labels = json!({
        "cluster.x-k8s.io/cluster-name": NAME,
        "cluster.x-k8s.io/deployment-name": NAME,
    });
    let soon = json!({ "provisioning": { "startupDuration": "1s" } });
    vec![
        json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
            "kind": "DevCluster",
            // The provider in memory writes an annotation into a map that it does not make.
            "metadata": {
                "name": NAME, "namespace": NAMESPACE, "annotations": { "example.org/of": "test" },
            },
            "spec": { "backend": { "inMemory": {} } },
        }),
        json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta2",
            "kind": "DevMachineTemplate",
            "metadata": metadata(NAME),
            "spec": { "template": { "spec": { "backend": { "inMemory": {
                "vm": soon, "node": soon, "apiServer": soon, "etcd": soon,
            } } } } },
        }),
        json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
            "kind": "KubeadmControlPlane",
            "metadata": metadata(NAME),
            "spec": {
                "replicas": 1,
                "version": VERSION,
                "machineTemplate": { "spec": { "infrastructureRef": machine_template } },
                "kubeadmConfigSpec": config(json!({
                    "clusterConfiguration": { "apiServer": { "certSANs": ["127.0.0.1"] } },
                })),
            },
        }),
        json!({
            "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2",
            "kind": "KubeadmConfigTemplate",
            "metadata": metadata(NAME),
            "spec": { "template": { "spec": config(json!({
                "joinConfiguration": { "nodeRegistration": {
                    "criSocket": "unix:///run/containerd/containerd.sock",
                } },
            })) } },
        }),
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "MachineDeployment",
            "metadata": metadata(NAME),
            "spec": {
                "clusterName": NAME,
                "replicas": 1,
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": {
                    "clusterName": NAME,
                    "version": VERSION,
                    "bootstrap": { "configRef": {
                        "apiGroup": "bootstrap.cluster.x-k8s.io",
                        "kind": "KubeadmConfigTemplate",
                        "name": NAME,
                    } },
                    "infrastructureRef": machine_template,
                } },
            },
        }),
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": metadata(NAME),
            "spec": {
                "clusterNetwork": {
                    "services": { "cidrBlocks": ["10.128.0.0/12"] },
                    "pods": { "cidrBlocks": ["192.168.0.0/16"] },
                    "serviceDomain": "cluster.local",
                },
                "controlPlaneRef": {
                    "apiGroup": "controlplane.cluster.x-k8s.io",
                    "kind": "KubeadmControlPlane",
                    "name": NAME,
                },
                "infrastructureRef": {
                    "apiGroup": "infrastructure.cluster.x-k8s.io",
                    "kind": "DevCluster",
                    "name": NAME,
                },
            },
        }),
    ]
}
