//! The workload clusters of a management cluster, as `image-swap fleet status` shows them.

use std::collections::BTreeMap;

use image_swap_cluster::Error;
use image_swap_core::{
    declaration::UnixTime,
    status::workload_cluster::{
        ClusterObject, PLURAL, WorkloadClusterSpec, WorkloadClusterStatus, state,
    },
};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, api::DynamicObject};
use serde::{Deserialize, Serialize};

use crate::objects::{list, resource};

/// Namespaces of an overview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FleetScope {
    /// All namespaces.
    All,
    /// These namespaces.
    Namespaces(Vec<String>),
}

/// Workload clusters of a management cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FleetOverview {
    /// True if the wanted declaration is in force on all clusters, none reports a problem, and all
    /// namespaces could be read.
    pub healthy: bool,
    /// Number of clusters on which the wanted declaration is in force, without a problem.
    pub in_force: usize,
    /// Number of clusters.
    pub total: usize,
    /// Numbers of clusters by their state.
    pub states: BTreeMap<String, usize>,
    /// Clusters, sorted by namespace and name.
    pub clusters: Vec<ClusterRow>,
    /// Namespaces that could not be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Time of the overview, in seconds since 1970, by the reader's clock.
    pub read: UnixTime,
}

/// Workload cluster in an overview.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRow {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Object that stands for the cluster.
    pub source: ClusterObject,
    /// State, for counts.
    pub state: String,
    /// Status of the object.
    pub status: WorkloadClusterStatus,
}

impl FleetOverview {
    /// Returns the overview of `clusters` at the time `read`.
    pub fn of(mut clusters: Vec<ClusterRow>, unreadable: Vec<String>, read: UnixTime) -> Self {
        clusters.sort_by(|one, other| {
            (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name))
        });
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        for cluster in &clusters {
            *states.entry(cluster.state.clone()).or_default() += 1;
        }
        let in_force = states.get(state::IN_FORCE).copied().unwrap_or_default();
        Self {
            healthy: in_force == clusters.len() && unreadable.is_empty(),
            in_force,
            total: clusters.len(),
            states,
            clusters,
            unreadable,
            read,
        }
    }

    /// Returns true if `other` differs at most in the time of the overview.
    pub fn is_like(&self, other: &Self) -> bool {
        *self == Self { read: self.read, ..other.clone() }
    }
}

impl ClusterRow {
    /// Reads a `WorkloadCluster`. A status that cannot be read counts as absent.
    fn read(object: &DynamicObject) -> Self {
        let read = |field: &str| object.data[field].clone();
        let spec: WorkloadClusterSpec = serde_json::from_value(read("spec")).unwrap_or_default();
        let status: WorkloadClusterStatus =
            serde_json::from_value(read("status")).unwrap_or_default();
        Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
            source: spec.source,
            state: status.state().to_owned(),
            status,
        }
    }
}

/// Reads the workload clusters of `scope`.
///
/// # Errors
/// The API server cannot be reached, does not serve the resource, or refuses every namespace. One of
/// several namespaces that cannot be read is in [`FleetOverview::unreadable`].
pub async fn overview(client: &Client, scope: &FleetScope) -> Result<FleetOverview, Error> {
    let (resource, all) = (resource(), vec![None]);
    let places = match scope {
        FleetScope::All => all,
        FleetScope::Namespaces(names) => names.iter().map(Some).collect(),
    };
    let (mut clusters, mut unreadable) = (Vec::new(), Vec::new());
    let mut last = None;
    for place in &places {
        let api: Api<DynamicObject> = match place {
            None => Api::all_with(client.clone(), &resource),
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        };
        let place =
            place.map_or_else(|| "all namespaces".to_owned(), |it| format!("namespace {it}"));
        match list(&api, None).await.map_err(Error::api(format!("list {PLURAL} in {place}"))) {
            Ok(found) => clusters.extend(found.iter().map(ClusterRow::read)),
            Err(error) => match error.code() {
                Some(404) => return Err(not_served()),
                Some(_) => {
                    unreadable.push(error.to_string());
                    last = Some(error);
                }
                // The API server does not answer: other namespaces cannot be read either.
                None => return Err(error),
            },
        }
    }
    match last {
        Some(error) if unreadable.len() == places.len() => Err(error),
        _ => Ok(FleetOverview::of(clusters, unreadable, now())),
    }
}

fn not_served() -> Error {
    let message = format!(
        "the API server does not serve {PLURAL}; name a management cluster, whose release has the \
         chart's value fleet.enabled=true"
    );
    Error::Unread(message)
}

fn now() -> UnixTime {
    UnixTime::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// Returns the seconds since 1970 of `time`, in RFC 3339; `None` for another text.
pub fn unix_time(time: &str) -> Option<UnixTime> {
    UnixTime::try_from(time.parse::<Timestamp>().ok()?.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(name: &str, state: &str) -> ClusterRow {
        ClusterRow {
            namespace: "team".into(),
            name: name.into(),
            state: state.into(),
            ..ClusterRow::default()
        }
    }

    // Programs read the output of `fleet status`.
    #[test]
    fn every_name_is_kept() {
        let overview = FleetOverview::of(vec![row("a", "Paused")], vec!["b".into()], 7);
        let written = json!({
            "healthy": false, "inForce": 0, "total": 1, "states": { "Paused": 1 },
            "clusters": [{
                "namespace": "team", "name": "a", "state": "Paused",
                "source": { "apiVersion": "", "kind": "", "name": "" },
                "status": { "conditions": [] },
            }],
            "unreadable": ["b"], "read": 7,
        });
        assert_eq!(serde_json::to_value(&overview).unwrap(), written);
    }

    #[test]
    fn overview_is_healthy_if_all_are_in_force() {
        let rows = vec![row("b", "InForce"), row("a", "InForce")];
        let overview = FleetOverview::of(rows.clone(), Vec::new(), 1);
        assert!(overview.healthy && overview.in_force == 2);
        assert_eq!(overview.clusters[0].name, "a");
        assert!(!FleetOverview::of(rows.clone(), vec!["c".into()], 1).healthy);
        assert!(overview.is_like(&FleetOverview::of(rows, Vec::new(), 2)));
        let rows = vec![row("b", "InForce"), row("a", "Updating")];
        let other = FleetOverview::of(rows, Vec::new(), 1);
        assert!(!other.healthy && !overview.is_like(&other));
        assert!(FleetOverview::of(Vec::new(), Vec::new(), 1).healthy);
    }

    #[test]
    fn time_is_read() {
        assert_eq!(unix_time("1970-01-01T00:01:00Z"), Some(60));
        assert_eq!(unix_time("yesterday"), None);
    }
}
