//! The Secrets with which nodes pull swapped images.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_cluster::deregister;
use image_swap_core::control::policy::FailurePolicy;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::test_cluster::{
    ANCHORS, JET_SECRETS, REGISTRATIONS, Running, SECRETS, TestCluster, eventually, keys, pod,
    release, settings, until,
};

const SECRET: &str = "/api/v1/namespaces/apps/secrets/image-swap-pull";
const PODS: &str = "/api/v1/namespaces/apps/pods";
const HOST: &str = "h.example.org";

const SWAPPED: &str = "h.example.org/airgap/docker.io/library/nginx";

/// Returns a pod as an admission replica changes it.
fn swapped_pod() -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"] =
        json!({ "image-swap.io/original-images": r#"{"main":"nginx"}"# });
    pod["spec"]["containers"][0]["image"] = SWAPPED.into();
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "image-swap-pull" }]);
    pod
}

fn secret_in(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/image-swap-pull")
}

fn pods_in(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}

/// Creates a namespace with `label`, if any.
fn mk_namespace(cluster: &TestCluster, name: &str, label: Option<(&str, &str)>) {
    cluster.control_plane.create_namespace(name).unwrap();
    if let Some((key, value)) = label {
        let labels = json!({ "metadata": { "labels": { key: value } } });
        cluster.request("PATCH", &format!("/api/v1/namespaces/{name}"), Some(&labels));
    }
}

/// Returns an owner reference as former versions wrote it.
fn anchor(cluster: &TestCluster) -> Value {
    let anchor = cluster.get(&format!("{ANCHORS}/image-swap")).unwrap();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "name": "image-swap", "uid": anchor["metadata"]["uid"],
    })
}

/// Returns the credentials that nodes read from a pull Secret.
fn auths(secret: &Value) -> Value {
    let data = secret["data"][".dockerconfigjson"].as_str().unwrap();
    let config: Value = serde_json::from_slice(&STANDARD.decode(data).unwrap()).unwrap();
    config["auths"].clone()
}

