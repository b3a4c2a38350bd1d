//! Problems of a release, and notes about it.

use image_swap_core::{
    admission::Mode,
    control::{
        effective::Origin,
        policy::{FailurePolicy, RequestedPolicy},
    },
    declaration::UnixTime,
    diagnostic::Severity,
    status::{
        AgentsStatus, CertificateLifetime, CompetitorStatus, ControllerReport, DiagnosticRow,
        ProbeStatus,
    },
};

use super::{Problem, REPLICAS, ReleaseStatus, Replicas, StuckPod};
use crate::clock::written;

/// The seconds by which clocks may differ, so that a Lease seems older than it is.
const SKEW: UnixTime = 60;

/// Namespaces that one message names with their reasons.
const FAILURES: usize = 5;

/// The remedy if the release's own image cannot be pulled.
const OWN_IMAGE: &str =
    "; check the chart's values image.registry, image.tag and image.pullSecrets";

/// Returns true if the report may be older than the readiness of replicas: the
/// controller probes every second until one of them is reached.
pub(super) fn is_early(status: &ReleaseStatus) -> bool {
    let is_probed = |report: &ControllerReport| report.policy.probe != ProbeStatus::NoEndpoints;
    let are_ready = |replicas: &Replicas| replicas.ready > 0 && replicas.ready >= replicas.wanted;
    !status.report.as_ref().is_none_or(is_probed) && status.replicas.as_ref().is_some_and(are_ready)
}

/// Lists the problems and notes of `status`.
pub(super) fn find(status: &mut ReleaseStatus) {
    let mut list = ProblemList::default();
    own_pods(&status.stuck, &mut list);
    leader(status, &mut list);
    registration(status, &mut list);
    match &status.report {
        Some(report) => {
            declaration(report, &mut list);
            policy(report, &mut list);
            certificates(report, status.read, &mut list);
            registry(report, &mut list);
            pull_secrets(report, &mut list);
            for pod in &report.recreated {
                list.add("pods-recreated", pod.message());
            }
            nodes(status, report, &mut list);
            if let Some(agents) = &report.agents {
                self::agents(agents, &mut list);
            }
            steps(report, &mut list);
        }
        None if status.unreadable.is_empty() => {
            list.add("no-report", "the controller has not written a report: it has never led");
        }
        // Health is unknown if the caller lacks permission to read the report.
        None => list.add("unread", "the controller's report cannot be read; its state is unknown"),
    }
    if let Some(replicas) = &status.replicas {
        self::replicas(replicas, status.report.as_ref(), &mut list);
    } else if !status.unreadable.iter().any(|it| it.starts_with(REPLICAS)) {
        let name = &status.release.name;
        list.add("replicas-missing", format!("the Deployment {name}-admission does not exist"));
    }
    unpulled(status, &mut list);
    let outdated: usize = status.pods.iter().flatten().map(|row| row.outdated).sum();
    if outdated > 0 {
        list.notes.push(format!(
            "{outdated} running pods have images that the rules would swap: image-swap swaps them \
             when the pods are created again"
        ));
    }
    status.healthy = list.problems.is_empty();
    status.problems = list.problems;
    status.notes = list.notes;
}

