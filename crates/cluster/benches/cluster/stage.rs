//! Fixtures of the controller of nodes: the objects of the chart, a registry, Nodes, and the
//! kubelets that the benchmark plays.

use std::{fs, net::Ipv4Addr, path::Path, pin::pin, time::SystemTime};

use futures_util::StreamExt as _;
use image_swap_load::{Outcome, registry};
use image_swap_serve::pki::LocalAuthority;
use image_swap_testbed::{ControlPlane, Wait, until};
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, watcher},
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};

use crate::{
    PATIENCE,
    controller::{self, RELEASE},
};

/// The Secret that agents follow.
pub(crate) const DECLARED: &str = "image-swap-nodes";
pub(crate) const MIRRORS: &str = "/apis/image-swap.io/v1alpha1/nodemirrors";
const RUNTIME: &str = "containerd://2.4.1";
const AGENTS: &str = "image-swap-agent";
const TRIALS: &str = "image-swap-trial";
/// The namespace of the pod whose image is the one of trial pods.
const APPS: &str = "apps";
const JET: &str = "jet-system";
const DEFINITION: &str = include_str!("../../../../charts/image-swap/templates/agent/crd.yaml");

/// A registry with a certificate that the declaration's authority signs.
pub(crate) struct PlayedRegistry {
    domain: String,
    authority: String,
    /// The server, which ends with the runtime.
    _server: JoinHandle<Outcome<()>>,
}

impl PlayedRegistry {
    /// Starts it, with its authority in `directory`.
    pub(crate) async fn start(directory: &Path) -> Outcome<Self> {
        const NAME: &str = "localhost";
        let authority = LocalAuthority::open(directory, SystemTime::now())?.certificate_file();
        let authority = fs::read_to_string(authority)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let domain = format!("{NAME}:{}", listener.local_addr()?.port());
        let directory = directory.to_owned();
        let serve = async move { registry::serve(&directory, NAME, listener).await };
        Ok(Self { domain, authority, _server: tokio::spawn(serve) })
    }

    /// Declares that images of Docker Hub are at `path` of the registry.
    pub(crate) async fn declare(&self, client: &Client, path: &str) -> Outcome<()> {
        let Self { domain, authority, .. } = self;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), JET);
        let secret = json!({
            "metadata": { "name": "registry-info" },
            "stringData": {
                "DOMAIN": domain, "BASE_PATH": "airgap", "INSECURE": "false", "CA_CERT": authority,
                "USERNAME": "robot", "PASSWORD": format!("password-of-{path}"),
                "MIRROR_REGISTRIES": format!("docker.io::{domain}/airgap/{path}"),
            },
        });
        let (params, content) = (PatchParams::default(), Patch::Merge(&secret));
        let changed = secrets.patch("registry-info", &params, &content).await;
        match changed {
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let secret = serde_json::from_value(secret)?;
                secrets.create(&PostParams::default(), &secret).await?;
            }
            changed => drop(changed?),
        }
        Ok(())
    }
}

/// Creates the objects of the chart, and a pod with an image of Docker Hub.
pub(crate) fn install(control_plane: &ControlPlane, directory: &Path) -> Outcome<()> {
    controller::install(control_plane)?;
    for name in [AGENTS, TRIALS, APPS] {
        control_plane.create_namespace(name)?;
    }
    let pods = format!("/api/v1/namespaces/{APPS}/pods");
    control_plane.create(&pods, &pod("app", "busybox:1.36"))?;
    // The chart's file without its template.
    let begin = DEFINITION.find("apiVersion:").ok_or("no definition")?;
    let lines = DEFINITION[begin..].lines().filter(|line| !line.contains("{{"));
    let file = directory.join("crd.yaml");
    fs::write(&file, lines.map(|line| format!("{line}\n")).collect::<String>())?;
    let mut kubectl = control_plane.kubectl();
    let done = kubectl.args(["create", "--validate=false", "--filename"]).arg(file).output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into());
    }
    until("NodeMirrors to be served", PATIENCE, || match control_plane.get(MIRRORS) {
        Ok(Some(_)) => Ok(()),
        _ => Err(Wait::NotYet("no such resource".to_owned())),
    })?;
    Ok(())
}

/// Returns the arguments of `image-swap controller`, apart from its addresses.
pub(crate) fn arguments(control_plane: &ControlPlane) -> Vec<String> {
    vec![
        "controller".to_owned(),
        format!("--namespace={RELEASE}"),
        format!("--kubeconfig={}", control_plane.kubeconfig().display()),
        format!("--agent-namespace={AGENTS}"),
        format!("--trial-namespace={TRIALS}"),
    ]
}

/// Creates the Node `name` with the boot `boot`, and the pod of its agent.
pub(crate) async fn add_node(client: &Client, name: &str, boot: &str) -> Outcome<()> {
    let node: Node = serde_json::from_value(json!({
        "metadata": { "name": name },
        "status": { "nodeInfo": {
            "bootID": boot, "containerRuntimeVersion": RUNTIME,
            "kubeletVersion": "v1.37.2", "kubeProxyVersion": "", "machineID": "", "systemUUID": "",
            "kernelVersion": "6.1", "architecture": "amd64", "osImage": "Debian GNU/Linux 12",
            "operatingSystem": "linux",
        } },
    }))?;
    let params = PostParams::default();
    Api::all(client.clone()).create(&params, &node).await?;
    let mut agent = pod(&format!("agent-{name}"), "registry.example.org/image-swap");
    agent["metadata"]["labels"] = json!({ "app.kubernetes.io/component": "agent" });
    agent["spec"]["nodeName"] = name.into();
    let agents: Api<Pod> = Api::namespaced(client.clone(), AGENTS);
    agents.create(&params, &serde_json::from_value(agent)?).await?;
    let status = json!({ "status": {
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    let (name, params) = (format!("agent-{name}"), PatchParams::default());
    agents.patch_status(&name, &params, &Patch::Merge(&status)).await?;
    Ok(())
}

/// Simulates the kubelets of all nodes. Each trial pod has pulled its image at once, at a time that
/// `pulled` receives. A pod that is being deleted ends.
pub(crate) async fn kubelets(
    client: Client,
    pulled: watch::Sender<Option<Instant>>,
) -> Outcome<()> {
    let pods: Api<Pod> = Api::namespaced(client, TRIALS);
    let events = watcher(pods.clone(), Config::default()).default_backoff().applied_objects();
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        // A watch that failed is restarted.
        let Ok(pod) = event else { continue };
        let name = pod.name_any();
        let outcome = if pod.metadata.deletion_timestamp.is_some() {
            pods.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop)
        } else if pod.status.is_some_and(|it| it.container_statuses.is_some()) {
            Ok(())
        } else {
            pulled.send_replace(Some(Instant::now()));
            let status = Patch::Merge(pulled_status());
            pods.patch_status(&name, &PatchParams::default(), &status).await.map(drop)
        };
        match outcome {
            // The pod is gone.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Returns the status of a pod whose command does not exist: its image is on the node.
fn pulled_status() -> Value {
    json!({ "status": { "phase": "Failed", "containerStatuses": [{
        "name": "trial", "image": "docker.io/library/busybox:1.36",
        "imageID": format!("docker.io/library/busybox@{}", registry::DIGEST),
        "ready": false, "restartCount": 0, "lastState": {},
        "state": { "terminated": { "reason": "StartError", "exitCode": 128 } },
    }] } })
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{ "name": "main", "image": image }],
        },
    })
}
