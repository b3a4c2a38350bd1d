//! Machine templates of Cluster API: the registered entries, and the answers of a replica.

use image_swap_cluster::{Settings, follow_presence};
use image_swap_core::{control::policy::FailurePolicy, labels::BOOTSTRAP_SECRET};
use image_swap_testkit::custom_resource;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::test_cluster::{TestCluster, eventually, settings, until};

/// Namespace with machine templates.
const CLUSTERS: &str = "clusters";
const SCRIPT: &str = "/etc/image-swap/bootstrap.sh";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Group, kind, plural and the path to the lists.
pub(crate) const KINDS: [(&str, &str, &str, &str); 3] = [
    (
        "controlplane.cluster.x-k8s.io",
        "KubeadmControlPlane",
        "kubeadmcontrolplanes",
        "/spec/kubeadmConfigSpec",
    ),
    (
        "bootstrap.cluster.x-k8s.io",
        "KubeadmConfigTemplate",
        "kubeadmconfigtemplates",
        "/spec/template/spec",
    ),
    ("bootstrap.cluster.x-k8s.io", "KubeadmConfig", "kubeadmconfigs", "/spec"),
];

/// Defines the kinds with any fields, and waits until the API server serves them.
pub(crate) async fn define(cluster: &TestCluster) {
    for (group, kind, plural, _) in KINDS {
        let definition = custom_resource(group, kind, &["v1beta2"]);
        cluster.request("POST", DEFINITIONS, Some(&definition));
        let list = format!("/apis/{group}/v1beta2/{plural}");
        let served = || block_in_place(|| cluster.control_plane.get(&list).ok().flatten());
        eventually(served).await;
    }
}

/// Returns the collection of the kind `index` in `namespace`.
pub(crate) fn collection(index: usize, namespace: &str) -> String {
    let (group, _, plural, _) = KINDS[index];
    format!("/apis/{group}/v1beta2/namespaces/{namespace}/{plural}")
}

/// Returns a labelled object of the kind `index`, with the lists `files` and `commands`.
pub(crate) fn template(index: usize, name: &str, files: &Value, commands: &Value) -> Value {
    let (group, kind, _, fields) = KINDS[index];
    let lists = json!({ "files": files, "preKubeadmCommands": commands });
    let keys: Vec<&str> = fields.split('/').skip(1).collect();
    let mut object = keys.into_iter().rev().fold(lists, |inner, key| json!({ key: inner }));
    object["apiVersion"] = format!("{group}/v1beta2").into();
    object["kind"] = kind.into();
    object["metadata"] =
        json!({ "name": name, "labels": { "image-swap.io/bootstrap": "enabled" } });
    object
}

/// Returns the number of the script's files and commands in `object` of the kind `index`.
fn scripts(index: usize, object: &Value) -> (usize, usize) {
    let list = |name: &str| {
        let list = object.pointer(&format!("{}/{name}", KINDS[index].3));
        list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
    };
    let files = list("files").iter().filter(|it| it["path"] == SCRIPT).count();
    let runs = |it: &&Value| it.as_str().is_some_and(|command| command.contains(SCRIPT));
    (files, list("preKubeadmCommands").iter().filter(runs).count())
}

/// Returns a cluster with a controller, whose templates in [`CLUSTERS`] are reviewed.
async fn set() -> TestCluster {
    let cluster = TestCluster::set().await;
    for namespace in [CLUSTERS, "other"] {
        cluster.control_plane.create_namespace(namespace).unwrap();
    }
    define(&cluster).await;
    cluster
}

/// Creates or replaces an object without success. Returns the message of the API server.
fn refused(cluster: &TestCluster, method: &str, path: &str, body: &Value) -> Option<String> {
    let answer =
        block_in_place(|| cluster.control_plane.request(method, path, Some(body)).unwrap());
    (answer.status >= 300).then_some(answer.body)
}