fn password(secret: &Value) -> String {
    auths(secret)["h.example.org/airgap"]["password"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn swapped_pod_refers_to_the_pull_secret() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.pull_secret.is_some())).await;

    // The Secrets of the service account stay.
    let account = "/api/v1/namespaces/apps/serviceaccounts/default";
    let foreign = json!({ "imagePullSecrets": [{ "name": "foreign" }] });
    cluster.request("PATCH", account, Some(&foreign));
    let stored = cluster.request("POST", PODS, Some(&pod()));
    assert_eq!(
        stored["spec"]["imagePullSecrets"],
        json!([{ "name": "foreign" }, { "name": "image-swap-pull" }])
    );
    let secret = eventually(|| cluster.get(SECRET)).await;
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    assert!(secret["metadata"]["ownerReferences"].is_null(), "it outlives the release");
    let credential = json!({
        "username": "robot", "password": "s3cret-of-the-robot",
        "auth": STANDARD.encode("robot:s3cret-of-the-robot"),
    });
    assert_eq!(auths(&secret), json!({ "h.example.org/airgap": credential }));

    // The list of a stored pod is immutable, so an update does not change it.
    let path = format!("{PODS}/{}", stored["metadata"]["name"].as_str().unwrap());
    let image = json!({ "spec": { "containers": [{ "name": "main", "image": "redis" }] } });
    let updated = cluster.request("PATCH", &path, Some(&image));
    assert_eq!(
        updated["spec"]["containers"][0]["image"],
        "h.example.org/airgap/docker.io/library/redis"
    );
    assert_eq!(updated["spec"]["imagePullSecrets"], stored["spec"]["imagePullSecrets"]);

    // A namespace without a swapped pod has no pull Secret.
    until(&mut controller.report, |it| it.pull_secrets.namespaces == 1).await;
    assert!(cluster.get(&format!("{SECRETS}/image-swap-pull")).is_none());
    let status = cluster.get("/api/v1/namespaces/image-swap-system/configmaps/image-swap-status");
    assert!(!status.unwrap().to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn pull_secret_is_kept_current_and_removed() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let mut declared = keys(HOST);
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    let first = cluster.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET)).await;

    // A new password.
    declared.insert("PASSWORD", "rotated".into());
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    eventually(|| cluster.get(SECRET).filter(|it| password(it) == "rotated")).await;

    // Another writer changes or deletes the Secret.
    let empty = json!({ ".dockerconfigjson": STANDARD.encode(r#"{"auths":{}}"#) });
    cluster.request("PATCH", SECRET, Some(&json!({ "data": empty })));
    eventually(|| cluster.get(SECRET).filter(|it| it["data"] != empty)).await;
    let owned = json!({ "metadata": { "ownerReferences": [anchor(&cluster)] } });
    cluster.request("PATCH", SECRET, Some(&owned));
    eventually(|| cluster.get(SECRET).filter(|it| it["metadata"]["ownerReferences"].is_null()))
        .await;
    cluster.request("DELETE", SECRET, None);
    eventually(|| cluster.get(SECRET)).await;
    // An immutable Secret cannot be patched, and is created again.
    cluster.request("PATCH", SECRET, Some(&json!({ "immutable": true })));
    declared.insert("PASSWORD", "again".into());
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    eventually(|| cluster.get(SECRET).filter(|it| password(it) == "again")).await;

    // After the last swapped pod, the Secret is deleted too.
    let second = cluster.request("POST", PODS, Some(&swapped_pod()));
    cluster.kill(PODS, &first);
    cluster.kill(PODS, &second);
    eventually(|| cluster.get(SECRET).is_none().then_some(())).await;

    // The declaration loses its credential while a new pod exists: the Secret stays for the pod.
    mk_namespace(&cluster, "more", None);
    let first = cluster.request("POST", PODS, Some(&swapped_pod()));
    let second = cluster.request("POST", &pods_in("more"), Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET).and(cluster.get(&secret_in("more")))).await;
    declared.remove("USERNAME");
    declared.remove("PASSWORD");
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    until(&mut controller.report, |it| !it.pull_secrets.kept).await;
    cluster.kill(&pods_in("more"), &second);
    eventually(|| cluster.get(&secret_in("more")).is_none().then_some(())).await;
    assert!(cluster.get(SECRET).is_some(), "a living pod names it");
    cluster.kill(PODS, &first);
    eventually(|| cluster.get(SECRET).is_none().then_some(())).await;
}

/// Starts a cluster in which two namespaces have a pull Secret and a pod each. Returns the
/// pods, the one in `apps` first.
async fn stage_with_secrets() -> (TestCluster, Running, Value, Value) {
    let cluster = TestCluster::set().await;
    mk_namespace(&cluster, "more", None);
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    let living = cluster.request("POST", PODS, Some(&swapped_pod()));
    let ended = cluster.request("POST", &pods_in("more"), Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET).and(cluster.get(&secret_in("more")))).await;
    (cluster, controller, living, ended)
}

