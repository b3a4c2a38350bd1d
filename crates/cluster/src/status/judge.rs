//! What of it is bad news.

use image_swap_core::declaration::UnixTime;

use super::{News, REPLICAS, Replicas, Status, StuckPod};
use crate::{
    clock::written,
    report::{Lifetime, Report},
};

/// Clocks differ, and so a lease may seem older than it is, by this many seconds.
const SKEW: UnixTime = 60;

/// Namespaces that one message names with their reasons.
const FAILURES: usize = 5;

/// Returns true if the report may be older than the readiness of replicas: the
/// controller probes every second until one of them is reached.
pub(super) fn is_early(status: &Status) -> bool {
    let is_probed = |report: &Report| report.policy.probe != "nobody-there";
    let are_ready = |replicas: &Replicas| replicas.ready > 0 && replicas.ready >= replicas.wanted;
    !status.report.as_ref().is_none_or(is_probed) && status.replicas.as_ref().is_some_and(are_ready)
}

/// Says what is bad news and what is worth a note.
pub(super) fn judge(status: &mut Status) {
    let mut told = Told::default();
    own_pods(&status.stuck, &mut told);
    leader(status, &mut told);
    registration(status, &mut told);
    match &status.report {
        Some(report) => {
            declaration(report, &mut told);
            policy(report, &mut told);
            certificates(report, status.read, &mut told);
            registry(report, &mut told);
            pull_secrets(report, &mut told);
            for pod in &report.recreated {
                told.bad("pods-recreated", pod.message());
            }
            nodes(status, report, &mut told);
            steps(report, &mut told);
        }
        None if status.unread.is_empty() => {
            told.bad("no-report", "expected the controller's report, found none: it never led");
        }
        // Whether it is well nobody can say who may not read it.
        None => told.bad("unread", "expected the controller's report, which may not be read"),
    }
    if let Some(replicas) = &status.replicas {
        self::replicas(replicas, status.report.as_ref(), &mut told);
    } else if !status.unread.iter().any(|it| it.starts_with(REPLICAS)) {
        told.bad("replicas-missing", "expected the Deployment of the replicas, found none");
    }
    unpulled(status, &mut told);
    let outdated: usize = status.pods.iter().flatten().map(|row| row.outdated).sum();
    if outdated > 0 {
        told.notes.push(format!(
            "{outdated} running pods have images that the rules would swap: they are swapped \
             when they are made anew"
        ));
    }
    status.healthy = told.news.is_empty();
    status.news = told.news;
    status.notes = told.notes;
}

#[derive(Default)]
struct Told {
    news: Vec<News>,
    notes: Vec<String>,
}

impl Told {
    fn bad(&mut self, code: &str, message: impl Into<String>) {
        self.news.push(News { code: code.to_owned(), message: message.into() });
    }
}

fn leader(status: &Status, told: &mut Told) {
    let Some(leader) = &status.leader else {
        if status.unread.is_empty() {
            told.bad("no-leader", "expected a controller that leads, found that none ever did");
        }
        return;
    };
    if leader.holder.is_empty() {
        told.bad("no-leader", "expected a controller that leads, found none");
    } else if leader.renewed + leader.lasts + SKEW < status.read {
        let since = written(leader.renewed);
        told.bad(
            "no-leader",
            format!(
                "expected a controller that leads, found that the last one is silent since {since}"
            ),
        );
    }
}

/// The release's own pods that cannot start: the cause of most other problems.
fn own_pods(stuck: &[StuckPod], told: &mut Told) {
    for pod in stuck {
        told.bad("pod-not-starting", format!("{} cannot start: {}", pod.name, cause(pod)));
    }
}

/// The registration as it is now. The report is older, and its controller may be gone.
fn registration(status: &Status, told: &mut Told) {
    let name = &status.release.name;
    let reported = status.report.as_ref().map(|report| report.policy.registered);
    if status.leaving {
        told.bad(
            "leaving",
            format!(
                "the release is leaving, and new pods keep the images they name; to keep the \
                 release, run `kubectl annotate clusterrole {name} image-swap.io/leaving-`"
            ),
        );
    }
    // Without a report nothing was ever registered, and that is reported as such.
    if reported.is_some() && status.registered.or(reported) == Some(false) {
        told.bad(
            "not-registered",
            format!(
                "the MutatingWebhookConfiguration {name}-admission has no entry: new pods keep \
                 the images they name"
            ),
        );
    }
}

