//! Metrics of the controller: its report and its leadership.
//!
//! The report is read whenever the metrics are, so that metrics and status never disagree.

use std::fmt;

use image_swap_core::{
    admission::Mode,
    control::{effective::Origin, policy::FailurePolicy},
    status::{AgentsStatus, ControllerReport, ProbeStatus, PullSecretStatus, RegistryOutcome},
};
use image_swap_serve::{
    AdminPages,
    metrics::{self, counter, gauge},
};
use prometheus_client::{
    collector::Collector,
    encoding::DescriptorEncoder,
    metrics::{MetricType, info::Info},
    registry::Registry,
};
use tokio::sync::watch;

use crate::lease::Leadership;

/// The controller's metrics.
#[derive(Debug)]
pub struct ControllerMetrics {
    registry: Registry,
    /// True once the controller is ready; `None` if it is ready from the beginning.
    ready: Option<watch::Receiver<bool>>,
}

#[derive(Debug)]
struct ReportCollector {
    report: watch::Receiver<ControllerReport>,
    leadership: Leadership,
}

impl ControllerMetrics {
    /// Returns the metrics of a controller by its report.
    pub fn new(report: watch::Receiver<ControllerReport>, leadership: Leadership) -> Self {
        let mut registry = Registry::with_prefix("image_swap_controller");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the running program", version);
        registry.register_collector(Box::new(ReportCollector { report, leadership }));
        Self { registry, ready: None }
    }

    /// Makes `/readyz` report the controller as ready once `ready` is true. Without this call it is
    /// ready from the start.
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
    /// Returns the message of a controller that is not ready. Readiness does not depend on
    /// leadership.
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
        gauge(&mut encoder, "leader", "1 if this controller leads", leads)?;
        // Only the leader knows the state of the cluster.
        if !leads {
            return Ok(());
        }
        let report = self.report.borrow().clone();
        encode_report(&report, &mut encoder)
    }
}

fn encode_report(report: &ControllerReport, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let declared = &report.declaration;
    gauge(encoder, "rules", "Rules in force", declared.rules)?;
    labelled(
        encoder,
        "declaration_refused",
        "1 for a declaration that is invalid; its last valid content stays in force",
        "source",
        &[Origin::RegistryInfo, Origin::Chart]
            .map(|origin| (origin.as_str(), declared.refused.contains(&origin))),
    )?;
    let differs = !declared.differs.is_empty();
    let help = "1 if the chart's declaration differs from registry-info, which takes precedence";
    gauge(encoder, "declarations_differ", help, differs)?;
    encode_findings(report, encoder)?;
    let enforces = report.policy.mode == Some(Mode::Enforce);
    gauge(encoder, "enforcing", "1 if pods are changed", enforces)?;
    let fails = report.policy.failure_policy == Some(FailurePolicy::Fail);
    let help = "1 if ordinary pods that cannot be reviewed are refused";
    gauge(encoder, "failure_policy_fail", help, fails)?;
    let help = "1 if every API server that responds to probes reaches a replica";
    gauge(encoder, "probe_reached", help, report.policy.probe == ProbeStatus::Reached)?;
    let help = "Failed probes since the last success, or between successful ones";
    gauge(encoder, "probe_failures", help, report.policy.failures)?;
    for (name, what, lifetime) in [
        ("authority", "CA", report.authority),
        ("certificate", "serving certificate", report.certificate),
    ] {
        if let Some(lifetime) = lifetime {
            let name = format!("{name}_expiry_timestamp_seconds");
            let help = format!("Expiry of the {what}, in seconds since 1970");
            gauge(encoder, &name, &help, lifetime.not_after)?;
        }
    }
    if let Some(registry) = &report.registry {
        let help = "1 if the check of the declared registry failed";
        gauge(encoder, "registry_unhealthy", help, registry.is_bad())?;
        let outcomes =
            RegistryOutcome::ALL.map(|outcome| (outcome.as_str(), registry.outcome == outcome));
        let help = "1 for the outcome of the last check of the declared registry";
        labelled(encoder, "registry_check", help, "outcome", &outcomes)?;
        if let Some(expires) = registry.expires {
            let help = "Expiry of the registry's certificate, in seconds since 1970";
            gauge(encoder, "registry_certificate_expiry_timestamp_seconds", help, expires)?;
        }
    }
    encode_pull_secrets(&report.pull_secrets, encoder)?;
    if let Some(agents) = &report.agents {
        encode_agents(agents, encoder)?;
    }
    let help = "Owners whose pods are repeatedly deleted and created";
    gauge(encoder, "recreated_pod_owners", help, report.recreated.len())?;
    let help = "Requirements that nodes must meet before they can pull swapped images";
    gauge(encoder, "node_requirements", help, report.node_requirements)?;
    let alive = report.foreign.iter().filter(|other| other.alive).count();
    let help = "Webhook configurations of other programs that swap images";
    gauge(encoder, "other_image_swappers_alive", help, alive)?;
    let dead = report.foreign.len() - alive;
    gauge(encoder, "other_image_swappers_dead", help, dead)?;
    encode_failing(report, encoder)?;
    let help = "Repairs of the registration after another writer changed it";
    counter(encoder, "repairs", help, report.repairs)
}

