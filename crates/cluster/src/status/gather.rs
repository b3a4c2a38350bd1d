//! Reads the state of a release from the cluster.

use image_swap_core::{labels, status::ReplicaStatus};
use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use hyper::Request;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Node, Pod, Secret},
    rbac::v1::ClusterRole,
};
use kube::{Api, Client, api::ListParams, core::PartialObjectMeta};
use tokio::time::timeout;

use super::{
    Leader, Nodes, REPLICAS, ReleaseRef, ReleaseStatus, Replica, Replicas, StuckPod, stuck,
    workloads,
};
use crate::{
    api::{get, registrations},
    clock::now,
    error::{Error, is_answer},
    release::Release,
    replica::ReplicaState,
    report,
};

/// The time in which a replica has to respond.
const PATIENCE: Duration = Duration::from_secs(5);
/// The name of the controller's Deployment in [`ReleaseStatus::unreadable`].
const CONTROLLER: &str = "controller";
/// The name of the port with `/status`.
const ADMIN: &str = "admin";

/// The objects that cannot be read, each with the reason.
#[derive(Default)]
struct Unread(Vec<String>);

impl Unread {
    /// Returns the object that was read; `None` if the API server refused the request, which is
    /// noted.
    ///
    /// # Errors
    /// The API server cannot be reached.
    fn note<T>(&mut self, what: &str, read: Result<T, Error>) -> Result<Option<T>, Error> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error) if is_answer(&error) => {
                self.0.push(format!("{what}: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the releases of a cluster; none without the right to list them.
///
/// # Errors
/// If the API server cannot be reached.
pub async fn find(client: &Client) -> Result<Vec<Release>, Error> {
    let maps: Api<PartialObjectMeta<ConfigMap>> = Api::all(client.clone());
    let selector = format!("{}={},{}", labels::APP_MANAGED_BY, labels::IMAGE_SWAP, labels::RELEASE);
    let selected = ListParams::default().labels(&selector);
    let list = maps.list(&selected).await.map_err(Error::api("list the reports of releases"));
    let list = Unread::default().note("releases", list)?;
    let reported = list.into_iter().flatten().filter_map(|map| {
        let name = map.metadata.labels?.get(labels::RELEASE)?.clone();
        let release = Release { namespace: map.metadata.namespace?, name };
        (map.metadata.name? == release.status()).then_some(release)
    });
    let mut releases: Vec<Release> = reported.collect();
    // A release whose controller never ran has no report.
    let deployments: Api<PartialObjectMeta<Deployment>> = Api::all(client.clone());
    let of_charts = [
        [labels::APP_NAME, labels::IMAGE_SWAP].join("="),
        [labels::APP_COMPONENT, labels::ADMISSION].join("="),
    ];
    let of_charts = ListParams::default().labels(&of_charts.join(","));
    let list = deployments.list(&of_charts).await.map_err(Error::api("list Deployments"));
    let list = Unread::default().note("Deployments", list)?;
    for deployment in list.into_iter().flatten() {
        let (name, namespace) = (deployment.metadata.name, deployment.metadata.namespace);
        let name = name.as_deref().and_then(|name| name.strip_suffix("-admission"));
        if let (Some(name), Some(namespace)) = (name, namespace) {
            let release = Release { namespace, name: name.to_owned() };
            if !releases.contains(&release) {
                releases.push(release);
            }
        }
    }
    Ok(releases)
}

pub(super) async fn all(client: &Client, release: &Release) -> Result<ReleaseStatus, Error> {
    let Release { namespace, name } = release;
    let mut unreadable = Unread::default();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let map = unreadable.note("the controller's report", get(&maps, &release.status()).await)?;
    let deployment = unreadable.note(REPLICAS, get(&deployments, &release.admission()).await)?;
    if let (Some(None), Some(None)) = (&map, &deployment) {
        return Err(Error::NoRelease { name: name.clone(), namespace: namespace.clone() });
    }
    let report = map.flatten().as_ref().and_then(report::read);
    let leader = leader(client, release, &mut unreadable).await?;
    let (registered, leaving) = live(client, release, &mut unreadable).await?;
    let mut stuck = Vec::new();
    let exemptions = workloads::exemptions(deployment.as_ref().and_then(Option::as_ref));
    let replicas = match deployment.flatten() {
        Some(deployment) => replicas(client, &deployment, &mut unreadable, &mut stuck).await?,
        None => None,
    };
    let controller = get(&deployments, &release.controller()).await;
    if let Some(Some(controller)) = unreadable.note(CONTROLLER, controller)? {
        pods(client, &controller, CONTROLLER, &mut unreadable, &mut stuck).await?;
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let effective =
        unreadable.note("the rules in force", get(&secrets, &release.effective()).await)?;
    let served = effective.flatten().and_then(|secret| ReplicaState::read(&secret));
    let policy = report.as_ref().map(|report| &report.policy);
    let rules = served.as_ref().map(|it| &it.rules);
    let pods = workloads::running(client, policy, rules, exemptions).await;
    let (pods, unpulled) = unreadable.note("running pods", pods)?.unzip();
    let trust = report.as_ref().map(|report| report.trust.as_str()).unwrap_or_default();
    let nodes = if trust.is_empty() {
        None
    } else {
        unreadable.note("nodes", nodes(client, trust).await)?
    };
    let Unread(unreadable) = unreadable;
    let release = ReleaseRef { namespace: namespace.clone(), name: name.clone() };
    let read = now();
    Ok(ReleaseStatus {
        release,
        unreadable,
        leader,
        registered,
        leaving,
        report,
        replicas,
        stuck,
        unpulled,
        pods,
        nodes,
        read,
        ..ReleaseStatus::default()
    })
}

/// Returns the present state, which may be newer than the report: true if a registration has
/// entries, and true if the release is leaving.
async fn live(
    client: &Client,
    release: &Release,
    unreadable: &mut Unread,
) -> Result<(Option<bool>, bool), Error> {
    let registration = get(&registrations(client), &release.admission()).await;
    let registered = unreadable.note("the registration", registration)?.map(|found| {
        let entries = found.as_ref().and_then(|it| it.data["webhooks"].as_array());
        entries.is_some_and(|entries| !entries.is_empty())
    });
    let anchors: Api<PartialObjectMeta<ClusterRole>> = Api::all(client.clone());
    let anchor =
        unreadable.note("the release's ClusterRole", get(&anchors, release.anchor()).await)?;
    let leaving = anchor.is_some_and(|anchor| {
        anchor.is_none_or(|anchor| {
            let annotations = anchor.metadata.annotations.as_ref();
            let mark = annotations.and_then(|all| all.get(labels::LEAVING));
            anchor.metadata.deletion_timestamp.is_some() || mark.is_some_and(|it| it == "true")
        })
    });
    Ok((registered, leaving))
}

async fn leader(
    client: &Client,
    release: &Release,
    unreadable: &mut Unread,
) -> Result<Option<Leader>, Error> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &release.namespace);
    let lease = unreadable
        .note("the Lease of the controller", get(&leases, &release.controller()).await)?;
    let Some(spec) = lease.flatten().and_then(|lease| lease.spec) else { return Ok(None) };
    let seconds = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(Some(Leader {
        holder: spec.holder_identity.unwrap_or_default(),
        renewed: spec.renew_time.map_or(0, |time| seconds(time.0.as_second())),
        lasts: seconds(spec.lease_duration_seconds.unwrap_or_default().into()),
    }))
}

async fn replicas(
    client: &Client,
    deployment: &Deployment,
    unreadable: &mut Unread,
    stuck: &mut Vec<StuckPod>,
) -> Result<Option<Replicas>, Error> {
    let spec = deployment.spec.as_ref();
    let Some(pods) = pods(client, deployment, REPLICAS, unreadable, stuck).await? else {
        return Ok(None);
    };
    let count = |number: Option<i32>| u64::try_from(number.unwrap_or_default()).unwrap_or_default();
    let mut pods = join_all(pods.iter().map(|pod| replica(client, pod))).await;
    pods.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Some(Replicas {
        wanted: count(spec.and_then(|spec| spec.replicas).or(Some(1))),
        ready: count(deployment.status.as_ref().and_then(|status| status.ready_replicas)),
        pods,
    }))
}

/// Returns the pods of `deployment` that are not being deleted, and adds those that cannot
/// start to `stuck`. `None`: they may not be read.
async fn pods(
    client: &Client,
    deployment: &Deployment,
    what: &str,
    unreadable: &mut Unread,
    stuck: &mut Vec<StuckPod>,
) -> Result<Option<Vec<Pod>>, Error> {
    stuck.extend(stuck::uncreated(deployment));
    let spec = deployment.spec.as_ref();
    let labels = spec.and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let list = pods.list(&ListParams::default().labels(&selector(&labels))).await;
    let list = list.map_err(Error::api(format!("list the pods of the {what}")));
    let Some(mut list) = unreadable.note(what, list)? else { return Ok(None) };
    list.items.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    stuck.extend(list.items.iter().filter_map(stuck::stuck));
    Ok(Some(list.items))
}

fn selector(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

async fn replica(client: &Client, pod: &Pod) -> Replica {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut replica = Replica {
        name: pod.metadata.name.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        ready: conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True"),
        ..Replica::default()
    };
    if let Some(stuck) = stuck::stuck(pod) {
        replica.error = Some(format!("cannot start: {}", stuck.reason));
        return replica;
    }
    match timeout(PATIENCE, query(client, pod)).await {
        Ok(Ok(answer)) => replica.answer = Some(answer),
        Ok(Err(reason)) => replica.error = Some(reason),
        Err(_) => replica.error = Some(format!("no response within {} s", PATIENCE.as_secs())),
    }
    replica
}

/// Returns a replica's own status, read through the API server.
async fn query(client: &Client, pod: &Pod) -> Result<ReplicaStatus, String> {
    let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
    let (Some(namespace), Some(name)) = (namespace, name) else {
        return Err("the pod has no name".to_owned());
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let port = ports.into_iter().find(|port| port.name.as_deref() == Some(ADMIN));
    let port = port.ok_or_else(|| format!("the pod has no port named {ADMIN}"))?.container_port;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/status");
    let request = Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    client
        .request(request)
        .await
        .map_err(|error| Error::api("query the pod through the API server")(error).to_string())
}

async fn nodes(client: &Client, trust: &str) -> Result<Nodes, Error> {
    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let list = nodes.list(&ListParams::default()).await.map_err(Error::api("list nodes"))?;
    let is_configured = |node: &&PartialObjectMeta<Node>| {
        let annotations = node.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(labels::TRUSTS)).is_some_and(|it| it == trust)
    };
    Ok(Nodes { all: list.items.len(), configured: list.items.iter().filter(is_configured).count() })
}