fn unpulled(status: &Status, told: &mut Told) {
    let Some(unpulled) = status.unpulled.as_ref().filter(|it| it.count > 0) else { return };
    let first = unpulled.pods.first();
    let first =
        first.map(|pod| format!(", such as {}/{}: {}", pod.namespace, pod.name, cause(pod)));
    let count = unpulled.count;
    let pods = if count == 1 { "pod has" } else { "pods have" };
    told.bad(
        "pods-not-pulled",
        format!(
            "{count} swapped {pods} an image that cannot be pulled{}",
            first.unwrap_or_default()
        ),
    );
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

fn declaration(report: &Report, told: &mut Told) {
    let declared = &report.declaration;
    for source in &declared.refused {
        let errors =
            declared.findings.iter().filter(|it| it.source == *source && it.severity == "error");
        let errors: Vec<String> = errors
            .map(|it| {
                let within = it.key.as_ref().map_or_else(String::new, |key| format!(" of {key}"));
                format!("line {}, column {}{within}: {}", it.line, it.column, it.message)
            })
            .collect();
        told.bad(
            "declaration-refused",
            format!("{source} is refused, and what was in force stays: {}", errors.join("; ")),
        );
    }
    if declared.source == "none" {
        told.notes.push("nothing is declared: no image is swapped".to_owned());
    }
    if !declared.differs.is_empty() {
        told.notes.push(format!(
            "registry-info wins over the chart's declaration, which differs in {}",
            declared.differs.join(", ")
        ));
    }
}

fn policy(report: &Report, told: &mut Told) {
    let held = &report.policy;
    for other in &report.foreign {
        let state = if other.alive { "lives" } else { "is dead, and may hold up pods" };
        told.bad(
            "other-image-swapper",
            format!(
                "{} (MutatingWebhookConfiguration {}) {state}",
                other.program, other.configuration
            ),
        );
    }
    match held.probe.as_str() {
        "unreached" => {
            let at = match &held.unreached[..] {
                [] => String::new(),
                all => format!(" at {}", all.join(", ")),
            };
            told.bad(
                "unreached",
                format!(
                    "the API server{at} does not reach the replicas: {} probes failed",
                    held.failures
                ),
            );
        }
        "nobody-there" => told.bad("unreached", "no replica is there for the API server to ask"),
        _ => {}
    }
    if held.mode == "audit" {
        if held.wanted == "audit" {
            told.notes.push("policy is audit: no pod is changed".to_owned());
        } else {
            told.bad("audit", "no pod is changed while another program that swaps images lives");
        }
    } else if held.wanted == "fail" && held.failure_policy != "Fail" {
        told.bad(
            "not-enforced",
            "expected that pods nobody reviewed are refused, found that they are let through until \
             the API server is seen to reach us",
        );
    }
    if held.wanted == "ignore" {
        let note = "policy is ignore: pods that nobody reviewed are let through";
        told.notes.push(note.to_owned());
    }
}

fn steps(report: &Report, told: &mut Told) {
    for step in &report.failing {
        told.bad("step-failed", format!("the step {} fails: {}", step.name, step.error));
    }
}

fn certificates(report: &Report, now: UnixTime, told: &mut Told) {
    for (what, lifetime) in [("authority", report.authority), ("certificate", report.certificate)] {
        let Some(Lifetime { not_before, not_after }) = lifetime else { continue };
        let life = not_after.saturating_sub(not_before);
        if not_after <= now {
            told.bad(
                "certificate-expired",
                format!("our {what} expired at {}", written(not_after)),
            );
        // Renewed when a third is left: this is long overdue.
        } else if not_after - now < life / 6 {
            told.bad(
                "certificate-expires",
                format!("our {what} expires at {}, and was not renewed", written(not_after)),
            );
        }
    }
}

fn registry(report: &Report, told: &mut Told) {
    let Some(health) = &report.registry else { return };
    let domain = &health.domain;
    if health.is_bad() {
        let (outcome, detail) = (&health.outcome, &health.detail);
        told.bad("registry-unhealthy", format!("{domain} is {outcome}: {detail}"));
    }
    if let Some(expires) = health.expires.filter(|_| health.expires_soon) {
        let at = written(expires);
        told.bad(
            "registry-certificate-expires",
            format!("the certificate of {domain} expires at {at}"),
        );
    }
}

fn pull_secrets(report: &Report, told: &mut Told) {
    let secrets = &report.pull_secrets;
    if secrets.foreign_count > 0 {
        told.bad(
            "pull-secret-foreign",
            format!(
                "in {} namespaces the Secret image-swap-pull is somebody else's, and stays: {}",
                secrets.foreign_count,
                secrets.foreign.join(", ")
            ),
        );
    }
    if secrets.failed > 0 {
        let named = secrets.failures.iter().take(FAILURES);
        let mut named: Vec<String> =
            named.map(|it| format!("{}: {}", it.namespace, it.reason)).collect();
        let more = secrets.failed.saturating_sub(named.len());
        if more > 0 {
            named.push(format!("and {more} more"));
        }
        told.bad(
            "pull-secrets-failing",
            format!("the pull Secret cannot be written in the namespace {}", named.join("; ")),
        );
    }
}

/// Not bad news: who declares it knows, and only nodes can say that they were told.
fn nodes(status: &Status, report: &Report, told: &mut Told) {
    if report.nodes.is_empty() || status.nodes.as_ref().is_some_and(|it| it.all == it.told) {
        return;
    }
    let known = status.nodes.as_ref().map_or_else(
        || "it is not known which were told".to_owned(),
        |nodes| format!("{} of {} are known to have been told", nodes.told, nodes.all),
    );
    told.notes.push(format!("{}; {known}", report.nodes.join("; ")));
}

fn replicas(replicas: &Replicas, report: Option<&Report>, told: &mut Told) {
    if replicas.ready < replicas.wanted {
        told.bad(
            "replicas-missing",
            format!("expected {} replicas to be ready, found {}", replicas.wanted, replicas.ready),
        );
    }
    let Some(report) = report else { return };
    let (hash, version) = (&report.declaration.hash, &report.version);
    for replica in &replicas.pods {
        let name = &replica.name;
        let Some(answer) = &replica.answer else { continue };
        if answer.rules.is_none() {
            told.bad("replica-behind", format!("{name} has not yet read any rules"));
        } else if answer.hash != *hash {
            let (has, wanted) = (named(&answer.hash), named(hash));
            told.bad("replica-behind", format!("{name} serves {has}, expected {wanted}"));
        }
        if answer.version != *version {
            let has = &answer.version;
            told.notes.push(format!("{name} is version {has}, the controller is {version}"));
        }
    }
    let silent = replicas.pods.iter().filter(|replica| replica.answer.is_none()).count();
    if silent > 0 {
        told.notes.push(format!("{silent} of {} replicas could not be asked", replicas.pods.len()));
    }
}

fn named(hash: &str) -> String {
    if hash.is_empty() { "no declaration".to_owned() } else { format!("declaration {hash}") }
}

#[cfg(test)]
#[path = "tests/judge.rs"]
mod tests;
