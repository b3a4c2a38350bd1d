//! Credential checks of the kubelet: since 1.35 it checks the credential for an image that
//! is on the node already (`KubeletEnsureSecretPulledImages`).

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, Install, PALETTE_VALUES};
use image_swap_testbed::{Wait, until};
use serde_json::{Value, json};

use super::{robot, start_with_credentials};
use crate::{
    NGINX, assert_air_gap, image,
    workloads::{items, run_mirrored},
};

/// A namespace that image-swap skips.
const SKIPPED: &str = "skipped";
/// A namespace whose only pod is deleted.
const LEFT: &str = "left";
const PULL_SECRETS: &str = "/api/v1/secrets?fieldSelector=metadata.name=image-swap-pull";

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn swapped_container_restarts_with_its_pull_secret() -> Result<()> {
    let cluster = start_with_credentials()?;
    run(&cluster, "web")?;

    cluster.step("a pod without the pull Secret gets no image from the node");
    cluster.control_plane.create_namespace(SKIPPED)?;
    cluster.kubectl(&["label", "namespace", SKIPPED, "k8s.twr.io/imageswap=disabled"])?;
    run_mirrored(&cluster, SKIPPED, "bare", json!({}))?;
    wait_refused(&cluster, SKIPPED, "bare")?;

    cluster.step("a swapped container starts again");
    let restarted = cluster.restart_container("web")?;
    assert_eq!(image(&restarted), NGINX);
    assert_air_gap(&cluster);
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn changed_password_reaches_new_and_old_pods() -> Result<()> {
    let mut cluster = start_with_credentials()?;
    cluster.declare_credentials(&robot("first"))?;
    let first = wait_declaration(&cluster, |declaration| declaration["source"] == "registry-info")?;
    run(&cluster, "old")?;

    cluster.step("another password reaches the pull Secret");
    let other = robot("second");
    cluster.registry.set_credentials(&other)?;
    cluster.declare_credentials(&other)?;
    wait_password(&cluster, &other.password)?;
    run(&cluster, "new")?;
    cluster.restart_container("old")?;
    let next = wait_declaration(&cluster, |declaration| {
        declaration["revision"].as_u64() > first["revision"].as_u64()
    })?;
    assert_eq!(next["hash"], first["hash"], "the hash covers no credential");
    until("replicas in step", DEADLINE, || {
        let problems = cluster.problems(&Install::default());
        let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        // The controller does not resolve the registry's name here, which is another problem.
        let is_behind = problems.iter().any(|code| code == "replica-behind");
        if is_behind { Err(Wait::NotYet(format!("{problems:?}"))) } else { Ok(()) }
    })?;
    Ok(())
}

// guarantee: 4d
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn swapped_container_restarts_after_the_uninstall() -> Result<()> {
    let cluster = start_with_credentials()?;
    run(&cluster, "web")?;

    cluster.step("helm uninstall, and the container ends");
    cluster.uninstall(&Install::default())?;
    cluster.restart_container("web")?;
    wait_pull_secrets(&cluster, &["default"])?;

    cluster.step("the next release takes the Secret over");
    let values = "config: {ociImageRegistry: {username: robot, password: first}}";
    cluster.install(&Install::with(&[PALETTE_VALUES, values]))?;
    until("the Secret to have no owner", DEADLINE, || {
        let kept = items(&cluster, PULL_SECRETS)?;
        let is_owned = kept.iter().any(|it| !it["metadata"]["ownerReferences"].is_null());
        if is_owned { Err(Wait::NotYet(format!("{kept:?}"))) } else { Ok(()) }
    })?;
    cluster.restart_container("web")?;

    cluster.step("the documented commands list and remove it");
    cluster.uninstall(&Install::default())?;
    remove_pull_secrets(&cluster)
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn swapped_container_restarts_without_managed_secrets() -> Result<()> {
    let cluster = start_with_credentials()?;
    cluster.control_plane.create_namespace(LEFT)?;
    run(&cluster, "web")?;
    run_in(&cluster, LEFT, "gone")?;
    wait_pull_secrets(&cluster, &["default", LEFT])?;

    cluster.step("managePullSecrets is turned off");
    let off = "{managePullSecrets: false, config: {ociImageRegistry: {username: robot, \
               password: first}}}";
    cluster.install(&Install::with(&[PALETTE_VALUES, off]))?;
    cluster.kubectl(&["delete", "pod", "gone", "--namespace", LEFT, "--now"])?;
    wait_pull_secrets(&cluster, &["default"])?;
    cluster.restart_container("web")?;

    cluster.step("the documented commands list and remove it");
    cluster.uninstall(&Install::default())?;
    remove_pull_secrets(&cluster)
}

/// Removes the pull Secrets of a release that is gone, as documented.
fn remove_pull_secrets(cluster: &HelmCluster) -> Result<()> {
    let selector = "--selector=image-swap.io/managed-by=image-swap";
    let listed = cluster.kubectl(&["get", "secrets", "--all-namespaces", selector])?;
    assert!(listed.contains("image-swap-pull"), "{listed}");
    cluster.kubectl(&["delete", "secrets", "--all-namespaces", selector])?;
    wait_pull_secrets(cluster, &[])?;
    Ok(())
}

/// Waits until the namespaces with a pull Secret are `namespaces`, and returns the Secrets.
fn wait_pull_secrets(cluster: &HelmCluster, namespaces: &[&str]) -> Result<Vec<Value>> {
    Ok(until(&format!("pull Secrets in {namespaces:?}"), DEADLINE, || {
        let found = items(cluster, PULL_SECRETS)?;
        let named = found.iter().map(|it| it["metadata"]["namespace"].as_str().unwrap_or_default());
        if named.eq(namespaces.iter().copied()) {
            Ok(found)
        } else {
            Err(Wait::NotYet(format!("{found:?}")))
        }
    })?)
}

/// Runs a pod of `nginx:1.25` that is swapped.
fn run(cluster: &HelmCluster, name: &str) -> Result<()> {
    run_in(cluster, "default", name)
}

/// Runs such a pod in a namespace.
fn run_in(cluster: &HelmCluster, namespace: &str, name: &str) -> Result<()> {
    cluster.kubectl(&["run", name, "--image=nginx:1.25", "--namespace", namespace])?;
    assert_eq!(image(&cluster.wait_pod(namespace, name)?), NGINX);
    Ok(())
}

/// Waits until the kubelet has refused to start a container because the registry wants
/// a password.
fn wait_refused(cluster: &HelmCluster, namespace: &str, name: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    until("a pull to be refused", DEADLINE, || {
        let pod = cluster.control_plane.get(&path)?.unwrap_or_default();
        let container = &pod["status"]["containerStatuses"][0]["state"];
        let message = container["waiting"]["message"].as_str().unwrap_or_default();
        if message.contains("no basic auth credentials") {
            Ok(())
        } else {
            Err(Wait::NotYet(container.to_string()))
        }
    })?;
    Ok(())
}

/// Waits until the controller's report has a declaration that `is_wanted`, and returns it.
fn wait_declaration(cluster: &HelmCluster, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    Ok(until("the report of a declaration", DEADLINE, || {
        let status = cluster.status(&Install::default());
        let status = status.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        let declaration = status["declaration"].clone();
        if is_wanted(&declaration) {
            Ok(declaration)
        } else {
            Err(Wait::NotYet(declaration.to_string()))
        }
    })?)
}

/// Waits until the pull Secret of `default` has `password`.
fn wait_password(cluster: &HelmCluster, password: &str) -> Result<()> {
    let line = "kubectl get secret image-swap-pull \
                --output=jsonpath='{.data.\\.dockerconfigjson}' | base64 --decode";
    Ok(until("the pull Secret to have the password", DEADLINE, || match cluster.shell(line) {
        Ok(found) if found.contains(&format!("\"{password}\"")) => Ok(()),
        Ok(_) => Err(Wait::NotYet("another password".into())),
        Err(error) => Err(Wait::NotYet(format!("{error:#}"))),
    })?)
}
