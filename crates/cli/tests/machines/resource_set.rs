//! A `ClusterResourceSet` brings the objects of a workload cluster to a real API server.

use std::{fs, path::PathBuf, time::Duration};

use image_swap_testbed::{ControlPlane, Wait, until};
use image_swap_text::base64;
use serde_json::Value;
use tempfile::TempDir;

use crate::management::{self, output, render};

/// The namespace of the `Cluster`. The fleet controller does not read it.
pub(crate) const NAMESPACE: &str = "gitops";
/// The `Cluster`, whose control plane is a real API server.
pub(crate) const CLUSTER: &str = "gitops";

const DEADLINE: Duration = Duration::from_mins(2);
const GUIDE: &str = include_str!("../../../../docs/guides/fleet-gitops.md");
const BUNDLE: &str = "/api/v1/namespaces/image-swap-fleet/configmaps/image-swap-fleet-bundle";
const SETS: &str = "/apis/addons.cluster.x-k8s.io/v1beta2/namespaces/gitops/clusterresourcesets";

/// Writes the objects of a workload cluster to a file in `folder`, as the guide describes. Returns
/// its path.
fn objects(plane: &ControlPlane, folder: &TempDir) -> PathBuf {
    let [bundle, objects] = ["bundle.yaml", "objects.yaml"].map(|it| folder.path().join(it));
    let map = plane.get(BUNDLE).unwrap().unwrap();
    fs::write(&bundle, map["data"]["bundle.yaml"].as_str().unwrap()).unwrap();
    let bundle = bundle.to_str().unwrap();
    fs::write(&objects, render(&["bundle", "--bundle", bundle, "--show-credentials"])).unwrap();
    objects
}

/// Creates the Secret and the `ClusterResourceSet` of the guide for the `Cluster`.
pub(crate) fn apply(plane: &ControlPlane) {
    let folder = TempDir::new().unwrap();
    let file = format!("--from-file={}", objects(plane, &folder).display());
    let arguments = ["create", "secret", "generic", "image-swap-objects", "--namespace", NAMESPACE];
    let kind = ["--type", "addons.cluster.x-k8s.io/resource-set"];
    output(plane.kubectl().args(arguments).args(kind).arg(file));
    let is_set = |it: &&str| it.contains("kind: ClusterResourceSet\n");
    let blocks = GUIDE.split("```yaml\n").filter_map(|it| it.split_once("```"));
    let set = blocks.map(|it| it.0).find(is_set).unwrap();
    management::apply(plane, &set.replace("namespace: clusters", "namespace: gitops"));
    let label = ["label", "cluster", CLUSTER, "image-swap=true", "--namespace", NAMESPACE];
    output(plane.kubectl().args(label));
}

/// Waits until Cluster API has applied all objects to `workload`, and checks the declaration there.
pub(crate) fn check(plane: &ControlPlane, workload: &ControlPlane) {
    let folder = TempDir::new().unwrap();
    let objects = objects(plane, &folder);
    until("the objects of the ClusterResourceSet", DEADLINE, || {
        let found = workload.kubectl().args(["get", "--filename"]).arg(&objects).output();
        let found = found.unwrap();
        if found.status.success() {
            return Ok(());
        }
        let set = plane.get(&format!("{SETS}/image-swap"))?.unwrap_or_default();
        let missing = String::from_utf8_lossy(&found.stderr).into_owned();
        Err(Wait::NotYet(format!("{missing}\n{}", set["status"])))
    })
    .unwrap();
    let declared = workload.get("/api/v1/namespaces/jet-system/secrets/registry-info").unwrap();
    let declared = declared.unwrap();
    let domain = declared["data"]["DOMAIN"].as_str().and_then(base64::decode);
    let example = fs::read_to_string(management::DECLARATION).unwrap();
    let domain = String::from_utf8(domain.unwrap()).unwrap();
    assert!(!domain.is_empty() && example.contains(&domain), "{domain}");
    until("the condition of the ClusterResourceSet", DEADLINE, || {
        let set = plane.get(&format!("{SETS}/image-swap"))?.unwrap_or_default();
        let mut conditions = set["status"]["conditions"].as_array().into_iter().flatten();
        let is_applied = |it: &Value| it["type"] == "ResourcesApplied" && it["status"] == "True";
        if conditions.any(is_applied) {
            Ok(())
        } else {
            Err(Wait::NotYet(set["status"].to_string()))
        }
    })
    .unwrap();
}
