//! A cluster that runs, or ran, upstream's program. Its objects are modelled on its
//! `deploy/install.yaml`, v1.5.2. Its pod only listens on a port, which shows whether it
//! is alive.

use std::fs;

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_VALUES};
use image_swap_testbed::{HelmWait, Wait, until};
use serde_json::json;

use crate::{NGINX, STAYS, assert_air_gap};

/// The namespace of upstream's program.
const NAMESPACE: &str = "imageswap-system";
/// Values for which a webhook without an endpoint is dead in a moment.
const SOON: [&str; 2] = [PALETTE_VALUES, "adoptAfter: 10s"];
/// Values that remove a dead webhook.
const ADOPT: [&str; 2] = [PALETTE_VALUES, "{adopt: true, adoptAfter: 10s}"];

const OBJECTS: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: imageswap}
---
apiVersion: v1
kind: Service
metadata: {name: imageswap, labels: {app: imageswap}}
spec:
  selector: {app: imageswap}
  ports: [{name: https, port: 443, targetPort: https, protocol: TCP}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: imageswap, labels: {app: imageswap}}
spec:
  selector: {matchLabels: {app: imageswap}}
  template:
    metadata: {labels: {app: imageswap}}
    spec:
      serviceAccountName: imageswap
      terminationGracePeriodSeconds: 0
      containers:
        - name: imageswap
          image: harbor.example.org/airgap-images/imageswap:v1.5.2
          ports: [{name: https, containerPort: 5000, protocol: TCP}]
          readinessProbe: {tcpSocket: {port: https}, periodSeconds: 1}
";

// guarantee: 4d
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn living_imageswap_is_respected_and_dead_one_adopted() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let palette = Install::default();
    publish(&cluster)?;
    cluster.control_plane.create_namespace(NAMESPACE)?;
    let before = cluster.objects()?;
    cluster.step("imageswap is installed, and lives");
    let objects = cluster.write("imageswap.yaml", OBJECTS)?;
    let file = objects.display().to_string();
    cluster.kubectl(&["apply", "--namespace", NAMESPACE, "--filename", &file])?;
    cluster.kubectl(&["rollout", "status", "deployment/imageswap", "--namespace", NAMESPACE])?;
    cluster.apply(&registration(NAMESPACE))?;

    cluster.step("Palette's command beside it: pods are only reported on");
    cluster.follow_palette()?;
    cluster.wait_ready(&palette)?;
    let foreign = wait_foreign(&cluster, "audit", &[true])?;
    assert!(foreign.contains("imageswap"), "{foreign}");
    assert_eq!(cluster.swapped("nginx:1.25")?, "nginx:1.25");

    cluster.step("it dies: pods are swapped, and its registration stays");
    cluster.upgrade(&Install::with(&SOON), HelmWait::Ready)?;
    wait_foreign(&cluster, "audit", &[true])?;
    cluster.kubectl(&["delete", "--namespace", NAMESPACE, "--filename", &file])?;
    wait_foreign(&cluster, "enforce", &[false])?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    let registered = ["get", "mutatingwebhookconfigurations", "--output=name"];
    assert!(cluster.kubectl(&registered)?.contains("imageswap-webhook"));

    cluster.step("adopt: true removes it");
    cluster.upgrade(&Install::with(&ADOPT), HelmWait::Ready)?;
    wait_foreign(&cluster, "enforce", &[])?;
    let left = cluster.kubectl(&registered)?;
    assert!(!left.contains("imageswap-webhook"), "{left}");
    cluster.uninstall(&palette)?;
    cluster.wait_nothing_left(&before, &STAYS)?;
    assert_air_gap(&cluster);
    Ok(())
}

