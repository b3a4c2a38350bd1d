//! The documents about clusters that pull, compared with what exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    process::Command,
    time::Duration,
};

use image_swap_testbed::{ControlPlane, Wait, until};
use image_swap_text::base64;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::fleet::{CLUSTERS, PullFleet, apply};
use crate::{documented, test_cluster::eventually};

const PASSWORD: &str = "hunter2-hunter2";
/// Service account with the documented rights of an administrator.
const ENROLLER: &str = "enroller";
/// Secrets in the table that other tests find.
const OTHERS: [&str; 3] = ["N-declaration", "N-nodes", "image-swap-pull"];

/// Returns the Secrets of `plane` that contain the password, in the words of the table.
fn secrets_with_password(plane: &ControlPlane) -> BTreeSet<String> {
    let pair = base64::encode(format!("robot:{PASSWORD}"));
    let list = block_in_place(|| plane.get("/api/v1/secrets").unwrap().unwrap());
    let has_it = |secret: &&Value| {
        let data = secret["data"].as_object().into_iter().flat_map(|it| it.values());
        let mut values = data.map(|it| base64::decode(it.as_str().unwrap()).unwrap());
        values.any(|value| {
            let value = String::from_utf8_lossy(&value);
            value.contains(PASSWORD) || value.contains(&pair)
        })
    };
    let found = list["items"].as_array().unwrap().iter().filter(has_it);
    let name = |secret: &Value| {
        documented::secret_name(secret["metadata"]["name"].as_str().unwrap(), CLUSTERS)
    };
    found.map(name).collect()
}

/// Asserts that docs/security.md lists the Secrets with the credential on both clusters, and no
/// other one.
pub(super) async fn secrets_are_listed(fleet: &PullFleet) {
    let beside = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": CLUSTERS },
        "stringData": BTreeMap::from(image_swap_testkit::registry_keys("beside")),
    });
    apply(&fleet.planes.hub, &beside.to_string());
    fleet.declared(1, "beside").await;
    let own = "/api/v1/namespaces/image-swap-fleet/secrets/image-swap-fleet-declaration-clusters";
    eventually(|| block_in_place(|| fleet.planes.hub.get(own).unwrap())).await;
    let mut found = secrets_with_password(&fleet.planes.hub);
    found.extend(secrets_with_password(fleet.workload()));
    found.extend(OTHERS.map(str::to_owned));
    assert_eq!(found, documented::secrets());
}

/// Returns the rule for a row of the table: the `verbs` on the resources `what` with the name `which`.
fn rule(what: &str, which: &str, verbs: &str) -> Value {
    let resources = what.split(", ").map(|it| it.split_once('.').unwrap_or((it, "")));
    let (names, groups): (Vec<&str>, BTreeSet<&str>) = resources.unzip();
    let mut rule = json!({
        "apiGroups": groups, "resources": names,
        "verbs": verbs.split(", ").collect::<Vec<_>>(),
    });
    if which != "any" {
        let name = which.strip_prefix("N-").map(|rest| format!("image-swap-{rest}"));
        let name = name.unwrap_or_else(|| which.to_owned()).replace("NAMESPACE", CLUSTERS);
        rule["resourceNames"] = json!([name]);
    }
    rule
}

/// Returns the rights of docs/security.md as roles and bindings of [`ENROLLER`].
fn roles() -> Vec<Value> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let mut objects = Vec::new();
    let rows = documented::table("security.md", "### Administrators who enroll");
    for (number, row) in rows.iter().enumerate() {
        let [place, what, which, verbs, _] = &row[..] else { panic!("unexpected row {row:?}") };
        let (kind, namespace) = match &**place {
            "everywhere" => ("ClusterRole", None),
            "the release's namespace" => ("Role", Some("image-swap")),
            "the fleet controller's namespace" => ("Role", Some("image-swap-fleet")),
            "fleet.namespaces" => ("Role", Some(CLUSTERS)),
            other => panic!("unexpected place {other}"),
        };
        let name = format!("{ENROLLER}-{number}");
        let mut metadata = json!({ "name": &name });
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        objects.push(json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": &metadata,
            "rules": [rule(what, which, verbs)],
        }));
        objects.push(json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": format!("{kind}Binding"),
            "metadata": &metadata,
            "roleRef": { "apiGroup": RBAC, "kind": kind, "name": &name },
            "subjects": [{ "kind": "ServiceAccount", "name": ENROLLER, "namespace": CLUSTERS }],
        }));
    }
    objects
}

/// Runs `fleet enroll` and `fleet revoke` with the rights that docs/security.md lists.
pub(super) fn rights_suffice(fleet: &PullFleet) {
    let hub = &fleet.planes.hub;
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": ENROLLER, "namespace": CLUSTERS },
    });
    let objects: Vec<Value> = roles().into_iter().chain([account]).collect();
    apply(hub, &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
    let token = block_in_place(|| hub.issue_token(CLUSTERS, ENROLLER).unwrap());
    let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
    kubeconfig.write_all(hub.token_to_kubeconfig(&token).as_bytes()).unwrap();
    for verb in ["enroll", "revoke"] {
        let run = || {
            let mut command = Command::new("timeout");
            command.args(["60", env!("CARGO_BIN_EXE_image-swap"), "fleet", verb, "second"]);
            command.args(["--namespace", CLUSTERS, "--kubeconfig"]).arg(kubeconfig.path());
            let ran = command.output().unwrap();
            // The API server may not know the roles yet.
            let not_yet = || Wait::NotYet(String::from_utf8_lossy(&ran.stderr).into_owned());
            ran.status.success().then_some(()).ok_or_else(not_yet)
        };
        block_in_place(|| until(verb, Duration::from_mins(1), run)).unwrap();
    }
}

/// Ends the enrolment of the cluster `edge` by the documented command.
pub(super) fn enrolments_end(fleet: &PullFleet) {
    let uninstallation = documented::commands("fleet.md", "## Uninstallation");
    let unfolded = uninstallation.replace("\\\n", " ");
    let command = unfolded.lines().next().unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["kubectl", "delete"]);
    let kubectl = |words: &[&str]| {
        let mut kubectl = fleet.planes.hub.kubectl();
        let ran = block_in_place(|| kubectl.args(words).output().unwrap());
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    let deleted = kubectl(&words[1..]);
    assert_eq!(deleted.lines().count(), 7, "{deleted}");
    assert!(deleted.starts_with("serviceaccount \"image-swap-pull-edge\" deleted"), "{deleted}");
    let left = kubectl(&[&["get", "--output=name"], &words[2..]].concat());
    assert_eq!(left, "");
}
