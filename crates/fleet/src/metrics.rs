//! Metrics of the fleet controller: counts of clusters, without a label for each cluster.

use std::{collections::BTreeMap, fmt};

use image_swap_cluster::Leadership;
use image_swap_core::status::workload_cluster::state;
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(found, 12);
    }
}
