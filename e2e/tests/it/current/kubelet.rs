//! Features of the kubelet, with a registry that wants a user and a password.

use anyhow::{Result, ensure};
use image_swap_e2e::{DEADLINE, Install, PAGE_VALUES, Stage, StageOptions, known_failure};
use image_swap_testbed::{Credentials, Wait, until};
use serde_json::{Value, json};

use super::SOON;
use crate::{
    NGINX, assert_air_gap, image, publish_nginx,
    workloads::{items, run_mirrored},
};

const VALUES: &str = "config: {ociImageRegistry: {username: robot, password: first}}";
const PULL_SECRETS: &str = "/api/v1/secrets?fieldSelector=metadata.name=image-swap-pull";
/// A namespace that image-swap skips.
const SKIPPED: &str = "skipped";

fn robot(password: &str) -> Credentials {
    Credentials { username: "robot".to_owned(), password: password.to_owned() }
}

fn start() -> Result<Stage> {
    let stage =
        Stage::start_with(StageOptions { credentials: Some(robot("first")), audit: false })?;
    publish_nginx(&stage)?;
    stage.install(&Install::with(&[PAGE_VALUES, VALUES]))?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    Ok(stage)
}

/// Since 1.35 the kubelet checks the credential for an image that is on the node already
/// (`KubeletEnsureSecretPulledImages`).
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn kubelet_checks_credentials_of_swapped_images() -> Result<()> {
    let mut stage = start()?;
    for name in ["first", "second", "third"] {
        stage.kubectl(&["run", name, "--image=nginx:1.25"])?;
    }
    for name in ["first", "second", "third"] {
        assert_eq!(image(&stage.wait_pod("default", name)?), NGINX);
    }

    stage.step("a pod without the pull Secret gets no image from the node");
    stage.control_plane.create_namespace(SKIPPED)?;
    stage.kubectl(&["label", "namespace", SKIPPED, "k8s.twr.io/imageswap=disabled"])?;
    run_mirrored(&stage, SKIPPED, "bare", json!({}))?;
    wait_refused(&stage, SKIPPED, "bare")?;

    stage.step("a swapped container starts again while the pull Secret exists");
    let restarted = stage.restart_container("first")?;
    assert_eq!(image(&restarted), NGINX);

    stage.step("another password reaches the pull Secret, and containers start again");
    stage.registry.set_credentials(&robot("second"))?;
    stage.declare_credentials(&robot("second"))?;
    wait_password(&stage, "second")?;
    let printed = ["run", "fourth", "--image=nginx:1.25", "--image-pull-policy=Always"];
    stage.kubectl(&printed)?;
    stage.wait_pod("default", "fourth")?;
    stage.restart_container("second")?;
    known_failure("after a change of the password alone, status reports replicas behind", || {
        Ok(until("replicas in step", SOON, || {
            let problems = stage.problems(&Install::default());
            let problems = problems.map_err(|error| Wait::NotYet(format!("{error:#}")))?;
            let is_behind = problems.iter().any(|code| code == "replica-behind");
            if is_behind { Err(Wait::NotYet(format!("{problems:?}"))) } else { Ok(()) }
        })?)
    })?;

    stage.step("a swapped container starts again after the release is gone");
    stage.uninstall(&Install::default())?;
    until("every pull Secret to be gone", DEADLINE, || {
        let left = items(&stage, PULL_SECRETS)?.len();
        if left == 0 { Ok(()) } else { Err(Wait::NotYet(left.to_string())) }
    })?;
    known_failure("after helm uninstall a swapped container cannot start again", || {
        stage.restart_container("third").map(drop)
    })?;
    assert_air_gap(&stage);
    Ok(())
}

/// Image volumes, containers that are resized in place, and sidecars.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn kubelet_runs_current_kinds_of_pods_swapped() -> Result<()> {
    let stage = start()?;
    image_volume(&stage)?;
    resize(&stage)?;
    sidecar(&stage)?;
    assert_air_gap(&stage);
    Ok(())
}

const WITH_VOLUME: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: volume}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: nginx:1.25
      volumeMounts: [{name: content, mountPath: /content}]
  volumes:
    - name: content
      image: {reference: 'quay.io/prometheus/prometheus:v3.0.0'}
