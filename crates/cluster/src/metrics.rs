//! Metrics of the controller: its report and its leadership.
//!
//! The report is read whenever the metrics are, so that metrics and status never disagree.

use std::fmt;

use image_swap_serve::{
    AdminPages,
    metrics::{self, counter, gauge},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet},
    metrics::{MetricType, info::Info},
    registry::Registry,
};
use tokio::sync::watch;

use crate::{
    health::OUTCOMES,
    lease::Leadership,
    report::{PullSecrets, Report},
};

/// The controller's metrics.
#[derive(Debug)]
pub struct ControllerMetrics {
    registry: Registry,
    /// True once the controller is ready; `None` if it is ready from the beginning.
    ready: Option<watch::Receiver<bool>>,
}

#[derive(Debug)]
struct ReportCollector {
    report: watch::Receiver<Report>,
    leadership: Leadership,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    source: String,
    severity: String,
    code: String,
    line: u64,
    column: u64,
}

impl ControllerMetrics {
    /// Returns the metrics of a controller by its report.
    pub fn new(report: watch::Receiver<Report>, leadership: Leadership) -> Self {
        let mut registry = Registry::with_prefix("image_swap_controller");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running program", version);
        registry.register_collector(Box::new(ReportCollector { report, leadership }));
        Self { registry, ready: None }
    }

    /// Returns the same metrics of a controller that is ready once `ready` is true.
    #[must_use]
    pub fn ready_by(self, ready: watch::Receiver<bool>) -> Self {
        Self { ready: Some(ready), ..self }
    }

    /// Returns all metrics in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// If it cannot be formatted: never, in fact.
    pub fn text(&self) -> Result<String, fmt::Error> {
        metrics::text(&self.registry)
    }
}

impl AdminPages for ControllerMetrics {
    /// The readiness does not depend on the leadership.
    fn not_ready(&self) -> Option<&'static str> {
        let is_ready = self.ready.as_ref().is_none_or(|ready| *ready.borrow());
        (!is_ready).then_some("the registration is not in force yet\n")
    }

    fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Collector for ReportCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let leads = *self.leadership.borrow();
        gauge(&mut encoder, "leader", "Whether this controller leads", leads)?;
        // Only the leader knows the state of the cluster.
        if !leads {
            return Ok(());
        }
        let report = self.report.borrow().clone();
        report.encode(&mut encoder)
    }
}

