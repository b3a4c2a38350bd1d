//! Credential checks of the kubelet: since 1.35 it checks the credential for an image that
//! is on the node already (`KubeletEnsureSecretPulledImages`).

use anyhow::Result;
use image_swap_e2e::{DEADLINE, Install, Stage, known_failure};
use image_swap_testbed::{Wait, until};
use serde_json::{Value, json};

use super::{SOON, robot, start_with_credentials};
use crate::{
    NGINX, assert_air_gap, image,
    workloads::{items, run_mirrored},
};

/// A namespace that image-swap skips.
const SKIPPED: &str = "skipped";
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
    wait_declaration(&stage, |declaration| declaration["hash"] != first["hash"])?;

    known_failure("status reports replicas behind after a change of the password alone", || {
        Ok(until("replicas in step", SOON, || {
            let problems = stage.problems(&Install::default());
            let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
            let is_behind = problems.iter().any(|code| code == "replica-behind");
            if is_behind { Err(Wait::NotYet(format!("{problems:?}"))) } else { Ok(()) }
        })?)
    })
}

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn swapped_container_restarts_after_the_uninstall() -> Result<()> {
    let stage = start_with_credentials()?;
    run(&stage, "web")?;

    stage.step("helm uninstall, and the container ends");
    stage.uninstall(&Install::default())?;
    until("every pull Secret to be gone", DEADLINE, || {
        let left = items(&stage, PULL_SECRETS)?.len();
        if left == 0 { Ok(()) } else { Err(Wait::NotYet(left.to_string())) }
    })?;
    known_failure("after helm uninstall a swapped container cannot start again", || {
        stage.restart_container("web").map(drop)
    })
}

/// Runs a pod of `nginx:1.25` that is swapped.
fn run(stage: &Stage, name: &str) -> Result<()> {
    stage.kubectl(&["run", name, "--image=nginx:1.25"])?;
    assert_eq!(image(&stage.wait_pod("default", name)?), NGINX);
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
