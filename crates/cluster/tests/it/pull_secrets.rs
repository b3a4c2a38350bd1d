//! The Secrets with which nodes pull swapped images.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_cluster::leave;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::stage::{JET_SECRETS, SECRETS, Stage, eventually, keys, pod, release, settings, until};

const SECRET: &str = "/api/v1/namespaces/apps/secrets/image-swap-pull";
const PODS: &str = "/api/v1/namespaces/apps/pods";
const HOST: &str = "h.example.org";

/// A pod as an admission replica leaves it.
fn swapped_pod() -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({ "image-swap.io/original-images": "{}" });
    pod
}

/// What nodes read in a pull Secret.
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
async fn a_swapped_pod_names_the_secret_beside_its_own_and_its_namespace_gets_it() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == "Fail").await;
    stage.declare(JET_SECRETS, "registry-info", &keys(HOST));
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.pull_secret.is_some())).await;

    // The service account's Secrets are the pod's own: they stay.
    let account = "/api/v1/namespaces/apps/serviceaccounts/default";
    let theirs = json!({ "imagePullSecrets": [{ "name": "theirs" }] });
    stage.request("PATCH", account, Some(&theirs));
    let stored = stage.request("POST", PODS, Some(&pod()));
    assert_eq!(
        stored["spec"]["imagePullSecrets"],
        json!([{ "name": "theirs" }, { "name": "image-swap-pull" }])
    );
    let secret = eventually(|| stage.get(SECRET)).await;
    assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
    assert_eq!(secret["metadata"]["ownerReferences"][0]["kind"], "ClusterRole");
    let credential = json!({
        "username": "robot", "password": "s3cret-of-the-robot",
        "auth": STANDARD.encode("robot:s3cret-of-the-robot"),
    });
    assert_eq!(auths(&secret), json!({ "h.example.org/airgap": credential }));

    // An update changes no list: it is immutable.
    let path = format!("{PODS}/{}", stored["metadata"]["name"].as_str().unwrap());
    let image = json!({ "spec": { "containers": [{ "name": "main", "image": "redis" }] } });
    let updated = stage.request("PATCH", &path, Some(&image));
    assert_eq!(
        updated["spec"]["containers"][0]["image"],
        "h.example.org/airgap/docker.io/library/redis"
    );
    assert_eq!(updated["spec"]["imagePullSecrets"], stored["spec"]["imagePullSecrets"]);

    // A namespace without a swapped pod gets none.
    until(&mut controller.report, |it| it.pull_secrets.namespaces == 1).await;
    assert!(stage.get(&format!("{SECRETS}/image-swap-pull")).is_none());
    let status = stage.get("/api/v1/namespaces/image-swap-system/configmaps/image-swap-status");
    assert!(!status.unwrap().to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn it_is_kept_current_and_removed_again() {
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    let mut declared = keys(HOST);
    stage.declare(JET_SECRETS, "registry-info", &declared);
    let first = stage.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| stage.get(SECRET)).await;

    // A new password.
    declared.insert("PASSWORD", "rotated".into());
    stage.declare(JET_SECRETS, "registry-info", &declared);
    eventually(|| stage.get(SECRET).filter(|it| password(it) == "rotated")).await;

    // Somebody changes it, or takes it away.
    let nobody = json!({ ".dockerconfigjson": STANDARD.encode(r#"{"auths":{}}"#) });
    stage.request("PATCH", SECRET, Some(&json!({ "data": nobody })));
    eventually(|| stage.get(SECRET).filter(|it| it["data"] != nobody)).await;
    stage.request("PATCH", SECRET, Some(&json!({ "metadata": { "ownerReferences": null } })));
    eventually(|| stage.get(SECRET).filter(|it| it["metadata"]["ownerReferences"].is_array()))
        .await;
    stage.request("DELETE", SECRET, None);
    eventually(|| stage.get(SECRET)).await;
    // No write mends that one: it is made anew.
    stage.request("PATCH", SECRET, Some(&json!({ "immutable": true })));
    declared.insert("PASSWORD", "again".into());
    stage.declare(JET_SECRETS, "registry-info", &declared);
    eventually(|| stage.get(SECRET).filter(|it| password(it) == "again")).await;

    // The last swapped pod goes, and a while later the Secret.
    let second = stage.request("POST", PODS, Some(&swapped_pod()));
    stage.kill(PODS, &first);
    stage.kill(PODS, &second);
    eventually(|| stage.get(SECRET).is_none().then_some(())).await;

    // A new one comes, and the credential goes.
    stage.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| stage.get(SECRET)).await;
    declared.remove("USERNAME");
    declared.remove("PASSWORD");
    stage.declare(JET_SECRETS, "registry-info", &declared);
    eventually(|| stage.get(SECRET).is_none().then_some(())).await;
    until(&mut controller.report, |it| !it.pull_secrets.kept).await;

    // Back again; then it is turned off.
    stage.declare(JET_SECRETS, "registry-info", &keys(HOST));
    eventually(|| stage.get(SECRET)).await;
    drop(controller);
    let mut off = settings();
    off.pull_secrets = false;
    let _controller = stage.controller(off, "two");
    eventually(|| stage.get(SECRET).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_secret_of_somebody_else_is_never_touched() {
    let stage = Stage::set().await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "image-swap-pull" },
        "type": "kubernetes.io/dockerconfigjson",
        "data": { ".dockerconfigjson": STANDARD.encode(r#"{"auths":{}}"#) },
    });
    let before = stage.request("POST", "/api/v1/namespaces/apps/secrets", Some(&theirs));
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    stage.declare(JET_SECRETS, "registry-info", &keys(HOST));
    let there = stage.request("POST", PODS, Some(&swapped_pod()));
    let report = until(&mut controller.report, |it| it.pull_secrets.foreign_count == 1).await;
    assert_eq!(report.pull_secrets.foreign, ["apps"]);
    let events = stage.events("apps", "PullSecretNotOurs");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["regarding"]["name"], "image-swap-pull");
    assert_eq!(events[0]["regarding"]["uid"], before["metadata"]["uid"]);
    // Nor when there is nothing to pull any more, or nobody to authenticate as.
    stage.kill(PODS, &there);
    until(&mut controller.report, |it| it.pull_secrets.foreign_count == 0).await;
    stage.request("DELETE", &format!("{JET_SECRETS}/registry-info"), None);
    until(&mut controller.report, |it| !it.pull_secrets.kept).await;
    assert_eq!(stage.get(SECRET).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn a_controller_that_begins_finds_what_changed_meanwhile() {
    let stage = Stage::set().await;
    stage.control_plane.create_namespace("more").unwrap();
    let more = "/api/v1/namespaces/more";
    let mut controller = stage.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    stage.declare(JET_SECRETS, "registry-info", &keys(HOST));
    let gone = stage.request("POST", PODS, Some(&swapped_pod()));
    eventually(|| stage.get(SECRET)).await;
    drop(controller);
    stage.kill(PODS, &gone);
    stage.request("POST", &format!("{more}/pods"), Some(&swapped_pod()));
    let _controller = stage.controller(settings(), "two");
    eventually(|| stage.get(SECRET).is_none().then_some(())).await;
    eventually(|| stage.get(&format!("{more}/secrets/image-swap-pull"))).await;

    // A release that leaves writes nothing more: what is there goes with its anchor.
    leave(&stage.client, &release()).await.unwrap();
    eventually(|| stage.registration().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn passwords_rotate_under_load_and_nothing_is_lost() {
    const ROTATIONS: usize = 20;
    let stage = Stage::set().await;
    let mut controller = stage.controller(settings(), "one");
    let (replica, _following) = stage.replica().await;
    stage.serve_at(replica.port());
    until(&mut controller.report, |it| it.policy.failure_policy == "Fail").await;
    let mut declared = keys(HOST);
    stage.declare(JET_SECRETS, "registry-info", &declared);
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| it.pull_secret.is_some())).await;

    // Pods come all the while; under `Fail` one that nobody reviews is refused.
    let pods: kube::Api<Pod> = kube::Api::namespaced(stage.client.clone(), "apps");
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
    eventually(|| stage.get(SECRET)).await;
    for rotation in 0..ROTATIONS {
        let next = format!("rotated-{rotation}");
        declared.insert("PASSWORD", next.clone());
        stage.declare(JET_SECRETS, "registry-info", &declared);
        eventually(|| {
            // It is changed in place: a pod that is about to be pulled finds one.
            let found = password(&stage.get(SECRET).unwrap());
            (found == next).then_some(())
        })
        .await;
    }
    stop.send_replace(true);
    let count: usize = load.await.unwrap();
    assert!(count >= ROTATIONS, "{count} pods");
    let stored = stage.get(PODS).unwrap();
    assert_eq!(stored["items"].as_array().unwrap().len(), count);
}
