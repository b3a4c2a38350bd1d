//! Where upstream's program is, or was. Its objects are made anew after its
//! `deploy/install.yaml`, v1.5.2; in its pod only a port is listened on, which is
//! what tells the living from the dead.

use std::fs;

use anyhow::Result;
use chart_tests::Wait;
use image_swap_e2e::{DEADLINE, Install, PAGE_VALUES, Stage};
use image_swap_testbed::{Wait as Look, until};
use serde_json::json;

use crate::NGINX;

/// Upstream's own namespace.
pub(crate) const NAMESPACE: &str = "imageswap-system";

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

/// What its init container registers, outside of any release.
fn registration(namespace: &str) -> String {
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

/// The page's command beside a living imageswap: we only report until it is gone.
pub(crate) fn is_there_and_lives(stage: &Stage) -> Result<()> {
    let page = Install::default();
    stage.publish("imageswap", "v1.5.2", "imageswap", &["httpd", "-f", "-p", "5000"])?;
    stage.step("imageswap is installed, and lives");
    let objects = stage.write("imageswap.yaml", OBJECTS)?;
    let file = objects.display().to_string();
    stage.kubectl(&["apply", "--namespace", NAMESPACE, "--filename", &file])?;
    stage.kubectl(&["rollout", "status", "deployment/imageswap", "--namespace", NAMESPACE])?;
    stage.apply(&registration(NAMESPACE))?;

    stage.step("the page's command beside it: pods are only reported on");
    stage.follow_the_page()?;
    stage.wait_ready(&page)?;
    let lives = wait_foreign(stage, "audit", &[true])?;
    assert!(lives.contains("imageswap"), "{lives}");
    assert_eq!(stage.swapped("nginx:1.25")?, "nginx:1.25");

    stage.step("it dies: we swap, report it, and leave it alone");
    stage.kubectl(&["delete", "--namespace", NAMESPACE, "--filename", &file])?;
    wait_foreign(stage, "enforce", &[false])?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    assert!(
        stage.kubectl(&["get", "mutatingwebhookconfigurations"])?.contains("imageswap-webhook")
    );

    stage.step("adopt: true removes it");
    let values = [PAGE_VALUES, "adopt: true"];
    stage.upgrade(&Install { values: &values, ..page }, Wait::Ready)?;
    wait_foreign(stage, "enforce", &[])?;
    let left = stage.kubectl(&["get", "mutatingwebhookconfigurations", "--output=name"])?;
    assert!(!left.contains("imageswap-webhook"), "{left}");
    stage.uninstall(&page)?;
    Ok(())
}

/// The page's command over a release of imageswap that has the page's name: Helm
/// replaces its objects by ours, and its registration outlives it.
pub(crate) fn is_replaced_by_the_page_s_command(stage: &Stage) -> Result<()> {
    let page = Install::default();
    stage.step("imageswap is a release of the page's name");
    let chart = stage.folder().join("imageswap-chart");
    fs::create_dir_all(chart.join("templates"))?;
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: image-swap\nversion: 0.0.1\n")?;
    fs::write(chart.join("templates/all.yaml"), OBJECTS)?;
    stage.helm().upgrade_install("default", "image-swap", &chart, &[], Wait::Ready)?;
    stage.apply(&registration("default"))?;

    stage.step("the page's command over it");
    let revision = stage.follow_the_page()?;
    assert_eq!((revision.number, revision.status.as_str()), (2, "deployed"));
    stage.wait_ready(&page)?;
    wait_foreign(stage, "enforce", &[false])?;
    stage.wait_policy(&page, "Fail")?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    let left = stage.kubectl(&["get", "all", "--namespace=default", "--output=name"])?;
    assert!(!left.contains("/imageswap"), "{left}");

    stage.step("a dead imageswap holds up the namespaces that had opted in; adopt: true ends that");
    stage.kubectl(&["create", "namespace", "opted-in"])?;
    stage.kubectl(&["label", "namespace", "opted-in", "k8s.twr.io/imageswap=enabled"])?;
    let image = "--output=jsonpath={.spec.containers[0].image}";
    let run =
        ["run", "web", "--namespace=opted-in", "--image=nginx:1.25", "--dry-run=server", image];
    until("a pod to be refused", DEADLINE, || match stage.kubectl(&run) {
        Err(error) if error.to_string().contains("imageswap.webhook") => Ok(()),
        other => Err(Look::NotYet(format!("{other:?}"))),
    })?;
    let values = [PAGE_VALUES, "adopt: true"];
    stage.upgrade(&Install { values: &values, ..page }, Wait::Ready)?;
    wait_foreign(stage, "enforce", &[])?;
    let let_in = until("a pod to be let in", DEADLINE, || {
        stage.kubectl(&run).map_err(|error| Look::NotYet(error.to_string()))
    })?;
    assert_eq!(let_in, NGINX);
    stage.kubectl(&["delete", "namespace", "opted-in"])?;
    Ok(())
}

/// Waits until the status says `mode`, and of each other swapper whether it lives.
fn wait_foreign(stage: &Stage, mode: &str, lives: &[bool]) -> Result<String> {
    Ok(until(&format!("the mode {mode} with others {lives:?}"), DEADLINE, || {
        let status = stage.status(&Install::default());
        let status = status.map_err(|error| Look::NotYet(error.to_string()))?;
        let others = status["foreign"].as_array().cloned().unwrap_or_default();
        let found: Vec<bool> = others.iter().map(|other| other["alive"] == true).collect();
        if status["policy"]["mode"] == mode && found == lives {
            Ok(status["foreign"].to_string())
        } else {
            Err(Look::NotYet(status.to_string()))
        }
    })?)
}