impl Report {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let declared = &self.declaration;
        gauge(encoder, "rules", "Rules in force", declared.rules)?;
        labelled(
            encoder,
            "declaration_refused",
            "1 for a declaration that is refused; what it declared before stays in force",
            "source",
            &[
                ("registry-info", declared.refused.iter().any(|it| it == "registry-info")),
                ("chart", declared.refused.iter().any(|it| it == "chart")),
            ],
        )?;
        let differs = !declared.differs.is_empty();
        let help = "Whether the chart's declaration differs from registry-info, which wins";
        gauge(encoder, "declarations_differ", help, differs)?;
        self.encode_findings(encoder)?;
        let enforces = self.policy.mode == "enforce";
        gauge(encoder, "enforcing", "Whether pods are changed", enforces)?;
        let fails = self.policy.failure_policy == "Fail";
        let help = "Whether ordinary pods that cannot be reviewed are refused";
        gauge(encoder, "failure_policy_fail", help, fails)?;
        let help = "Whether every API server that answers probes reaches a replica";
        gauge(encoder, "probe_reached", help, self.policy.probe == "reached")?;
        let help = "Probes that failed since the last that succeeded, or among others that succeed";
        gauge(encoder, "probe_failures", help, self.policy.failures)?;
        for (name, lifetime) in [("authority", self.authority), ("certificate", self.certificate)] {
            if let Some(lifetime) = lifetime {
                let name = format!("{name}_expiry_timestamp_seconds");
                let help = "When it expires, in seconds since 1970";
                gauge(encoder, &name, help, lifetime.not_after)?;
            }
        }
        if let Some(registry) = &self.registry {
            let help = "Whether the declared registry answers, and takes the credential";
            gauge(encoder, "registry_unhealthy", help, registry.is_bad())?;
            let outcomes = OUTCOMES.map(|outcome| (outcome, registry.outcome == outcome));
            let help = "What became of the last check of the declared registry";
            labelled(encoder, "registry_check", help, "outcome", &outcomes)?;
            if let Some(expires) = registry.expires {
                let help = "When the registry's certificate expires, in seconds since 1970";
                gauge(encoder, "registry_certificate_expiry_timestamp_seconds", help, expires)?;
            }
        }
        self.pull_secrets.encode(encoder)?;
        let help = "Owners whose pods are deleted and created again and again";
        gauge(encoder, "recreated_pod_owners", help, self.recreated.len())?;
        let help = "What nodes have to be told before they can pull swapped images";
        gauge(encoder, "node_needs", help, self.node_needs)?;
        let alive = self.foreign.iter().filter(|other| other.alive).count();
        let help = "Other programs that swap images, by whether anybody answers";
        gauge(encoder, "other_image_swappers_alive", help, alive)?;
        let dead = self.foreign.len() - alive;
        gauge(encoder, "other_image_swappers_dead", help, dead)?;
        self.encode_failing(encoder)?;
        let help = "How often the registration was repaired after another writer changed it";
        counter(encoder, "repairs", help, self.repairs)
    }

    fn encode_failing(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.failing.iter().map(|step| step.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Ok(());
        }
        let help = "1 for each step that failed in the last reconciliation";
        let rows: Vec<(&str, bool)> = names.into_iter().map(|name| (name, true)).collect();
        labelled(encoder, "failing_step", help, "step", &rows)
    }

    fn encode_findings(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Findings in the declarations";
        gauge(encoder, "declaration_findings", help, self.declaration.finding_count)?;
        if self.declaration.findings.is_empty() {
            return Ok(());
        }
        let help = "1 for each of the first findings in a declaration, by place";
        let mut family =
            encoder.encode_descriptor("declaration_finding", help, None, MetricType::Gauge)?;
        let mut seen = std::collections::HashSet::new();
        for found in &self.declaration.findings {
            let labels = FindingLabels {
                source: found.source.clone(),
                severity: found.severity.clone(),
                code: found.code.clone(),
                line: u64::try_from(found.line).unwrap_or(u64::MAX),
                column: u64::try_from(found.column).unwrap_or(u64::MAX),
            };
            // Two of a kind at one place are one row.
            if seen.insert(labels.clone()) {
                family.encode_family(&labels)?.encode_gauge(&1_i64)?;
            }
        }
        Ok(())
    }
}

impl PullSecrets {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Namespaces that have the pull Secret as it should be";
        gauge(encoder, "pull_secrets", help, self.namespaces)?;
        let help = "Namespaces in which somebody else's Secret has its name";
        gauge(encoder, "pull_secrets_foreign", help, self.foreign_count)?;
        let help = "Namespaces in which it could not be written, and is tried again";
        gauge(encoder, "pull_secrets_failing", help, self.failed)?;
        let help = "How often a pull Secret was written or deleted";
        counter(encoder, "pull_secret_writes", help, self.writes)
    }
}

fn labelled(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    rows: &[(&str, bool)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (value, is) in rows {
        family.encode_family(&[(label, *value)])?.encode_gauge(&i64::from(*is))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Declared, Found};

    #[test]
    fn a_finding_is_told_by_line_and_column_and_only_by_the_leader() {
        let finding = Found {
            source: "registry-info".into(),
            severity: "error".into(),
            code: "invalid-target".into(),
            line: 2,
            column: 9,
            message: "expected a target".into(),
            ..Found::default()
        };
        let declaration = Declared {
            refused: vec!["registry-info".into()],
            findings: vec![finding.clone(), finding],
            ..Declared::default()
        };
        let (_report, report) = watch::channel(Report { declaration, ..Report::default() });
        let (leads, leadership) = watch::channel(false);
        let metrics = ControllerMetrics::new(report, leadership);
        assert!(!metrics.text().unwrap().contains("finding"));
        leads.send_replace(true);
        let text = metrics.text().unwrap();
        let row = r#"image_swap_controller_declaration_finding{source="registry-info",severity="error",code="invalid-target",line="2",column="9"} 1"#;
        assert_eq!(text.matches(row).count(), 1, "{text}");
        assert!(text.contains(r#"declaration_refused{source="registry-info"} 1"#), "{text}");
    }
}
