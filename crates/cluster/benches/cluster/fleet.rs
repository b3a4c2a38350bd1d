//! The controller with thousands of Nodes. The benchmark plays their agents and kubelets.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    pin::pin,
    str,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::StreamExt as _;
use image_swap_cluster::client;
use image_swap_core::status::NodeDeclaration;
use image_swap_load::{Outcome, process};
use image_swap_testbed::{ControlPlane, Port, RunDir};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, watcher},
    },
};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    PATIENCE,
    controller::RELEASE,
    stage::{self, DECLARED, PlayedRegistry},
};

const NODES: usize = 5000;
/// Nodes that are created, and agents that report, at the same time.
const AT_ONCE: usize = 16;
const BOOT: &str = "boot";

/// The nodes by name.
type Fleet = Arc<Mutex<BTreeMap<String, FleetNode>>>;

/// A `NodeMirror`, with its played agent.
#[derive(Default)]
struct FleetNode {
    uid: String,
    /// Number of the last report; `None` before the first.
    reported: Option<u64>,
    /// Number in the `NodeMirror`.
    applied: Option<u64>,
    is_verified: bool,
}

pub(crate) async fn measure(control_plane: &ControlPlane, binary: &Path) -> Outcome<()> {
    let directory = RunDir::new("bench")?;
    let client = client(Some(control_plane.kubeconfig())).await?;
    stage::install(control_plane, directory.path())?;
    let begun = Instant::now();
    seed(&client).await?;
    eprintln!("{NODES} Nodes with agents in {:.0} s", begun.elapsed().as_secs_f64());

    let registry = PlayedRegistry::start(directory.path()).await?;
    let fleet = Fleet::default();
    let mut played = JoinSet::new();
    played.spawn(stage::kubelets(client.clone(), watch::channel(None).0));
    played.spawn(agents(client.clone(), Arc::clone(&fleet)));
    let rollouts = async {
        let admin = Port::reserve()?;
        let mut arguments = stage::arguments(control_plane);
        arguments.push(format!("--admin-listen=127.0.0.1:{}", admin.number()));
        let begun = Instant::now();
        let controller = process::start(binary, arguments, &admin, directory.path())?;
        reaches(&fleet, |node| node.applied == Some(1)).await?;
        println!("# {NODES} Nodes had a report after {:.0} s", begun.elapsed().as_secs_f64());
        let mut times = Vec::new();
        for (number, path) in (2..).zip(["first", "second"]) {
            let begun = Instant::now();
            registry.declare(&client, path).await?;
            reaches(&fleet, |node| node.applied == Some(number) && node.is_verified).await?;
            times.push(begun.elapsed().as_secs_f64());
        }
        let [first, second] = times[..] else { return Err("two rollouts".into()) };
        println!("nodes/rollout-{NODES}-s {first:.1}");
        println!("# the next declaration was on all of them after {second:.1} s");
        println!("# CPU of the controller: {:.1} s", process::cpu(&controller)?);
        println!("controller/nodes-rss-mib {:.1}", process::memory(&controller, "VmRSS:")?);
        println!("controller/nodes-peak-rss-mib {:.1}", process::memory(&controller, "VmHWM:")?);
        Outcome::Ok(())
    };
    tokio::select! {
        done = rollouts => done,
        ended = played.join_next() => Err(format!("a played part ended: {ended:?}").into()),
    }
}

/// Creates the Nodes and the pods of their agents.
async fn seed(client: &Client) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE {
        let client = client.clone();
        tasks.spawn(async move {
            for number in (first..NODES).step_by(AT_ONCE) {
                stage::add_node(&client, &format!("n-{number}"), BOOT).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Waits until `is_done` returns true for every Node.
async fn reaches(fleet: &Fleet, is_done: impl Fn(&FleetNode) -> bool) -> Outcome<()> {
    let begun = Instant::now();
    loop {
        let done = {
            let fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
            fleet.values().filter(|node| is_done(node)).count()
        };
        if done == NODES {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("expected {NODES} Nodes to be done, found {done}").into());
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Simulates the agents of all nodes: each reports the declaration of its node as applied.
async fn agents(client: Client, fleet: Fleet) -> Outcome<()> {
    let kind = GroupVersionKind::gvk("image-swap.io", "v1alpha1", "NodeMirror");
    let kind = ApiResource::from_gvk_with_plural(&kind, "nodemirrors");
    let mirrors: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    let secrets: Api<Secret> = Api::namespaced(client, RELEASE);
    let config = Config::default().fields(&format!("metadata.name={DECLARED}"));
    let mut states = pin!(watcher(secrets, config).default_backoff().applied_objects());
    let changed = watcher(mirrors.clone(), Config::default()).default_backoff();
    let mut changed = pin!(changed.applied_objects());
    let mut declaration = NodeDeclaration::default();
    let mut due = VecDeque::new();
    let mut reports = JoinSet::new();
    loop {
        tokio::select! {
            secret = states.next() => {
                // A watch that failed is restarted.
                let Ok(secret) = secret.ok_or("the watch of the Secret ended")? else { continue };
                let data = secret.data.as_ref();
                declaration =
                    NodeDeclaration::read(|key| str::from_utf8(&data?.get(key)?.0).ok());
                let fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
                due.extend(fleet.keys().cloned());
            }
            mirror = changed.next() => {
                let mirror = mirror.ok_or("the watch of the NodeMirrors ended")?;
                let Ok(mirror) = mirror else { continue };
                let name = mirror.name_any();
                let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
                fleet.entry(name.clone()).or_default().note(&mirror);
                due.push_back(name);
            }
            Some(reported) = reports.join_next() => reported??,
        }
        while reports.len() < AT_ONCE {
            let Some(name) = due.pop_front() else { break };
            let Some(number) = declaration.for_node(&name).map(|it| it.number) else { continue };
            let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(node) = fleet.get_mut(&name) else { continue };
            if !node.uid.is_empty() && node.reported != Some(number) {
                node.reported = Some(number);
                reports.spawn(report(mirrors.clone(), name, node.uid.clone(), number));
            }
        }
    }
}

impl FleetNode {
    fn note(&mut self, mirror: &DynamicObject) {
        let status = &mirror.data["status"];
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        self.applied = status["appliedRevision"].as_u64();
        self.is_verified = conditions.any(|it| it["type"] == "Verified" && it["status"] == "True");
        mirror.data["spec"]["nodeUid"].as_str().unwrap_or_default().clone_into(&mut self.uid);
    }
}

/// Reports as the agent of a node does once its files are in place.
async fn report(
    mirrors: Api<DynamicObject>,
    name: String,
    uid: String,
    number: u64,
) -> Outcome<()> {
    let condition = |kind, status, reason| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-29T00:00:00Z",
        })
    };
    let object = json!({
        "apiVersion": "image-swap.io/v1alpha1", "kind": "NodeMirror", "metadata": { "name": name },
        "status": {
            "nodeUid": uid, "bootID": BOOT, "wantedRevision": number, "appliedRevision": number,
            "inexpressible": [],
            "conditions": [
                condition("Applied", "True", "InPlace"),
                condition("NeedsRestart", "Unknown", "StartUnknown"),
                condition("Degraded", "False", "Nothing"),
            ],
        },
    });
    let params = PatchParams::apply("image-swap-agent").force();
    mirrors.patch_status(&name, &params, &Patch::Apply(&object)).await?;
    Ok(())
}