fn encode_failing(report: &ControllerReport, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut names: Vec<&str> = report.failing.iter().map(|step| step.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    let help = "1 for each step that failed in the last reconciliation";
    let rows: Vec<(&str, bool)> = names.into_iter().map(|name| (name, true)).collect();
    labelled(encoder, "failing_step", help, "step", &rows)
}

fn encode_findings(report: &ControllerReport, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Findings in the declarations";
    gauge(encoder, "declaration_findings", help, report.declaration.finding_count)?;
    if report.declaration.findings.is_empty() {
        return Ok(());
    }
    let help = "1 for each listed finding in a declaration, by line and column";
    let mut family =
        encoder.encode_descriptor("declaration_finding", help, None, MetricType::Gauge)?;
    let mut seen = std::collections::HashSet::new();
    for found in &report.declaration.findings {
        let labels = [
            ("source", found.source.as_str().to_owned()),
            ("severity", found.severity.as_str().to_owned()),
            ("code", found.code.clone()),
            ("line", found.line.to_string()),
            ("column", found.column.to_string()),
        ];
        // Equal findings at the same place are one row.
        if seen.insert(labels.clone()) {
            family.encode_family(&labels)?.encode_gauge(&1_i64)?;
        }
    }
    Ok(())
}

fn encode_pull_secrets(
    status: &PullSecretStatus,
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let help = "Namespaces that have a current pull Secret";
    gauge(encoder, "pull_secrets", help, status.namespaces)?;
    let help = "Namespaces in which another program owns the Secret image-swap-pull";
    gauge(encoder, "pull_secrets_foreign", help, status.foreign_count)?;
    let help = "Namespaces in which the pull Secret cannot be written";
    gauge(encoder, "pull_secrets_failing", help, status.failed)?;
    let help = "Writes and deletions of pull Secrets";
    counter(encoder, "pull_secret_writes", help, status.writes)
}

fn encode_agents(agents: &AgentsStatus, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Nodes by state: applied, or the reason why the declaration is not in force";
    let mut family = encoder.encode_descriptor("nodes", help, None, MetricType::Gauge)?;
    let pending = agents.pending.iter().map(|row| (row.reason.as_str(), row.count));
    for (state, count) in [("applied", agents.applied)].into_iter().chain(pending) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        family.encode_family(&[("state", state)])?.encode_gauge(&count)?;
    }
    let help = "Number of the declaration that nodes are to have";
    gauge(encoder, "nodes_revision", help, agents.revision)?;
    let help = "Number of the declaration that a trial has verified";
    gauge(encoder, "nodes_verified_revision", help, agents.verified_revision)?;
    let help = "1 if the trial of the last declaration failed, and nodes keep the one before";
    gauge(encoder, "trial_failed", help, agents.failed)?;
    let help = "1 if no node is restarted until an administrator acts";
    gauge(encoder, "node_restarts_stopped", help, agents.restarts_stopped)
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
    use image_swap_core::{
        diagnostic::Severity,
        status::{
            CertificateLifetime, DeclarationStatus, DiagnosticRow, FailingStep, RegistryStatus,
        },
    };

    use super::*;

    /// Returns the metrics of a leader with every part of a report.
    fn full_report() -> String {
        let lifetime = Some(CertificateLifetime { not_before: 0, not_after: 1 });
        let registry = RegistryStatus { expires: Some(1), ..RegistryStatus::default() };
        let report = ControllerReport {
            authority: lifetime,
            certificate: lifetime,
            registry: Some(registry),
            failing: vec![FailingStep::default()],
            agents: Some(AgentsStatus { nodes: 2, applied: 2, ..AgentsStatus::default() }),
            ..ControllerReport::default()
        };
        let (_report, report) = watch::channel(report);
        let (_leads, leadership) = watch::channel(true);
        ControllerMetrics::new(report, leadership).text().unwrap()
    }

    #[test]
    fn alerts_of_the_chart_use_existing_metrics() {
        let rule =
            include_str!("../../../charts/image-swap/templates/monitoring/prometheusrule.yaml");
        let metrics = full_report();
        let prefix = "image_swap_controller_";
        let mut found = 0;
        for (at, _) in rule.match_indices(prefix) {
            let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
            let name: String = rule[at..].chars().take_while(|it| is_name(*it)).collect();
            let is_sample = |line: &str| line.split(['{', ' ']).next() == Some(&*name);
            assert!(metrics.lines().any(is_sample), "{name} is not in {metrics}");
            found += 1;
        }
        assert_eq!(found, 11);
    }

    #[test]
    fn only_the_leader_exports_findings() {
        let finding = DiagnosticRow {
            source: Origin::RegistryInfo,
            severity: Severity::Error,
            code: "invalid-target".into(),
            line: 2,
            column: 9,
            message: "expected a target".into(),
            ..DiagnosticRow::default()
        };
        let declaration = DeclarationStatus {
            refused: vec![Origin::RegistryInfo],
            findings: vec![finding.clone(), finding],
            ..DeclarationStatus::default()
        };
        let (_report, report) =
            watch::channel(ControllerReport { declaration, ..ControllerReport::default() });
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
