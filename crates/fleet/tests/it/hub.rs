//! A management cluster.

use std::{fs, sync::LazyLock, time::Duration};

use image_swap_cluster::client;
use image_swap_testbed::{ControlPlane, Options, Parts, Wait};
use image_swap_testkit::custom_resource;
use kube::Client;
use serde_json::Value;
use tokio::{sync::watch, task::block_in_place};

/// The deadline of a wait, long enough for a machine that compiles at the same time.
const PATIENCE: Duration = Duration::from_mins(2);
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Namespace with workload clusters.
pub(crate) const NAMESPACE: &str = "clusters";
/// Namespace outside of the settings.
pub(crate) const OTHER: &str = "other";

/// Returns the parts for tests, which must be present.
fn parts() -> &'static Parts {
    static PARTS: LazyLock<Parts> = LazyLock::new(|| Parts::present().unwrap());
    &PARTS
}

/// A management cluster without objects of the chart.
pub(crate) struct Hub {
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
}

impl Hub {
    /// Starts a control plane with the namespaces [`NAMESPACE`] and [`OTHER`].
    pub(crate) async fn start() -> Self {
        let control_plane =
            block_in_place(|| ControlPlane::start(parts(), &Options::default()).unwrap());
        for namespace in [NAMESPACE, OTHER] {
            block_in_place(|| control_plane.create_namespace(namespace).unwrap());
        }
        let client = client(Some(control_plane.kubeconfig())).await.unwrap();
        Self { control_plane, client }
    }

    /// Returns a kubeconfig for the management cluster itself.
    pub(crate) fn kubeconfig(&self) -> String {
        fs::read_to_string(self.control_plane.kubeconfig()).unwrap()
    }

    /// Sends `body` to `path` and returns the response, which must be a success.
    pub(crate) fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let answer = block_in_place(|| self.control_plane.request(method, path, body).unwrap());
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Defines a custom resource with any fields, or replaces its versions. Returns when the API
    /// server serves all of them.
    pub(crate) fn define(&self, group: &str, kind: &str, versions: &[&str]) {
        let plural = format!("{}s", kind.to_lowercase());
        let mut definition = custom_resource(group, kind, versions);
        let path = format!("{DEFINITIONS}/{plural}.{group}");
        if let Some(present) = block_in_place(|| self.control_plane.get(&path).unwrap()) {
            definition["metadata"]["resourceVersion"] =
                present["metadata"]["resourceVersion"].clone();
            self.request("PUT", &path, Some(&definition));
        } else {
            self.request("POST", DEFINITIONS, Some(&definition));
        }
        for version in versions {
            let list = format!("/apis/{group}/{version}/{plural}");
            let served = || match self.control_plane.get(&list).ok().flatten() {
                Some(_) => Ok(()),
                None => Err(Wait::NotYet("not found".to_owned())),
            };
            block_in_place(|| image_swap_testbed::until(&list, PATIENCE, served)).unwrap();
        }
    }

    /// Creates a Secret with texts, or replaces it.
    pub(crate) fn put_secret(&self, namespace: &str, secret: &Value) {
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        let name = secret["metadata"]["name"].as_str().unwrap();
        let own = format!("{path}/{name}");
        if block_in_place(|| self.control_plane.get(&own).unwrap()).is_some() {
            self.request("PUT", &own, Some(secret));
        } else {
            self.request("POST", &path, Some(secret));
        }
    }
}

/// Waits until a value of `seen` satisfies `enough`, and returns it.
pub(crate) async fn until<T: Clone>(
    seen: &mut watch::Receiver<T>,
    enough: impl FnMut(&T) -> bool,
) -> T {
    let found = tokio::time::timeout(PATIENCE, seen.wait_for(enough)).await;
    found.unwrap().unwrap().clone()
}
