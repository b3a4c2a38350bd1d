//! Memory of the controller in a large cluster, and the time from a new declaration to the
//! first pod that follows it.

use std::{path::Path, time::Instant};

use image_swap_cluster::client;
use image_swap_load::{
    Outcome, process,
    statistics::{median, quantile},
};
use image_swap_testbed::{ControlPlane, HttpClient, Port, RunDir, Wait, until};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{PATIENCE, load::PodLoad, pod, service};

/// The controller's own account of namespaces that have their Secret.
const NAMESPACES_DONE: &str = "image_swap_controller_pull_secrets ";
/// The controller's own account of Secrets that it has written.
const WRITES: &str = "image_swap_controller_pull_secret_writes_total ";
pub(crate) const RELEASE: &str = "image-swap-system";
const NAMESPACES: usize = 5000;
const CHANGES: usize = 21;
/// Namespaces that are created at the same time.
const AT_ONCE: usize = 16;
/// The first password and the next one.
const PASSWORDS: [&str; 2] = ["password-of-the-robot", "another-password"];
/// A port without a listener, so that the controller's check of the registry is over at once.
const REGISTRY: &str = "127.0.0.1:9";

pub(crate) async fn measure(control_plane: &ControlPlane, binary: &Path) -> Outcome<()> {
    let directory = RunDir::new("bench")?;
    let client = client(Some(control_plane.kubeconfig())).await?;
    let begun = Instant::now();
    seed(&client).await?;
    eprintln!("{NAMESPACES} namespaces in {:.0} s", begun.elapsed().as_secs_f64());
    install(control_plane)?;

    let [port, webhook_admin, admin] = [Port::reserve()?, Port::reserve()?, Port::reserve()?];
    let kubeconfig = format!("--kubeconfig={}", control_plane.kubeconfig().display());
    let namespace = format!("--namespace={RELEASE}");
    let listen = format!("--admin-listen=127.0.0.1:{}", admin.number());
    let arguments = ["controller", &namespace, &kubeconfig, &listen];
    let controller = process::start(binary, arguments, &admin, directory.path())?;
    declare(control_plane, "first", PASSWORDS[0])?;
    let begun = Instant::now();
    reaches(&admin, NAMESPACES_DONE, NAMESPACES)?;
    println!("# all pull Secrets were there after {:.0} s", begun.elapsed().as_secs_f64());
    declare(control_plane, "first", PASSWORDS[1])?;
    let begun = Instant::now();
    reaches(&admin, WRITES, 2 * NAMESPACES)?;
    println!("# a new password was in all of them after {:.0} s", begun.elapsed().as_secs_f64());
    let (now, peak) =
        (process::memory(&controller, "VmRSS:")?, process::memory(&controller, "VmHWM:")?);
    println!("controller/namespaces {NAMESPACES}");
    println!("controller/rss-mib {now:.1}");
    println!("controller/peak-rss-mib {peak:.1}");

    let listen = format!("--listen=0.0.0.0:{}", port.number());
    let own = format!("--admin-listen=127.0.0.1:{}", webhook_admin.number());
    let arguments = ["webhook", "--in-cluster", &namespace, &kubeconfig, &listen, &own];
    let _webhook = process::start(binary, arguments, &port, directory.path())?;
    service::create(control_plane, RELEASE, "image-swap-admission", port.number())?;
    changes(control_plane, &PodLoad::new(&client, "n-0", pod::IMAGE)?).await
}

/// Waits until `metric` of the controller that has `port` is `wanted`, or more.
fn reaches(port: &Port, metric: &str, wanted: usize) -> Outcome<()> {
    until(&format!("{metric}to be {wanted}"), PATIENCE, || {
        let url = format!("http://127.0.0.1:{}/metrics", port.number());
        let metrics = HttpClient::default().request("GET", &url, None)?.body;
        let mut values = metrics.lines().filter_map(|line| line.strip_prefix(metric));
        let found = values.next().and_then(|value| value.trim().parse::<usize>().ok());
        if found >= Some(wanted) { Ok(()) } else { Err(Wait::NotYet(format!("{found:?}"))) }
    })?;
    Ok(())
}

/// Creates namespaces with a swapped pod in each.
async fn seed(client: &Client) -> Outcome<()> {
    let mut pod: Value = pod::pod();
    let name = pod["spec"]["containers"][0]["name"].clone();
    let record = format!(r#"{{{name}:"nginx"}}"#);
    pod["metadata"]["annotations"] = json!({ "image-swap.io/original-images": record });
    pod["spec"]["containers"][0]["image"] = format!("{REGISTRY}/airgap/first/nginx").into();
    pod["spec"]["imagePullSecrets"] = json!([{ "name": "image-swap-pull" }]);
    let pod: Pod = serde_json::from_value(pod)?;
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE {
        let (client, pod, params) = (client.clone(), pod.clone(), PostParams::default());
        tasks.spawn(async move {
            for number in (first..NAMESPACES).step_by(AT_ONCE) {
                let name = format!("n-{number}");
                let object = json!({ "metadata": { "name": name } });
                let namespace: Namespace = serde_json::from_value(object)?;
                Api::all(client.clone()).create(&params, &namespace).await?;
                Api::namespaced(client.clone(), &name).create(&params, &pod).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Creates those objects of the chart that the controller and the API server need.
pub(crate) fn install(control_plane: &ControlPlane) -> Outcome<()> {
    for name in [RELEASE, "jet-system"] {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        control_plane.create("/api/v1/namespaces", &namespace)?;
    }
    let anchor = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": { "name": "image-swap", "annotations": { "image-swap.io/leaving": "false" } },
    });
    control_plane.create("/apis/rbac.authorization.k8s.io/v1/clusterroles", &anchor)?;
    Ok(())
}

/// Declares that images of Docker Hub are at `path` of the registry.
fn declare(control_plane: &ControlPlane, path: &str, password: &str) -> Outcome<()> {
    let secrets = "/api/v1/namespaces/jet-system/secrets";
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "registry-info" },
        "stringData": {
            "DOMAIN": REGISTRY, "BASE_PATH": "airgap", "INSECURE": "false",
            "USERNAME": "robot", "PASSWORD": password,
            "MIRROR_REGISTRIES": format!("docker.io::{REGISTRY}/airgap/{path}"),
        },
    });
    let there = format!("{secrets}/registry-info");
    let answer = if control_plane.get(&there)?.is_some() {
        control_plane.request("PUT", &there, Some(&secret))?
    } else {
        control_plane.request("POST", secrets, Some(&secret))?
    };
    if answer.status < 300 { Ok(()) } else { Err(answer.body.into()) }
}

/// Changes the declaration again and again, and creates pods until one follows it.
async fn changes(control_plane: &ControlPlane, load: &PodLoad) -> Outcome<()> {
    let mut times = Vec::new();
    // The first change waits for certificates and the registration, too.
    for number in 0..=CHANGES {
        let path = format!("change-{number}");
        let wanted = format!("{REGISTRY}/airgap/{path}/library/nginx:1.27");
        declare(control_plane, &path, PASSWORDS[1])?;
        let begun = Instant::now();
        while load.create().await.ok().as_ref() != Some(&wanted) {
            if begun.elapsed() > PATIENCE {
                return Err(format!("expected a pod with {wanted}, found none in time").into());
            }
        }
        if number > 0 {
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let [least, most] = [0.0, 1.0].map(|share| quantile(times.clone(), share));
    println!("declaration/to-pod-ms {:.0}", median(times));
    println!("# {CHANGES} changes: {least:.0} to {most:.0} ms");
    Ok(())
}
