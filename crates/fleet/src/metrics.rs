//! Metrics of the fleet controller: counts of clusters. Only on request a metric has a label for each
//! cluster.

use std::{collections::BTreeMap, fmt};

use image_swap_cluster::Leadership;
use image_swap_core::{fleet::inventory::ClusterKey, status::workload_cluster::state};
use image_swap_serve::{AdminPages, metrics::gauge};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, info::Info},
    registry::Registry,
};
use tokio::sync::watch;

/// Report of the fleet controller, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetReport {
    /// Number of clusters in each state.
    pub states: BTreeMap<String, u64>,
    /// State of each cluster; empty unless the metrics have it.
    pub clusters: BTreeMap<ClusterKey, String>,
    /// Number of the newest declaration; `None` without one.
    pub revision: Option<u64>,
    /// True if a failed cluster stopped the rollout.
    pub is_stopped: bool,
}

/// The metrics of the fleet controller.
#[derive(Debug)]
pub struct FleetMetrics {
    registry: Registry,
}

#[derive(Debug)]
struct FleetCollector {
    report: watch::Receiver<FleetReport>,
    leadership: Leadership,
}

impl FleetMetrics {
    /// Returns the metrics of a fleet controller by its report.
    pub fn new(report: watch::Receiver<FleetReport>, leadership: Leadership) -> Self {
        let mut registry = Registry::with_prefix("image_swap_fleet");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the running program", version);
        registry.register_collector(Box::new(FleetCollector { report, leadership }));
        Self { registry }
    }
}

impl AdminPages for FleetMetrics {
    fn not_ready(&self) -> Option<&'static str> {
        None
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Collector for FleetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let leads = *self.leadership.borrow();
        gauge(&mut encoder, "leader", "1 if this fleet controller leads", leads)?;
        if !leads {
            return Ok(());
        }
        let report = self.report.borrow().clone();
        let help = "Number of the newest declaration of the management cluster";
        gauge(&mut encoder, "revision", help, report.revision.unwrap_or_default())?;
        let help = "1 if a failed cluster stopped the rollout";
        gauge(&mut encoder, "rollout_stopped", help, report.is_stopped)?;
        let help = "Workload clusters by state";
        let mut clusters = encoder.encode_descriptor("clusters", help, None, MetricType::Gauge)?;
        for state in state::ALL {
            let number = report.states.get(state).copied().unwrap_or_default();
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            clusters.encode_family(&[("state", state)])?.encode_gauge(&number)?;
        }
        encode_clusters(&mut encoder, &report.clusters)
    }
}

/// Writes the state of each cluster.
fn encode_clusters(
    encoder: &mut DescriptorEncoder<'_>,
    clusters: &BTreeMap<ClusterKey, String>,
) -> fmt::Result {
    if clusters.is_empty() {
        return Ok(());
    }
    let help = "1 for the present state of a workload cluster";
    let mut states = encoder.encode_descriptor("cluster_state", help, None, MetricType::Gauge)?;
    for (key, state) in clusters {
        let name = key.object_name();
        let labels = [("namespace", &key.namespace), ("name", &name), ("state", state)];
        states.encode_family(&labels)?.encode_gauge(&1_i64)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use image_swap_core::fleet::inventory::ClusterSource;

    use super::*;

    #[test]
    fn only_a_report_of_clusters_has_their_names() {
        let (sender, report) = watch::channel(FleetReport::default());
        let (_leads, leadership) = watch::channel(true);
        let metrics = FleetMetrics::new(report, leadership);
        let text = || image_swap_serve::metrics::text(metrics.registry()).unwrap();
        assert!(!text().contains("cluster_state"), "{}", text());
        let key = ClusterKey {
            namespace: "team".into(),
            source: ClusterSource::Kubeconfig,
            name: "edge".into(),
        };
        sender.send_modify(|it| it.clusters = BTreeMap::from([(key, "Failed".to_owned())]));
        let sample = "image_swap_fleet_cluster_state\
                      {namespace=\"team\",name=\"edge.kubeconfig\",state=\"Failed\"} 1\n";
        assert!(text().contains(sample), "{}", text());
    }

    #[test]
    fn alerts_of_the_chart_use_existing_metrics() {
        let rule = include_str!("../../../charts/image-swap/templates/fleet/prometheusrule.yaml");
        let (_report, report) = watch::channel(FleetReport::default());
        let (_leads, leadership) = watch::channel(true);
        let metrics = FleetMetrics::new(report, leadership);
        let metrics = image_swap_serve::metrics::text(metrics.registry()).unwrap();
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let mut found = 0;
        for (at, _) in rule.match_indices("image_swap_fleet_") {
            let (name, rest) = rule[at..].split_once(|it: char| !is_name(it)).unwrap();
            let is_sample = |line: &str| line.split(['{', ' ']).next() == Some(name);
            assert!(metrics.lines().any(is_sample), "{name} is not in {metrics}");
            found += 1;
            // Each state of an expression is one that is exported.
            let states = rest.split_once('}').filter(|_| name == "image_swap_fleet_clusters");
            let states = states.and_then(|(inner, _)| inner.split('"').nth(1));
            if let Some(state) = states {
                let sample = format!("image_swap_fleet_clusters{{state=\"{state}\"}} 0");
                assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
                found += 1;
            }
        }
        assert_eq!(found, 14);
    }
}
