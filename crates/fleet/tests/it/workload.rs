//! A workload cluster, with the bundle of the chart.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    declaration::UnixTime,
    fleet::{
        bundle::{Bundle, BundleObject, BundleSlots},
        drift::RepairLog,
        kubeconfig::RemoteAccess,
    },
};
use image_swap_fleet::remote::{ApplyReport, RemoteCluster, RemoteLimits, Removal};
use image_swap_testbed::{ControlPlane, Options, Parts, Wait};
use image_swap_testkit::registry_keys;
use serde_json::{Value, json};
use tokio::task::block_in_place;

/// The deadline of a wait, long enough for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(2);
/// The namespace of the release.
pub(crate) const NAMESPACE: &str = "image-swap";
/// Namespaces of Kubernetes itself, in which its own controllers write.
const SYSTEM: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

/// A workload cluster.
pub(crate) struct Workload {
    pub(crate) parts: Parts,
    pub(crate) plane: ControlPlane,
    /// The cluster by the credential of an administrator.
    pub(crate) remote: RemoteCluster,
    pub(crate) log: RepairLog,
}

/// Returns the present time by the clock of this machine.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns the access of a kubeconfig.
pub(crate) fn connect(kubeconfig: &str) -> RemoteCluster {
    let access = RemoteAccess::parse(kubeconfig.as_bytes()).unwrap();
    RemoteCluster::connect(&access, &RemoteLimits::default()).unwrap()
}

/// Returns a declaration with a credential.
pub(crate) fn declaration() -> Effective {
    let data = registry_keys("hub").map(|(key, value)| (key.to_owned(), value.into_bytes()));
    let secret = SecretData { kind: "Opaque".to_owned(), data: BTreeMap::from(data) };
    Effective { origin: Origin::RegistryInfo, secret }
}

/// Returns the settings of a removal that waits for no node.
pub(crate) fn removal() -> Removal {
    Removal { namespace: NAMESPACE.into(), wait: Duration::from_secs(20), proceed: false }
}

impl Workload {
    /// Starts a control plane. With `is_managed`, Kubernetes' own controllers run in it.
    pub(crate) fn start(is_managed: bool) -> Self {
        let parts = Parts::present().unwrap();
        let options = Options { controller_manager: is_managed, ..Options::default() };
        let plane = block_in_place(|| ControlPlane::start(&parts, &options)).unwrap();
        let remote = connect(&plane.administrator_kubeconfig().unwrap());
        Self { parts, plane, remote, log: RepairLog::default() }
    }

    /// Returns the objects of the bundle with the `values` of workload clusters, filled with
    /// `declaration`.
    pub(crate) async fn objects(&self, values: &str, declaration: &Effective) -> Vec<BundleObject> {
        let bundle = Bundle::parse(&render(&self.parts.helm().unwrap().helm4, values)).unwrap();
        let facts = self.remote.discover().await.unwrap();
        let slots = BundleSlots::new(NAMESPACE, (1, declaration), &facts.served);
        bundle.fill(&slots).unwrap()
    }

    /// Applies `objects` as a bundle.
    pub(crate) async fn apply(&mut self, objects: &[BundleObject]) -> ApplyReport {
        let applied = self.remote.apply_bundle(objects, &removal(), &mut self.log, now()).await;
        applied.unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        block_in_place(|| self.plane.get(path).unwrap())
    }

    /// Sends `body` to `path` and returns the response, which must be a success.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = block_in_place(|| self.plane.request(method, path, body).unwrap());
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Applies `object` as the field manager `other`.
    pub(crate) fn apply_by_other(&self, object: &Value) {
        let mut child = self
            .plane
            .kubectl()
            .args(["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f-"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        serde_json::to_writer(input, object).unwrap();
        assert!(block_in_place(|| child.wait()).unwrap().success());
    }

    /// Waits until `look` returns a value.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let look = || look(self).ok_or_else(|| Wait::NotYet(String::new()));
        block_in_place(|| image_swap_testbed::until(what, PATIENCE, look)).unwrap()
    }

    /// Returns the response of `path`; `None` without one, such as that of a custom resource that is
    /// being deleted.
    fn served(&self, path: &str) -> Option<Value> {
        block_in_place(|| self.plane.get(path).ok().flatten())
    }

    /// Waits until `names` returns `expected`.
    pub(crate) fn until_names(
        &self,
        expected: &BTreeSet<String>,
        names: impl Fn(&Self) -> BTreeSet<String>,
    ) {
        let look = || {
            let found = names(self);
            let more: Vec<_> = found.difference(expected).collect();
            let less: Vec<_> = expected.difference(&found).collect();
            if more.is_empty() && less.is_empty() {
                return Ok(());
            }
            Err(Wait::NotYet(format!("more: {more:?}, less: {less:?}")))
        };
        block_in_place(|| {
            image_swap_testbed::until("the objects that remain", PATIENCE, look).unwrap();
        });
    }

    /// Returns every object of the cluster as `RESOURCE NAMESPACE/NAME`, apart from Events and those
    /// of [`SYSTEM`] namespaces.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let mut roots = vec!["/api/v1".to_owned()];
        for group in self.get("/apis").unwrap()["groups"].as_array().unwrap() {
            let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
            roots.push(format!("/apis/{version}"));
        }
        let mut names = BTreeSet::new();
        for root in roots {
            // A group disappears with its custom resource.
            let Some(resources) = self.served(&root) else { continue };
            for resource in resources["resources"].as_array().unwrap() {
                let plural = resource["name"].as_str().unwrap();
                let is_listed = resource["verbs"].as_array().unwrap().contains(&json!("list"));
                if !is_listed || plural == "events" || plural == "componentstatuses" {
                    continue;
                }
                let Some(list) = self.served(&format!("{root}/{plural}")) else { continue };
                for item in list["items"].as_array().into_iter().flatten() {
                    let metadata = &item["metadata"];
                    let namespace = metadata["namespace"].as_str().unwrap_or_default();
                    if !SYSTEM.contains(&namespace) {
                        let name = metadata["name"].as_str().unwrap();
                        names.insert(format!("{plural} {namespace}/{name}"));
                    }
                }
            }
        }
        names
    }
}

/// Returns the text of the bundle with `values` of workload clusters.
fn render(helm: &Path, values: &str) -> String {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    let mut command = Command::new(helm);
    command.args(["template", "image-swap"]).arg(chart).args([
        "--namespace=image-swap",
        "--set=fleet.enabled=true,fleet.namespaces={clusters},image.registry=harbor.example.org",
        "--show-only=templates/fleet/bundle.yaml",
    ]);
    if !values.is_empty() {
        command.arg(format!("--set-json=fleet.values={values}"));
    }
    let output = block_in_place(|| command.output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let map = String::from_utf8(output.stdout).unwrap();
    // The text is the last key of the ConfigMap, indented by four blanks.
    let (_, text) = map.split_once("  bundle.yaml: |\n").unwrap();
    text.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect()
}