";

fn image_volume(stage: &Stage) -> Result<()> {
    stage.step("an image volume is swapped, pulled with the pull Secret, and mounted");
    stage.publish("quay.io/prometheus/prometheus", "v3.0.0", "prometheus", &["true"])?;
    stage.apply(WITH_VOLUME)?;
    let pod = stage.wait_pod("default", "volume")?;
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let reference = volumes.iter().find_map(|volume| volume["image"]["reference"].as_str());
    let expected = "harbor.example.org/airgap-images/quay.io/prometheus/prometheus:v3.0.0";
    assert_eq!(reference, Some(expected));
    let content = stage.kubectl(&["exec", "volume", "--", "ls", "/content/bin"])?;
    assert!(content.contains("busybox"), "{content}");

    known_failure("a repeated kubectl apply of a bare pod with an image volume is refused", || {
        let printed = stage.apply(WITH_VOLUME)?;
        ensure!(printed == "pod/volume unchanged\n", "{printed}");
        Ok(())
    })
}

const RESIZED: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: resized}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: nginx:1.25
      resources: {requests: {cpu: 10m}, limits: {cpu: 100m}}
";

fn resize(stage: &Stage) -> Result<()> {
    stage.step("a resize in place touches no image, and restarts no container");
    stage.apply(RESIZED)?;
    let before = stage.wait_pod("default", "resized")?;
    let patch = r#"{"spec": {"containers": [
        {"name": "main", "resources": {"requests": {"cpu": "20m"}, "limits": {"cpu": "200m"}}}
    ]}}"#;
    stage.kubectl(&["patch", "pod", "resized", "--subresource=resize", "--patch", patch])?;
    let path = "/api/v1/namespaces/default/pods/resized";
    let after = until("the container to be resized", DEADLINE, || {
        let pod = stage.control_plane.get(path)?.unwrap_or_default();
        let resources = &pod["status"]["containerStatuses"][0]["resources"];
        if resources["limits"]["cpu"] == "200m" {
            Ok(pod)
        } else {
            Err(Wait::NotYet(pod["status"].to_string()))
        }
    })?;
    assert_eq!(image(&after), NGINX);
    assert_eq!(after["metadata"]["annotations"], before["metadata"]["annotations"]);
    let of = |pod: &Value, key: &str| pod["status"]["containerStatuses"][0][key].clone();
    for key in ["containerID", "imageID", "restartCount"] {
        assert_eq!(of(&after, key), of(&before, key), "{key}");
    }
    Ok(())
}

const WITH_SIDECAR: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: accompanied}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
    - {name: sidecar, image: 'redis:7', restartPolicy: Always}
    - {name: init, image: 'nginx:1.25', command: ['true']}
  containers:
    - {name: main, image: 'nginx:1.25'}
";

fn sidecar(stage: &Stage) -> Result<()> {
    stage.step("a sidecar is swapped, and runs beside the other containers");
    stage.publish("docker.io/library/redis", "7", "redis", &["sleep", "inf"])?;
    stage.apply(WITH_SIDECAR)?;
    let pod = stage.wait_pod("default", "accompanied")?;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["image"], super::REDIS);
    assert_eq!(sidecar["restartPolicy"], "Always");
    let statuses = pod["status"]["initContainerStatuses"].as_array().unwrap();
    assert!(statuses[0]["state"]["running"].is_object(), "{statuses:?}");
    assert_eq!(statuses[1]["state"]["terminated"]["exitCode"], 0, "{statuses:?}");
    Ok(())
}

/// Waits until the kubelet has refused to start a container because the registry wants
/// a password.
fn wait_refused(stage: &Stage, namespace: &str, name: &str) -> Result<()> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    until("a pull to be refused", DEADLINE, || {
        let pod = stage.control_plane.get(&path)?.unwrap_or_default();
        let state = &pod["status"]["containerStatuses"][0]["state"];
        let message = state["waiting"]["message"].as_str().unwrap_or_default();
        if message.contains("no basic auth credentials") {
            Ok(())
        } else {
            Err(Wait::NotYet(state.to_string()))
        }
    })?;
    Ok(())
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