/// A release of imageswap has Palette's name. Helm replaces its objects, and its
/// registration outlives it.
// guarantee: 4d
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn palette_command_replaces_a_release_of_imageswap() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let palette = Install::default();
    publish(&cluster)?;
    cluster.step("imageswap is a release of Palette's name");
    let chart = cluster.folder().join("imageswap-chart");
    fs::create_dir_all(chart.join("templates"))?;
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: image-swap\nversion: 0.0.1\n")?;
    fs::write(chart.join("templates/all.yaml"), OBJECTS)?;
    cluster.helm().upgrade_install("default", "image-swap", &chart, &[], HelmWait::Ready)?;
    cluster.apply(&registration("default"))?;

    cluster.step("Palette's command over it");
    let revision = cluster.follow_palette()?;
    assert_eq!((revision.number, revision.status.as_str()), (2, "deployed"));
    cluster.wait_ready(&palette)?;
    wait_foreign(&cluster, "enforce", &[false])?;
    cluster.wait_policy(&palette, "Fail")?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    let left = cluster.kubectl(&["get", "all", "--namespace=default", "--output=name"])?;
    assert!(!left.contains("/imageswap"), "{left}");

    cluster.step("a dead imageswap refuses pods of its namespaces; adopt: true ends that");
    cluster.kubectl(&["create", "namespace", "opted-in"])?;
    cluster.kubectl(&["label", "namespace", "opted-in", "k8s.twr.io/imageswap=enabled"])?;
    let image = "--output=jsonpath={.spec.containers[0].image}";
    let run =
        ["run", "web", "--namespace=opted-in", "--image=nginx:1.25", "--dry-run=server", image];
    until("a pod to be refused", DEADLINE, || match cluster.kubectl(&run) {
        Err(error) if error.to_string().contains("imageswap.webhook") => Ok(()),
        other => Err(Wait::NotYet(format!("{other:?}"))),
    })?;
    cluster.upgrade(&Install::with(&ADOPT), HelmWait::Ready)?;
    wait_foreign(&cluster, "enforce", &[])?;
    let stored = until("a pod to be stored", DEADLINE, || {
        cluster.kubectl(&run).map_err(|error| Wait::NotYet(error.to_string()))
    })?;
    assert_eq!(stored, NGINX);
    assert_air_gap(&cluster);
    Ok(())
}

/// Pushes the image of upstream's program.
fn publish(cluster: &HelmCluster) -> Result<()> {
    cluster.publish("imageswap", "v1.5.2", "imageswap", &["httpd", "-f", "-p", "5000"]).map(drop)
}

/// Returns the registration that upstream's init container makes outside of any release,
/// for its Service in `namespace`.
pub(crate) fn registration(namespace: &str) -> String {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "imageswap-webhook", "labels": { "app": "imageswap" } },
        "webhooks": [{
            "name": "imageswap.webhook.k8s.twr.io",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "IfNeeded",
            "namespaceSelector": { "matchLabels": { "k8s.twr.io/imageswap": "enabled" } },
            "rules": [{
                "operations": ["CREATE", "UPDATE"],
                "apiGroups": ["*"],
                "apiVersions": ["*"],
                "resources": ["pods"],
            }],
            "clientConfig": { "service": { "namespace": namespace, "name": "imageswap", "path": "/" } },
        }],
    })
    .to_string()
}

/// Waits until the controller reports `mode`, and of each other image swapper whether it
/// is alive. Returns the other swappers.
fn wait_foreign(cluster: &HelmCluster, mode: &str, alive: &[bool]) -> Result<String> {
    Ok(until(&format!("the mode {mode} with others {alive:?}"), DEADLINE, || {
        let status = cluster.status(&Install::default());
        let status = status.map_err(|error| Wait::NotYet(error.to_string()))?;
        let others = status["foreign"].as_array().cloned().unwrap_or_default();
        let found: Vec<bool> = others.iter().map(|other| other["alive"] == true).collect();
        if status["policy"]["mode"] == mode && found == alive {
            Ok(status["foreign"].to_string())
        } else {
            Err(Wait::NotYet(status.to_string()))
        }
    })?)
}