/// Ends a pod of the namespace `more`.
fn end(cluster: &TestCluster, pod: &Value, phase: &str) {
    let path = format!("{}/{}/status", pods_in("more"), pod["metadata"]["name"].as_str().unwrap());
    cluster.request("PATCH", &path, Some(&json!({ "status": { "phase": phase } })));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn turned_off_secrets_stay_for_living_pods() {
    let (cluster, controller, living, ended) = stage_with_secrets().await;
    drop(controller);
    // The Secret has the owner that a former version wrote.
    let owned = json!({ "metadata": { "ownerReferences": [anchor(&cluster)] } });
    cluster.request("PATCH", SECRET, Some(&owned));
    end(&cluster, &ended, "Succeeded");

    let mut off = settings();
    off.pull_secrets = false;
    let _controller = cluster.controller(off, "two");
    eventually(|| cluster.get(&secret_in("more")).is_none().then_some(())).await;
    let kept =
        eventually(|| cluster.get(SECRET).filter(|it| it["metadata"]["ownerReferences"].is_null()))
            .await;
    assert_eq!(password(&kept), "s3cret-of-the-robot");
    cluster.kill(PODS, &living);
    eventually(|| cluster.get(SECRET).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn release_that_leaves_keeps_what_pods_need() {
    let (cluster, controller, living, ended) = stage_with_secrets().await;
    end(&cluster, &ended, "Failed");
    let before = cluster.get(SECRET).unwrap();

    deregister(&cluster.client, &release()).await.unwrap();
    assert!(cluster.get(&secret_in("more")).is_none(), "no pod needs it");
    let kept = cluster.get(SECRET).unwrap();
    assert_eq!(kept["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(kept["data"], before["data"]);
    let metadata = &kept["metadata"];
    assert_eq!(metadata["annotations"]["image-swap.io/kept"], "true");
    assert_eq!(metadata["ownerReferences"].as_array().unwrap().len(), 1);
    assert_eq!(metadata["ownerReferences"][0]["kind"], "Pod");
    assert_eq!(metadata["ownerReferences"][0]["uid"], living["metadata"]["uid"]);
    drop(controller);

    // A release of another name takes the Secret over.
    let mut next = settings();
    next.release.name = "other-image-swap".into();
    let anchor = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "other-image-swap" },
    });
    cluster.request("POST", ANCHORS, Some(&anchor));
    let mut declared = keys(HOST);
    declared.insert("PASSWORD", "rotated".into());
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    let _controller = cluster.controller(next, "two");
    let adopted = eventually(|| cluster.get(SECRET).filter(|it| password(it) == "rotated")).await;
    let metadata = &adopted["metadata"];
    assert_eq!(metadata["labels"]["image-swap.io/managed-by"], "other-image-swap");
    assert!(metadata["ownerReferences"].is_null() && metadata["annotations"].is_null());
}

// guarantee: 6a
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn forged_records_get_no_credential() {
    let cluster = TestCluster::set().await;
    let disabled = Some(("k8s.twr.io/imageswap", "disabled"));
    for (name, label) in
        [("opted-out", disabled), ("filled", disabled), ("later", None), ("own", None)]
    {
        mk_namespace(&cluster, name, label);
    }
    // A Secret with the label of image-swap waits for a credential.
    let empty = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {
            "name": "image-swap-pull",
            "labels": { "image-swap.io/managed-by": "image-swap" },
            "annotations": { "image-swap.io/kept": "true" },
        },
        "data": { ".dockerconfigjson": STANDARD.encode(r#"{"auths":{}}"#) },
    });
    cluster.request("POST", "/api/v1/namespaces/filled/secrets", Some(&empty));
    for namespace in ["opted-out", "filled"] {
        cluster.request("POST", &pods_in(namespace), Some(&swapped_pod()));
    }
    let mut annotated = pod();
    annotated["metadata"]["annotations"] = json!({ "image-swap.io/original-images": "anything" });
    annotated["spec"]["imagePullSecrets"] = json!([{ "name": "image-swap-pull" }]);
    cluster.request("POST", &pods_in("later"), Some(&annotated));
    let mut own = swapped_pod();
    own["metadata"]["labels"] = json!({ "k8s.twr.io/imageswap": "disabled" });
    cluster.request("POST", &pods_in("own"), Some(&own));

    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let mut declared = keys(HOST);
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    cluster.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET)).await;
    until(&mut controller.report, |it| it.pull_secrets.namespaces == 1).await;
    for namespace in ["opted-out", "later", "own"] {
        assert!(cluster.get(&secret_in(namespace)).is_none(), "{namespace}");
    }
    let filled = || cluster.get(&secret_in("filled")).unwrap();
    assert_eq!(filled()["data"], empty["data"]);

    // A namespace that opts out later keeps its Secret, which is not updated.
    let label =
        |value: Value| json!({ "metadata": { "labels": { "k8s.twr.io/imageswap": value } } });
    mk_namespace(&cluster, "witness", None);
    cluster.request("POST", &pods_in("witness"), Some(&swapped_pod()));
    eventually(|| cluster.get(&secret_in("witness"))).await;
    cluster.request("PATCH", "/api/v1/namespaces/apps", Some(&label("disabled".into())));
    until(&mut controller.report, |it| it.pull_secrets.namespaces >= 2).await;
    declared.insert("PASSWORD", "rotated".into());
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    let rotated =
        |namespace: &str| cluster.get(&secret_in(namespace)).filter(|it| password(it) == "rotated");
    eventually(|| rotated("witness")).await;
    assert_eq!(password(&cluster.get(SECRET).unwrap()), "s3cret-of-the-robot");
    cluster.request("PATCH", "/api/v1/namespaces/apps", Some(&label(Value::Null)));
    eventually(|| rotated("apps")).await;
    assert_eq!(filled()["data"], empty["data"]);
}

