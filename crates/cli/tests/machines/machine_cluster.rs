//! A management cluster with Cluster API and workload clusters, whose machines are in memory.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use image_swap_testbed::{ClusterApi, ControlPlane, Options, Parts, Wait, until};
use serde_json::{Value, json};

/// The namespace of all objects.
pub(crate) const NAMESPACE: &str = "clusters";
/// The workload cluster with templates of its own.
pub(crate) const NAME: &str = "one";
/// The workload cluster of a ClusterClass.
pub(crate) const OF_CLASS: &str = "two";
/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_image-swap");
/// A declaration in the repository.
const DECLARATION: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/registry-secret.yaml");
/// The Kubernetes version of the machines. It is only a text: nothing runs on them.
const VERSION: &str = "v1.37.2";
/// The deadline of a wait, long enough for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Resources of Cluster API by group, in the order in which Velero restores them: by name, and
/// `clusters` last. The control plane is restored before its machines.
pub(crate) const RESOURCES: [(&str, &str); 10] = [
    ("infrastructure.cluster.x-k8s.io", "devclusters"),
    ("infrastructure.cluster.x-k8s.io", "devmachines"),
    ("infrastructure.cluster.x-k8s.io", "devmachinetemplates"),
    ("bootstrap.cluster.x-k8s.io", "kubeadmconfigs"),
    ("bootstrap.cluster.x-k8s.io", "kubeadmconfigtemplates"),
    ("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes"),
    ("cluster.x-k8s.io", "machinedeployments"),
    ("cluster.x-k8s.io", "machines"),
    ("cluster.x-k8s.io", "machinesets"),
    CLUSTERS,
];
/// The clusters themselves.
pub(crate) const CLUSTERS: (&str, &str) = ("cluster.x-k8s.io", "clusters");
/// Owners of machines: their controllers replace machines.
pub(crate) const OWNERS: [(&str, &str); 2] = [
    ("controlplane.cluster.x-k8s.io", "kubeadmcontrolplanes"),
    ("cluster.x-k8s.io", "machinedeployments"),
];

/// Returns the path of a resource in the namespace, in the version `v1beta2`.
pub(crate) fn path_of(group: &str, resource: &str) -> String {
    format!("/apis/{group}/v1beta2/namespaces/{NAMESPACE}/{resource}")
}