#[derive(Default)]
struct ProblemList {
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl ProblemList {
    fn add(&mut self, code: &str, message: impl Into<String>) {
        self.problems.push(Problem { code: code.to_owned(), message: message.into() });
    }
}

fn leader(status: &ReleaseStatus, list: &mut ProblemList) {
    let Some(leader) = &status.leader else {
        if status.unreadable.is_empty() {
            list.add("no-leader", "no controller has become leader yet");
        }
        return;
    };
    if leader.holder.is_empty() {
        list.add("no-leader", "no controller leads");
    } else if leader.renewed + leader.lasts + SKEW < status.read {
        let since = written(leader.renewed);
        let message = format!("no controller leads: the Lease was last renewed at {since}");
        list.add("no-leader", message);
    }
}

/// Adds the release's own pods that cannot start; they cause most other problems.
fn own_pods(stuck: &[StuckPod], list: &mut ProblemList) {
    for pod in stuck {
        let values = if pod.lacks_image() { OWN_IMAGE } else { "" };
        list.add("pod-not-starting", format!("{} cannot start: {}{values}", pod.name, cause(pod)));
    }
}

/// Adds problems of the present registration. The report may be outdated, since its controller may
/// be gone.
fn registration(status: &ReleaseStatus, list: &mut ProblemList) {
    let name = &status.release.name;
    let reported = status.report.as_ref().map(|report| report.policy.registered);
    if status.leaving {
        let message = format!(
            "the release is marked as leaving: new pods keep their images; to keep the release, \
             run `kubectl annotate clusterrole {name} image-swap.io/leaving-`"
        );
        list.add("leaving", message);
    }
    // A release without a report was never registered, which another problem reports.
    if reported.is_some() && status.registered.or(reported) == Some(false) {
        let message = format!(
            "the MutatingWebhookConfiguration {name}-admission is missing or empty: new pods keep \
             their images"
        );
        list.add("not-registered", message);
    }
}

fn unpulled(status: &ReleaseStatus, list: &mut ProblemList) {
    let Some(unpulled) = status.unpulled.as_ref().filter(|it| it.count > 0) else { return };
    let count = unpulled.count;
    let pods = if count == 1 { "pod has" } else { "pods have" };
    let first = unpulled.pods.first().map_or_else(String::new, |pod| {
        format!(", such as {}/{}: {}", pod.namespace, pod.name, cause(pod))
    });
    let message = format!("{count} swapped {pods} an image that cannot be pulled{first}");
    list.add("pods-not-pulled", message);
}

/// Returns the reason of `pod` with its image, volume, message and hint.
fn cause(pod: &StuckPod) -> String {
    let mut cause = pod.reason.clone();
    let hint = pod.hint.as_deref().unwrap_or_default();
    for (part, text) in [
        (" of ", &*pod.image),
        (" for the image volume ", &*pod.volume),
        (": ", &*pod.message),
        ("; ", hint),
    ] {
        if !text.is_empty() {
            cause.push_str(part);
            cause.push_str(text);
        }
    }
    cause
}

fn declaration(report: &ControllerReport, list: &mut ProblemList) {
    let declared = &report.declaration;
    for source in &declared.refused {
        let is_error = |it: &&DiagnosticRow| it.source == *source && it.severity == Severity::Error;
        let place = |it: &DiagnosticRow| {
            let within = it.key.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
            format!("line {}, column {}{within}: {}", it.line, it.column, it.message)
        };
        let errors: Vec<String> = declared.findings.iter().filter(is_error).map(place).collect();
        let (source, errors) = (source.as_str(), errors.join("; "));
        let message =
            format!("{source} is invalid, and the declaration in force is unchanged: {errors}");
        list.add("declaration-refused", message);
    }
    if declared.source == Origin::None {
        list.notes.push("nothing is declared: no image is swapped".to_owned());
    }
    if let Some((wait, message)) = declared.waits.as_ref().zip(declared.waiting()) {
        if wait.needs_administrator {
            list.add("pods-wait-for-nodes", message);
        } else {
            list.notes.push(message);
        }
    }
    if !declared.differs.is_empty() {
        list.notes.push(format!(
            "registry-info takes precedence over the chart's declaration; they differ in {}",
            declared.differs.join(", ")
        ));
    }
}

fn policy(report: &ControllerReport, list: &mut ProblemList) {
    let held = &report.policy;
    for other in &report.foreign {
        let CompetitorStatus { configuration, program, alive } = other;
        let state =
            if *alive { "is running" } else { "is not running, and its webhook may block pods" };
        let message = format!("{program} (MutatingWebhookConfiguration {configuration}) {state}");
        list.add("other-image-swapper", message);
    }
    match held.probe {
        ProbeStatus::Unreached => {
            let (at, failures) = (held.unreached.join(", "), held.failures);
            let at = if at.is_empty() { at } else { format!(" at {at}") };
            list.add(
                "unreached",
                format!("the API server{at} cannot call the webhook: {failures} probes failed"),
            );
        }
        ProbeStatus::NoEndpoints => {
            list.add("unreached", "no replica is ready for calls of the API server");
        }
        ProbeStatus::Reached | ProbeStatus::Unknown => {}
    }
    if held.mode == Some(Mode::Audit) {
        if held.requested == Some(RequestedPolicy::Audit) {
            list.notes.push("policy is audit: no pod is changed".to_owned());
        } else if report.declaration.waits.is_none() {
            list.add(
                "audit",
                "no pod is changed while another program that swaps images is running",
            );
        }
    } else if held.requested == Some(RequestedPolicy::Fail)
        && held.failure_policy != Some(FailurePolicy::Fail)
    {
        list.add(
            "not-enforced",
            "failurePolicy is Ignore: pods are stored unswapped while the webhook is unavailable; \
             it becomes Fail once the API server has called the webhook",
        );
    }
    if held.requested == Some(RequestedPolicy::Ignore) {
        let note = "policy is ignore: pods are stored unswapped while the webhook is unavailable";
        list.notes.push(note.to_owned());
    }
}

fn steps(report: &ControllerReport, list: &mut ProblemList) {
    for step in &report.failing {
        list.add("step-failed", format!("the step {} fails: {}", step.name, step.error));
    }
}

fn certificates(report: &ControllerReport, now: UnixTime, list: &mut ProblemList) {
    for (what, lifetime) in [("CA", report.authority), ("serving certificate", report.certificate)]
    {
        let Some(CertificateLifetime { not_before, not_after }) = lifetime else { continue };
        let life = not_after.saturating_sub(not_before);
        let at = written(not_after);
        if not_after <= now {
            list.add("certificate-expired", format!("the {what} of image-swap expired at {at}"));
        // The controller renews it when a third of its life is left, so that this is long overdue.
        } else if not_after - now < life / 6 {
            let message = format!("the {what} of image-swap expires at {at}, and was not renewed");
            list.add("certificate-expires", message);
        }
    }
}

fn registry(report: &ControllerReport, list: &mut ProblemList) {
    let Some(health) = &report.registry else { return };
    let domain = &health.domain;
    if health.is_bad() {
        let (outcome, detail) = (health.outcome, &health.detail);
        list.add("registry-unhealthy", format!("the registry {domain} is {outcome}: {detail}"));
    }
    if let Some(expires) = health.expires.filter(|_| health.expires_soon) {
        let message =
            format!("the certificate of the registry {domain} expires at {}", written(expires));
        list.add("registry-certificate-expires", message);
    }
}

fn pull_secrets(report: &ControllerReport, list: &mut ProblemList) {
    let secrets = &report.pull_secrets;
    if secrets.foreign_count > 0 {
        let message = format!(
            "another program owns the Secret image-swap-pull in {} namespaces, where it stays \
             unchanged: {}",
            secrets.foreign_count,
            secrets.foreign.join(", ")
        );
        list.add("pull-secret-foreign", message);
    }
    if secrets.failed > 0 {
        let named = secrets.failures.iter().take(FAILURES);
        let mut named: Vec<String> =
            named.map(|it| format!("{}: {}", it.namespace, it.reason)).collect();
        let more = secrets.failed.saturating_sub(named.len());
        if more > 0 {
            named.push(format!("and {more} more"));
        }
        let named = named.join("; ");
        let message = format!("cannot write the pull Secret in the namespace {named}");
        list.add("pull-secrets-failing", message);
    }
}

/// Adds a note about unconfigured nodes. Only nodes know their state, so this is no problem. With
/// agents, their reports count instead.
fn nodes(status: &ReleaseStatus, report: &ControllerReport, list: &mut ProblemList) {
    if report.agents.is_some()
        || report.nodes.is_empty()
        || status.nodes.as_ref().is_some_and(|it| it.all == it.configured)
    {
        return;
    }
    let known = status.nodes.as_ref().map_or_else(
        || "it is unknown which nodes are configured".to_owned(),
        |nodes| format!("{} of {} nodes are marked as configured", nodes.configured, nodes.all),
    );
    list.notes.push(format!("{}; {known}", report.nodes.join("; ")));
}

/// Adds nodes that need an administrator, a declaration that failed on trial, and a restart that
/// stops all others.
fn agents(agents: &AgentsStatus, list: &mut ProblemList) {
    if agents.failed {
        let AgentsStatus { revision, verified_revision, trial, .. } = agents;
        let kept = match verified_revision {
            0 => "no declaration is in force on nodes".to_owned(),
            number => format!("nodes keep declaration {number}"),
        };
        let message = format!("the trial of declaration {revision} failed, and {kept}: {trial}");
        list.add("node-trial-failed", message);
    }
    if agents.restarts_stopped {
        list.add("node-restart-failed", agents.restarts.clone());
    }
    for row in agents.pending.iter().filter(|row| row.needs_administrator()) {
        list.add("nodes-pending", row.message());
    }
}

fn replicas(replicas: &Replicas, report: Option<&ControllerReport>, list: &mut ProblemList) {
    if replicas.ready < replicas.wanted {
        let Replicas { wanted, ready, .. } = replicas;
        let message = format!("{ready} of {wanted} replicas are ready");
        list.add("replicas-missing", message);
    }
    let Some(report) = report else { return };
    let (hash, version) = (report.declaration.served(), &report.version);
    for replica in &replicas.pods {
        let name = &replica.name;
        let Some(answer) = &replica.answer else { continue };
        if answer.rules.is_none() {
            list.add("replica-behind", format!("{name} has not read any rules yet"));
        } else if answer.hash != hash {
            let (has, wanted) = (named(&answer.hash), named(hash));
            list.add("replica-behind", format!("{name} serves {has}, expected {wanted}"));
        }
        if answer.version != *version {
            let has = &answer.version;
            list.notes
                .push(format!("{name} has version {has}, the controller has version {version}"));
        }
    }
    let silent = replicas.pods.iter().filter(|replica| replica.answer.is_none()).count();
    if silent > 0 {
        list.notes.push(format!("cannot query {silent} of {} replicas", replicas.pods.len()));
    }
}

fn named(hash: &str) -> String {
    if hash.is_empty() { "no declaration".to_owned() } else { format!("declaration {hash}") }
}

#[cfg(test)]
mod tests;