// guarantee: 6a
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn selectors_that_others_add_limit_the_credential() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    let mut registration = cluster.registration().unwrap();
    for entry in registration["webhooks"].as_array_mut().unwrap() {
        let exists = json!({ "key": "control-plane", "operator": "DoesNotExist" });
        let selector = &mut entry["namespaceSelector"]["matchExpressions"];
        match selector.as_array_mut() {
            Some(expressions) => expressions.push(exists),
            None => *selector = json!([exists]),
        }
    }
    let path = format!("{REGISTRATIONS}/image-swap-admission");
    cluster.request("PATCH", &path, Some(&json!({ "webhooks": registration["webhooks"] })));
    mk_namespace(&cluster, "plane", Some(("control-plane", "true")));
    cluster.request("POST", &pods_in("plane"), Some(&swapped_pod()));
    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    // A replica without rules would remove the record of a pod that it does not swap.
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    cluster.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET)).await;
    until(&mut controller.report, |it| it.pull_secrets.namespaces == 1).await;
    assert!(cluster.get(&secret_in("plane")).is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn another_writer_does_not_drive_writes() {
    const CHANGES: u64 = 200;
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    cluster.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET)).await;
    let began = std::time::Instant::now();
    for change in 0..CHANGES {
        let data = json!({ ".dockerconfigjson": STANDARD.encode(format!(r#"{{"n":{change}}}"#)) });
        cluster.request("PATCH", SECRET, Some(&json!({ "data": data })));
    }
    // Another namespace still gets its Secret.
    mk_namespace(&cluster, "more", None);
    cluster.request("POST", &pods_in("more"), Some(&swapped_pod()));
    eventually(|| cluster.get(&secret_in("more"))).await;
    let allowed = 1 + 5 + began.elapsed().as_secs() / 10 + 1;
    let report = until(&mut controller.report, |it| it.pull_secrets.writes > 1).await;
    assert!(report.pull_secrets.writes <= allowed, "{}", report.pull_secrets.writes);
    // The Secret has the right content in the end.
    eventually(|| cluster.get(SECRET).filter(|it| auths(it).is_object())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn refused_secret_names_namespace_and_reason() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    // The controller that counts quotas does not run here, so the test sets the status.
    let quotas = "/api/v1/namespaces/apps/resourcequotas";
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "q" },
        "spec": { "hard": { "secrets": "0" } },
    });
    cluster.request("POST", quotas, Some(&quota));
    let status = json!({ "status": { "hard": { "secrets": "0" }, "used": { "secrets": "0" } } });
    cluster.request("PATCH", &format!("{quotas}/q/status"), Some(&status));
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "any" } });
    eventually(|| {
        let path = "/api/v1/namespaces/apps/secrets?dryRun=All";
        cluster.control_plane.create(path, &secret).is_err().then_some(())
    })
    .await;

    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    cluster.request("POST", PODS, Some(&swapped_pod()));
    let report = until(&mut controller.report, |it| it.pull_secrets.failed == 1).await;
    let failure = &report.pull_secrets.failures[0];
    assert_eq!(failure.namespace, "apps");
    assert!(failure.reason.contains("exceeded quota: q"), "{}", failure.reason);
    let events = eventually(|| {
        Some(cluster.events("apps", "PullSecretNotWritten")).filter(|events| !events.is_empty())
    })
    .await;
    assert!(events[0]["note"].as_str().unwrap().contains("exceeded quota: q"), "{events:?}");
    assert_eq!(events[0]["regarding"]["name"], "image-swap-pull");

    cluster.request("DELETE", &format!("{quotas}/q"), None);
    eventually(|| cluster.get(SECRET)).await;
    until(&mut controller.report, |it| it.pull_secrets.failed == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn foreign_secret_is_never_changed() {
    let cluster = TestCluster::set().await;
    let foreign = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "image-swap-pull" },
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": STANDARD.encode(r#"{"auths":{}}"#) },
    });
    let before = cluster.request("POST", "/api/v1/namespaces/apps/secrets", Some(&foreign));
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    let there = cluster.request("POST", PODS, Some(&swapped_pod()));
    let report = until(&mut controller.report, |it| it.pull_secrets.foreign_count == 1).await;
    assert_eq!(report.pull_secrets.foreign, ["apps"]);
    let events = cluster.events("apps", "PullSecretNotOurs");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["regarding"]["name"], "image-swap-pull");
    assert_eq!(events[0]["regarding"]["uid"], before["metadata"]["uid"]);
    // The Secret also stays after the last pod, and without a declaration.
    cluster.kill(PODS, &there);
    until(&mut controller.report, |it| it.pull_secrets.foreign_count == 0).await;
    cluster.request("DELETE", &format!("{JET_SECRETS}/registry-info"), None);
    until(&mut controller.report, |it| !it.pull_secrets.kept).await;
    assert_eq!(cluster.get(SECRET).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn new_controller_reads_changes_since_the_last() {
    let cluster = TestCluster::set().await;
    cluster.control_plane.create_namespace("more").unwrap();
    let more = "/api/v1/namespaces/more";
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys(HOST));
    let gone = cluster.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| cluster.get(SECRET)).await;
    drop(controller);
    cluster.kill(PODS, &gone);
    cluster.request("POST", &format!("{more}/pods"), Some(&swapped_pod()));
    let _controller = cluster.controller(settings(), "two");
    eventually(|| cluster.get(SECRET).is_none().then_some(())).await;
    eventually(|| cluster.get(&format!("{more}/secrets/image-swap-pull"))).await;

    // A leaving release writes no Secret any more.
    deregister(&cluster.client, &release()).await.unwrap();
    eventually(|| cluster.registration().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn passwords_rotate_under_load_and_nothing_is_lost() {
    const ROTATIONS: usize = 20;
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (replica, _following) = cluster.replica().await;
    cluster.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == Some(FailurePolicy::Fail)).await;
    let mut declared = keys(HOST);
    cluster.declare(JET_SECRETS, "registry-info", &declared);
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.pull_secret.is_some())).await;

    // Pods are created all the time. Under `Fail` a pod that no replica reviews is refused.
    let pods: kube::Api<Pod> = kube::Api::namespaced(cluster.client.clone(), "apps");
    let (stop, stopped) = watch::channel(false);
    let load = tokio::spawn(async move {
        let pod: Pod = serde_json::from_value(pod()).unwrap();
        let mut count = 0;
        while !*stopped.borrow() {
            let stored = pods.create(&kube::api::PostParams::default(), &pod).await.unwrap();
            let spec = stored.spec.unwrap();
            let image = spec.containers[0].image.as_deref();
            assert_eq!(image, Some("h.example.org/airgap/docker.io/library/nginx"));
            assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "image-swap-pull");
            count += 1;
        }
        count
    });
    eventually(|| cluster.get(SECRET)).await;
    for rotation in 0..ROTATIONS {
        let next = format!("rotated-{rotation}");
        declared.insert("PASSWORD", next.clone());
        cluster.declare(JET_SECRETS, "registry-info", &declared);
        eventually(|| {
            // The Secret is changed in place, so that kubelets always find one.
            let found = password(&cluster.get(SECRET).unwrap());
            (found == next).then_some(())
        })
        .await;
    }
    stop.send_replace(true);
    let count: usize = load.await.unwrap();
    assert!(count >= ROTATIONS, "{count} pods");
    let stored = cluster.get(PODS).unwrap();
    assert_eq!(stored["items"].as_array().unwrap().len(), count);
}