/// A management cluster with Cluster API.
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

    /// Applies a kustomization as a GitOps tool does: by server-side apply, again until every
    /// object is accepted. The webhook refuses a cluster before its class.
    pub(crate) fn apply(&self, kustomization: &Path) {
        self.wait("an apply without errors", |cluster| {
            let mut kubectl = cluster.control_plane.kubectl();
            kubectl.args(["apply", "--server-side", "--field-manager=gitops", "--kustomize"]);
            let output = kubectl.arg(kustomization).output().unwrap();
            if output.status.success() {
                return Ok(());
            }
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        });
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

    /// Returns the objects of a resource that belong to the workload cluster `name`.
    pub(crate) fn of(&self, name: &str, (group, resource): (&str, &str)) -> Vec<Value> {
        let mut items = self.list(group, resource);
        items.retain(|item| belongs(item, name));
        items
    }

    /// Returns the machines of the workload cluster `name`.
    fn machines(&self, name: &str) -> Vec<Value> {
        self.of(name, ("cluster.x-k8s.io", "machines"))
    }

    /// Waits until `look` returns a value; it returns the present state otherwise.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Self) -> Result<T, String>,
    ) -> T {
        until(what, PATIENCE, || look(self).map_err(Wait::NotYet)).unwrap()
    }

    /// Waits until the two machines of the workload cluster `name` run, each with its Node, and
    /// their owners have seen the last change. Returns the identities of the machines by name: a
    /// replaced machine has another name.
    pub(crate) fn wait_settled(&self, name: &str) -> BTreeMap<String, [String; 2]> {
        self.wait(&format!("two machines of {name} that run"), |cluster| {
            let machines = cluster.machines(name);
            let identities: BTreeMap<_, _> = machines
                .iter()
                .map(|machine| {
                    let (spec, status) = (&machine["spec"], &machine["status"]);
                    let identity = [text(&spec["providerID"]), text(&status["nodeRef"]["name"])];
                    (text(&machine["metadata"]["name"]), identity)
                })
                .collect();
            let runs = |machine: &Value| machine["status"]["phase"] == "Running";
            let is_whole = identities.values().flatten().all(|part| !part.is_empty());
            if machines.len() != 2 || !machines.iter().all(runs) || !is_whole {
                return Err(format!("{identities:?}"));
            }
            for (group, resource) in OWNERS {
                for object in cluster.of(name, (group, resource)) {
                    let (wanted, status) = (&object["metadata"]["generation"], &object["status"]);
                    let replicas = (&status["upToDateReplicas"], &status["readyReplicas"]);
                    if status["observedGeneration"] != *wanted || replicas != (&json!(1), &json!(1))
                    {
                        return Err(format!("{resource}: generation {wanted}, {status}"));
                    }
                }
            }
            Ok(identities)
        })
    }

    /// Returns the generations of the owners of machines. A generation rises with each change of
    /// the specification.
    pub(crate) fn generations(&self) -> BTreeMap<String, u64> {
        let owners = OWNERS.iter().flat_map(|(group, resource)| self.list(group, resource));
        owners
            .map(|owner| {
                let metadata = &owner["metadata"];
                let key = format!("{} {}", text(&owner["kind"]), text(&metadata["name"]));
                (key, metadata["generation"].as_u64().unwrap())
            })
            .collect()
    }

    /// Returns the file `path` in the bootstrap data of every machine of the workload cluster
    /// `name`, by the machine's name; `None` if the data do not have it.
    pub(crate) fn files(&self, name: &str, path: &str) -> BTreeMap<String, Option<String>> {
        let file_of = |machine: &Value| {
            let secret = text(&machine["spec"]["bootstrap"]["dataSecretName"]);
            let secret = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{secret}");
            let secret = self.control_plane.get(&secret).unwrap().unwrap();
            let data = BASE64_STANDARD.decode(text(&secret["data"]["value"])).unwrap();
            let data = String::from_utf8(data).unwrap();
            let command = format!("sh {path} || true");
            assert!(data.contains(&command), "{data}");
            (text(&machine["metadata"]["name"]), file_in(&data, path))
        };
        self.machines(name).iter().map(file_of).collect()
    }

    /// Sets or clears the pause of the workload cluster `name`. Returns when its controllers have
    /// seen it.
    pub(crate) fn pause(&self, name: &str, paused: bool) {
        let (group, resource) = CLUSTERS;
        let path = format!("{}/{name}", path_of(group, resource));
        let body = json!({ "spec": { "paused": paused } });
        let answer = self.control_plane.request("PATCH", &path, Some(&body)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let wanted = if paused { "True" } else { "False" };
        self.wait(&format!("the condition Paused={wanted} of {name}"), |cluster| {
            for resource in RESOURCES {
                for object in cluster.of(name, resource) {
                    let conditions = object["status"]["conditions"].as_array();
                    let mut conditions = conditions.into_iter().flatten();
                    let found = conditions.find(|condition| condition["type"] == "Paused");
                    if found.is_some_and(|condition| condition["status"] != wanted) {
                        return Err(format!("{} {}", object["kind"], object["metadata"]["name"]));
                    }
                }
            }
            Ok(())
        });
    }
}

