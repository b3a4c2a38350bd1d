//! Current kinds of containers and volumes.

use anyhow::Result;
use image_swap_e2e::DEADLINE;
use image_swap_testbed::{Wait, until};
use serde_json::Value;

use super::{REDIS, publish_redis, start_with_credentials};
use crate::{NGINX, assert_air_gap, image};

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

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn image_volume_is_swapped_and_mounted() -> Result<()> {
    let cluster = start_with_credentials()?;
    cluster.publish("quay.io/prometheus/prometheus", "v3.0.0", "prometheus", &["true"])?;
    cluster.apply(WITH_VOLUME)?;
    let pod = cluster.wait_pod("default", "volume")?;
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let reference = volumes.iter().find_map(|volume| volume["image"]["reference"].as_str());
    let expected = "harbor.example.org/airgap-images/quay.io/prometheus/prometheus:v3.0.0";
    assert_eq!(reference, Some(expected));
    let content = cluster.kubectl(&["exec", "volume", "--", "ls", "/content/bin"])?;
    assert!(content.contains("busybox"), "{content}");

    // A repeated apply changes nothing: kubectl sends the image of the manifest, and the
    // pod keeps its own.
    let before = cluster.wait_pod("default", "volume")?;
    cluster.apply(WITH_VOLUME)?;
    let after = cluster.wait_pod("default", "volume")?;
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
    let containers = |pod: &Value| pod["status"]["containerStatuses"].clone();
    assert_eq!(containers(&after), containers(&before));
    assert_air_gap(&cluster);
    Ok(())
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

// guarantee: 2c
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn resize_in_place_restarts_no_container() -> Result<()> {
    let cluster = start_with_credentials()?;
    cluster.apply(RESIZED)?;
    let before = cluster.wait_pod("default", "resized")?;
    let patch = r#"{"spec": {"containers": [
        {"name": "main", "resources": {"requests": {"cpu": "20m"}, "limits": {"cpu": "200m"}}}
    ]}}"#;
    cluster.kubectl(&["patch", "pod", "resized", "--subresource=resize", "--patch", patch])?;
    let resized = "/api/v1/namespaces/default/pods/resized";
    let after = until("the container to be resized", DEADLINE, || {
        let pod = cluster.control_plane.get(resized)?.unwrap_or_default();
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
    assert_air_gap(&cluster);
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

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn sidecar_is_swapped_and_runs() -> Result<()> {
    let cluster = start_with_credentials()?;
    publish_redis(&cluster)?;
    cluster.apply(WITH_SIDECAR)?;
    let pod = cluster.wait_pod("default", "accompanied")?;
    let sidecar = &pod["spec"]["initContainers"][0];
    assert_eq!(sidecar["image"], REDIS);
    assert_eq!(sidecar["restartPolicy"], "Always");
    let statuses = pod["status"]["initContainerStatuses"].as_array().unwrap();
    assert!(statuses[0]["state"]["running"].is_object(), "{statuses:?}");
    assert_eq!(statuses[1]["state"]["terminated"]["exitCode"], 0, "{statuses:?}");
    assert_air_gap(&cluster);
    Ok(())
}
