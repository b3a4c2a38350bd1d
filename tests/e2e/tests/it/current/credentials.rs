//! Credential checks of the kubelet: since 1.35 it checks the credential for an image that
//! is on the node already (`KubeletEnsureSecretPulledImages`).

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, PAGE_VALUES, Stage};
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
    let stage = start_with_credentials()?;
    run(&stage, "web")?;

    stage.step("a pod without the pull Secret gets no image from the node");
    stage.control_plane.create_namespace(SKIPPED)?;
    stage.kubectl(&["label", "namespace", SKIPPED, "k8s.twr.io/imageswap=disabled"])?;
    run_mirrored(&stage, SKIPPED, "bare", json!({}))?;
    wait_refused(&stage, SKIPPED, "bare")?;

    stage.step("a swapped container starts again");
    let restarted = stage.restart_container("web")?;
    assert_eq!(image(&restarted), NGINX);
    assert_air_gap(&stage);
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn changed_password_reaches_new_and_old_pods() -> Result<()> {
    let mut stage = start_with_credentials()?;
    stage.declare_credentials(&robot("first"))?;
    let first = wait_declaration(&stage, |declaration| declaration["source"] == "registry-info")?;
    run(&stage, "old")?;

    stage.step("another password reaches the pull Secret");
    let other = robot("second");
    stage.registry.set_credentials(&other)?;
    stage.declare_credentials(&other)?;
    wait_password(&stage, &other.password)?;
    run(&stage, "new")?;
    stage.restart_container("old")?;
    let next = wait_declaration(&stage, |declaration| {
        declaration["revision"].as_u64() > first["revision"].as_u64()
    })?;
    assert_eq!(next["hash"], first["hash"], "the hash covers no credential");
    until("replicas in step", DEADLINE, || {
        let problems = stage.problems(&Install::default());
        let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
        // The controller does not resolve the registry's name here, which is another problem.
        let is_behind = problems.iter().any(|code| code == "replica-behind");
        if is_behind { Err(Wait::NotYet(format!("{problems:?}"))) } else { Ok(()) }
    })?;
    Ok(())
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn swapped_container_restarts_after_the_uninstall() -> Result<()> {
    let stage = start_with_credentials()?;
    run(&stage, "web")?;

    stage.step("helm uninstall, and the container ends");
    stage.uninstall(&Install::default())?;
    stage.restart_container("web")?;
    wait_pull_secrets(&stage, &["default"])?;

    stage.step("the next release takes the Secret over");
    let values = "config: {ociImageRegistry: {username: robot, password: first}}";
    stage.install(&Install::with(&[PAGE_VALUES, values]))?;
    until("the Secret to have no owner", DEADLINE, || {
        let kept = items(&stage, PULL_SECRETS)?;
        let is_owned = kept.iter().any(|it| !it["metadata"]["ownerReferences"].is_null());
        if is_owned { Err(Wait::NotYet(format!("{kept:?}"))) } else { Ok(()) }
    })?;
    stage.restart_container("web")?;

    stage.step("the documented commands list and remove it");
    stage.uninstall(&Install::default())?;
    remove_pull_secrets(&stage)
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn swapped_container_restarts_without_managed_secrets() -> Result<()> {
    let stage = start_with_credentials()?;
    stage.control_plane.create_namespace(LEFT)?;
    run(&stage, "web")?;
    run_in(&stage, LEFT, "gone")?;
    wait_pull_secrets(&stage, &["default", LEFT])?;

    stage.step("managePullSecrets is turned off");
    let off = "{managePullSecrets: false, config: {ociImageRegistry: {username: robot, \
               password: first}}}";
    stage.install(&Install::with(&[PAGE_VALUES, off]))?;
    stage.kubectl(&["delete", "pod", "gone", "--namespace", LEFT, "--now"])?;
    wait_pull_secrets(&stage, &["default"])?;
    stage.restart_container("web")?;

    stage.step("the documented commands list and remove it");
    stage.uninstall(&Install::default())?;
    remove_pull_secrets(&stage)
}

/// Removes the pull Secrets of a release that is gone, as documented.
fn remove_pull_secrets(stage: &Stage) -> Result<()> {
    let selector = "--selector=image-swap.io/managed-by=image-swap";
    let listed = stage.kubectl(&["get", "secrets", "--all-namespaces", selector])?;
    assert!(listed.contains("image-swap-pull"), "{listed}");
    stage.kubectl(&["delete", "secrets", "--all-namespaces", selector])?;
    wait_pull_secrets(stage, &[])?;
    Ok(())
}

/// Waits until the namespaces with a pull Secret are `namespaces`, and returns the Secrets.
fn wait_pull_secrets(stage: &Stage, namespaces: &[&str]) -> Result<Vec<Value>> {
    Ok(until(&format!("pull Secrets in {namespaces:?}"), DEADLINE, || {
        let found = items(stage, PULL_SECRETS)?;
        let named = found.iter().map(|it| it["metadata"]["namespace"].as_str().unwrap_or_default());
        if named.eq(namespaces.iter().copied()) {
            Ok(found)
        } else {
            Err(Wait::NotYet(format!("{found:?}")))
        }
    })?)
}

/// Runs a pod of `nginx:1.25` that is swapped.
fn run(stage: &Stage, name: &str) -> Result<()> {
    run_in(stage, "default", name)
}

/// Runs such a pod in a namespace.
fn run_in(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
    stage.kubectl(&["run", name, "--image=nginx:1.25", "--namespace", namespace])?;
    assert_eq!(image(&stage.wait_pod(namespace, name)?), NGINX);
    Ok(())
}

/// Waits until the kubelet has refused to start a container because the registry wants
/// a password.
fn wait_refused(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    until("a pull to be refused", DEADLINE, || {
        let pod = stage.control_plane.get(&path)?.unwrap_or_default();
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
fn wait_declaration(stage: &Stage, is_wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    Ok(until("the report of a declaration", DEADLINE, || {
        let status = stage.status(&Install::default());
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
fn wait_password(stage: &Stage, password: &str) -> Result<()> {
    let line = "kubectl get secret image-swap-pull \
                --output=jsonpath='{.data.\\.dockerconfigjson}' | base64 --decode";
    Ok(until("the pull Secret to have the password", DEADLINE, || match stage.shell(line) {
        Ok(found) if found.contains(&format!("\"{password}\"")) => Ok(()),
        Ok(_) => Err(Wait::NotYet("another password".into())),
        Err(error) => Err(Wait::NotYet(format!("{error:#}"))),
    })?)
}