/// Returns true if an object belongs to the workload cluster `name`.
pub(crate) fn belongs(object: &Value, name: &str) -> bool {
    let own = object["metadata"]["name"].as_str().unwrap_or_default();
    own == name || own.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns the file `path` in the cloud-config of kubeadm's bootstrap provider.
fn file_in(data: &str, path: &str) -> Option<String> {
    let (_, entry) = data.split_once(&format!("-   path: {path}\n"))?;
    let (_, content) = entry.split_once("    content: |\n")?;
    let lines = content.lines().map_while(|line| line.strip_prefix("      "));
    let content: String = lines.map(|line| format!("{line}\n")).collect();
    // The provider writes an empty line after each file.
    content.strip_suffix('\n').map(str::to_owned)
}

/// Runs a command, which must succeed, and returns its standard output.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns what `image-swap render` prints for the declaration.
pub(crate) fn rendered(command: &str, arguments: &[&str]) -> String {
    run(Command::new(PROGRAM).args(["render", command, "-f", DECLARATION]).args(arguments))
}

/// Writes a kustomization with manifests, and with the component that `image-swap render` prints
/// as a patch for them.
pub(crate) fn write_kustomization(folder: &Path, manifests: &str, command: &str) {
    let base = folder.join("cluster.yaml");
    fs::write(&base, manifests).unwrap();
    let component = folder.join("image-swap");
    fs::create_dir(&component).unwrap();
    let patch = rendered(command, &["--template", base.to_str().unwrap()]);
    fs::write(component.join("kustomization.yaml"), patch).unwrap();
    let kustomization = json!({
        "namespace": NAMESPACE,
        "resources": ["cluster.yaml"],
        "components": ["image-swap"],
    });
    fs::write(folder.join("kustomization.yaml"), kustomization.to_string()).unwrap();
}

/// Returns the manifests of a workload cluster with one control plane machine and one worker.
pub(crate) fn manifests() -> String {
    let metadata = |name: &str| json!({ "name": name, "namespace": NAMESPACE });
    let machine_template = json!({
        "apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "DevMachineTemplate", "name": NAME,
    });
    let labels = json!({
        "cluster.x-k8s.io/cluster-name": NAME,
        "cluster.x-k8s.io/deployment-name": NAME,
    });
    let soon = json!({ "provisioning": { "startupDuration": "1s" } });
    let all = [
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
                "kubeadmConfigSpec": {
                    "clusterConfiguration": { "apiServer": { "certSANs": ["127.0.0.1"] } },
                },
            },
        }),
        json!({
            "apiVersion": "bootstrap.cluster.x-k8s.io/v1beta2",
            "kind": "KubeadmConfigTemplate",
            "metadata": metadata(NAME),
            "spec": { "template": { "spec": { "joinConfiguration": { "nodeRegistration": {
                "criSocket": "unix:///run/containerd/containerd.sock",
            } } } } },
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
    ];
    // JSON is YAML too.
    all.iter().map(|object| format!("---\n{object:#}\n")).collect()
}

/// Returns upstream's manifests of a ClusterClass and of a cluster with one control plane machine
/// and one worker, whose machines start at once.
pub(crate) fn class_manifests(cluster_api: &ClusterApi) -> String {
    let class = cluster_api.template("clusterclass-in-memory.yaml").unwrap();
    let cluster = cluster_api.template("cluster-template-in-memory.yaml").unwrap();
    [
        ("${CLUSTER_NAME}", OF_CLASS),
        ("${NAMESPACE}", NAMESPACE),
        ("${KUBERNETES_VERSION}", VERSION),
        ("${CONTROL_PLANE_MACHINE_COUNT}", "1"),
        ("${WORKER_MACHINE_COUNT}", "1"),
        ("${SERVICE_CIDR:=[\"10.128.0.0/12\"]}", "[\"10.128.0.0/12\"]"),
        ("${POD_CIDR:=[\"192.168.0.0/16\"]}", "[\"192.168.0.0/16\"]"),
        ("${SERVICE_DOMAIN:=\"cluster.local\"}", "cluster.local"),
        ("startupDuration: \"10s\"", "startupDuration: \"1s\""),
    ]
    .iter()
    .fold(format!("{class}---\n{cluster}"), |text, (from, to)| text.replace(from, to))
}