// guarantee: 4d
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn new_templates_get_the_script_and_keep_it() {
    let cluster = set().await;
    let settings = Settings { template_namespaces: vec![CLUSTERS.into()], ..settings() };
    let mut controller = cluster.controller(settings, "one");
    let (replica, mut following) = cluster.replica().await;
    let (client, templates) = (cluster.client.clone(), replica.templates());
    following.spawn(async move {
        let take = |is_present| templates.set(CLUSTERS, is_present);
        follow_presence(&client, CLUSTERS, BOOTSTRAP_SECRET, take).await;
    });
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;

    // Without the Secret a machine could not join, so nothing is added.
    let (files, commands) = (json!([{ "path": "/a", "content": "a" }]), json!(["a"]));
    let new = template(0, "new", &files, &commands);
    let dry_run = format!("{}?dryRun=All", collection(0, CLUSTERS));
    assert_eq!(scripts(0, &cluster.request("POST", &dry_run, Some(&new))), (0, 0));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": BOOTSTRAP_SECRET },
        "stringData": { "bootstrap.sh": "exit 0\n" },
    });
    let secrets = format!("/api/v1/namespaces/{CLUSTERS}/secrets");
    cluster.request("POST", &secrets, Some(&secret));
    let has_script = || {
        let created = cluster.request("POST", &dry_run, Some(&new));
        (scripts(0, &created) == (1, 1)).then_some(())
    };
    eventually(has_script).await;

    for index in 0..KINDS.len() {
        let path = collection(index, CLUSTERS);
        let new = template(index, "new", &files, &commands);
        let created = cluster.request("POST", &path, Some(&new));
        assert_eq!(scripts(index, &created), (1, 1), "{created}");
        let own = format!("{path}/new");
        // A tool of GitOps replaces the object by that of its repository.
        let mut replaced = new.clone();
        replaced["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
        let replaced = cluster.request("PUT", &own, Some(&replaced));
        assert_eq!(replaced["spec"], created["spec"]);
        // The same object: no update at all.
        let version = &created["metadata"]["resourceVersion"];
        assert_eq!(replaced["metadata"]["resourceVersion"], *version);
        let body = json!({ "metadata": { "annotations": { "a": "b" } } });
        let patched = cluster.request("PATCH", &own, Some(&body));
        assert_eq!(patched["spec"], created["spec"]);

        // An administrator removes the script.
        let mut disabled = new.clone();
        disabled["metadata"]["labels"]["image-swap.io/bootstrap"] = "disabled".into();
        disabled["metadata"]["resourceVersion"] = patched["metadata"]["resourceVersion"].clone();
        let dry_run = format!("{own}?dryRun=All");
        let disabled = cluster.request("PUT", &dry_run, Some(&disabled));
        assert_eq!(scripts(index, &disabled), (0, 0), "{disabled}");

        // Other objects stay as they are.
        let mut owned = template(index, "owned", &files, &commands);
        owned["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Cluster", "name": "a", "uid": "u" }]);
        let dry_run = format!("{path}?dryRun=All");
        let owned = cluster.request("POST", &dry_run, Some(&owned));
        assert_eq!(scripts(index, &owned), (0, 0));
        let elsewhere = format!("{}?dryRun=All", collection(index, "other"));
        assert_eq!(scripts(index, &cluster.request("POST", &elsewhere, Some(&new))), (0, 0));
    }

    documented_command_lists_templates(&cluster);
    replica.stop();
    only_losing_updates_are_refused(&cluster, &files, &commands);
}

/// Checks that the command of docs/bootstrap.md lists the objects with the script.
fn documented_command_lists_templates(cluster: &TestCluster) {
    let all = "kubeadmcontrolplanes,kubeadmconfigtemplates,kubeadmconfigs";
    let of_secret = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} \
                     {..contentFrom.secret.name}{\"\\n\"}{end}";
    let mut kubectl = cluster.control_plane.kubectl();
    kubectl.args(["get", all, "--all-namespaces", "--output", of_secret]);
    let listed = block_in_place(|| kubectl.output()).unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for (_, kind, ..) in KINDS {
        let line = format!("{kind} {CLUSTERS}/new {BOOTSTRAP_SECRET}");
        assert!(listed.lines().any(|it| it == line), "{listed}");
    }
}

/// Checks the API server without a replica: it refuses only updates that would lose the script.
fn only_losing_updates_are_refused(cluster: &TestCluster, files: &Value, commands: &Value) {
    for (index, (_, kind, ..)) in KINDS.iter().enumerate() {
        let path = collection(index, CLUSTERS);
        let own = format!("{path}/new");
        let stored = cluster.get(&own).unwrap();
        let mut lost = template(index, "new", files, commands);
        lost["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
        let message = refused(cluster, "PUT", &own, &lost).unwrap();
        assert!(message.contains("bootstrap-updates.image-swap.io"), "{message}");
        // A replica would not put the script back into these either.
        let dry_run = format!("{own}?dryRun=All");
        let mut disabled = lost.clone();
        disabled["metadata"]["labels"]["image-swap.io/bootstrap"] = "disabled".into();
        assert_eq!(refused(cluster, "PUT", &dry_run, &disabled), None);
        let is_config = *kind == "KubeadmConfig";
        for owner in ["Machine", "KubeadmControlPlane"] {
            let mut owned = lost.clone();
            owned["metadata"]["ownerReferences"] =
                json!([{ "apiVersion": "v1", "kind": owner, "name": "a", "uid": "u" }]);
            let is_refused = refused(cluster, "PUT", &dry_run, &owned).is_some();
            assert_eq!(is_refused, !is_config, "{owner}");
        }
        let mut kept = stored.clone();
        kept["metadata"]["annotations"] = json!({ "c": "d" });
        assert_eq!(refused(cluster, "PUT", &own, &kept), None);
        let other = template(index, "other", files, commands);
        let created = cluster.request("POST", &path, Some(&other));
        assert_eq!(scripts(index, &created), (0, 0));
        let mut changed = created;
        changed["metadata"]["annotations"] = json!({ "c": "d" });
        assert_eq!(refused(cluster, "PUT", &format!("{path}/other"), &changed), None);
        assert_eq!(cluster.request("DELETE", &own, None)["status"], "Success");
    }
}
