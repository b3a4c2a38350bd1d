//! The text output of `status`.

use std::fmt::Write as _;

use anstyle::Style;
use image_swap_cluster::status::{
    Leader, RegistryPods, ReleaseStatus, Replica, Replicas, StuckPods,
};
use image_swap_core::{
    control::{effective::Origin, policy::FailurePolicy},
    labels,
    status::{AgentsStatus, ControllerReport, PodWait, ProbeStatus},
};

use crate::{
    age::{ago, span},
    output::{BAD, DIM, GOOD, ODD, STRONG, counted, styled},
};

/// The width of the names of rows, in columns.
const NAMES: usize = 14;

/// Returns `status` as text.
pub(super) fn text(status: &ReleaseStatus) -> String {
    let mut page = Page::default();
    let release = format!("{}/{}", status.release.namespace, status.release.name);
    let verdict = match status.problems.len() {
        _ if status.healthy => styled(GOOD, "healthy"),
        count => styled(BAD, &counted(count, "problem")),
    };
    page.row("release", &format!("{}  {verdict}", styled(STRONG, &release)));
    page.row("controller", &leader(status.leader.as_ref(), status.read));
    if let Some(report) = &status.report {
        page.report(report, status);
    }
    if let Some(replicas) = &status.replicas {
        page.replicas(replicas, status);
    }
    if let Some(pods) = status.pods.as_deref().filter(|pods| !pods.is_empty()) {
        page.pods(pods);
    }
    if let Some(unpulled) = status.unpulled.as_ref().filter(|unpulled| unpulled.count > 0) {
        page.unpulled(unpulled);
    }
    for problem in &status.problems {
        page.list(&styled(BAD, &format!("error[{}]", problem.code)), &problem.message);
    }
    for note in &status.notes {
        page.list(&styled(ODD, "note"), note);
    }
    for unreadable in &status.unreadable {
        page.list(&styled(DIM, "unreadable"), unreadable);
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    /// True once the rows are complete and the list of problems has begun.
    listing: bool,
}

impl Page {
    fn row(&mut self, name: &str, value: &str) {
        // Padded before it is coloured: colours have no width.
        let name = styled(DIM, &format!("{name:<NAMES$}"));
        let _ = writeln!(self.text, "{name}{value}");
    }

    fn more(&mut self, value: &str) {
        let _ = writeln!(self.text, "{:NAMES$}{value}", "");
    }

    fn list(&mut self, label: &str, message: &str) {
        if !std::mem::replace(&mut self.listing, true) {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "{label}: {message}");
    }

    fn report(&mut self, report: &ControllerReport, status: &ReleaseStatus) {
        let now = status.read;
        let declared = &report.declaration;
        self.row(
            "declaration",
            &match declared.source {
                Origin::None => styled(ODD, "none"),
                source => {
                    let hash = styled(DIM, &declared.hash);
                    format!("{}, {}  {hash}", source.as_str(), counted(declared.rules, "rule"))
                }
            },
        );
        if let Some(PodWait { served, rules, .. }) = &declared.waits {
            let served_text = if served.is_empty() {
                "pods keep their images until nodes trust it".to_owned()
            } else {
                let (rules, served) = (counted(*rules, "rule"), styled(DIM, served));
                format!("pods are swapped by {rules} until nodes trust it  {served}")
            };
            self.more(&styled(ODD, &served_text));
        }
        let held = &report.policy;
        let probe = match held.probe {
            ProbeStatus::Reached => styled(GOOD, "the API server can call the webhook"),
            ProbeStatus::Unreached => styled(BAD, "the API server cannot call the webhook"),
            ProbeStatus::NoEndpoints => styled(BAD, "no replica is ready"),
            ProbeStatus::Unknown => {
                styled(ODD, "not yet known if the API server can call the webhook")
            }
        };
        let registered = if status.registered.unwrap_or(held.registered) {
            held.failure_policy.map_or("", FailurePolicy::as_str)
        } else {
            "not registered"
        };
        let mode = held.mode.map_or_else(String::new, |mode| mode.to_string());
        self.row("policy", &format!("{mode}, {registered}; {probe}"));
        if report.repairs > 0 {
            self.more(&format!("repaired {}", times(report.repairs)));
        }
        let lifetimes = [("certificate", report.certificate), ("CA", report.authority)];
        let ends: Vec<String> = lifetimes
            .into_iter()
            .filter_map(|(what, lifetime)| {
                Some(format!("{what} {}", ends(lifetime?.not_after, now)))
            })
            .collect();
        if !ends.is_empty() {
            self.row("certificates", &ends.join(", "));
        }
        if let Some(health) = &report.registry {
            let style = if health.is_bad() { BAD } else { GOOD };
            let outcome = styled(style, health.outcome.as_str());
            let checked = styled(DIM, &format!("({})", ago(health.checked, now)));
            self.row(
                "registry",
                &format!("{} {outcome}: {} {checked}", health.domain, health.detail),
            );
            if let Some(expires) = health.expires {
                self.more(&format!("its certificate {}", self::ends(expires, now)));
            }
        }
        let secrets = &report.pull_secrets;
        if secrets.kept {
            self.row("pull Secrets", &format!("in {}", counted(secrets.namespaces, "namespace")));
        }
        if let Some(agents) = &report.agents {
            self.agents(agents);
        }
        for (nth, need) in report.nodes.iter().enumerate() {
            if nth == 0 { self.row("nodes", need) } else { self.more(need) }
        }
        if !report.trust.is_empty() && report.agents.is_none() {
            let mark = format!("annotate configured nodes: {}={}", labels::TRUSTS, report.trust);
            self.more(&styled(DIM, &mark));
        }
    }

    fn agents(&mut self, agents: &AgentsStatus) {
        let AgentsStatus { nodes, applied, revision, verified_revision, .. } = agents;
        let style = if applied < nodes { ODD } else { GOOD };
        let of = match revision {
            0 => "no declaration yet".to_owned(),
            number if number == verified_revision => format!("declaration {number}"),
            number => format!("declaration {number}, verified {verified_revision}"),
        };
        let count = styled(style, &format!("{applied} of {nodes} applied"));
        self.row("node agents", &format!("{count}  {}", styled(DIM, &of)));
        if !agents.trial.is_empty() {
            let style = if agents.failed { BAD } else { ODD };
            self.more(&styled(style, &agents.trial));
        }
        if !agents.restarts.is_empty() {
            let style = if agents.restarts_stopped { BAD } else { ODD };
            self.more(&styled(style, &agents.restarts));
        }
        let width = agents.pending.iter().map(|row| row.reason.len()).max().unwrap_or_default();
        for row in &agents.pending {
            let mut names = row.nodes.join(", ");
            if row.count > row.nodes.len() {
                let _ = write!(names, " and {} more", row.count - row.nodes.len());
            }
            self.more(&format!("{:<width$}  {}: {names}", row.reason, row.count));
        }
    }

    fn replicas(&mut self, replicas: &Replicas, status: &ReleaseStatus) {
        let Replicas { wanted, ready, pods } = replicas;
        let style = if ready < wanted { BAD } else { GOOD };
        self.row("replicas", &styled(style, &format!("{ready} of {wanted} ready")));
        let width = pods.iter().map(|pod| pod.name.len()).max().unwrap_or_default();
        let hash = status.report.as_ref().map(|report| report.declaration.served());
        for pod in pods {
            let (style, state) = state(pod, hash, status.read);
            self.more(&format!("{:<width$}  {}", pod.name, styled(style, &state)));
        }
    }

    /// Writes the swapped pods whose image cannot be pulled.
    fn unpulled(&mut self, unpulled: &StuckPods) {
        let count = styled(BAD, &counted(unpulled.count, "swapped pod"));
        self.row("not pulled", &count);
        for pod in &unpulled.pods {
            self.more(&format!("{}/{}  {}  {}", pod.namespace, pod.name, pod.image, pod.reason));
        }
        if unpulled.count > unpulled.pods.len() {
            self.more(&format!("and {} more", unpulled.count - unpulled.pods.len()));
        }
    }

    fn pods(&mut self, pods: &[RegistryPods]) {
        let width = pods.iter().map(|row| row.registry.len()).max().unwrap_or_default();
        let width = width.max("registry".len());
        let heading = format!(
            "{:<width$}  {:>8}  {:>9}  {:>8}",
            "registry", "swapped", "unswapped", "outdated"
        );
        self.row("running pods", &styled(DIM, &heading));
        for row in pods {
            let RegistryPods { registry, swapped, unswapped, outdated } = row;
            let outdated_style = if *outdated > 0 { ODD } else { Style::new() };
            let outdated = styled(outdated_style, &format!("{outdated:>8}"));
            self.more(&format!("{registry:<width$}  {swapped:>8}  {unswapped:>9}  {outdated}"));
        }
    }
}

fn leader(leader: Option<&Leader>, now: u64) -> String {
    match leader {
        Some(leader) if !leader.holder.is_empty() => {
            let renewed = styled(DIM, &format!("(last renewed {})", ago(leader.renewed, now)));
            format!("{} leads {renewed}", leader.holder)
        }
        _ => styled(BAD, "no leader"),
    }
}

/// Returns the state of a replica, and its style.
fn state(replica: &Replica, hash: Option<&str>, now: u64) -> (Style, String) {
    let Some(answer) = &replica.answer else {
        let reason = replica.error.as_deref().unwrap_or("cannot be queried");
        return (ODD, reason.to_owned());
    };
    let rules = match answer.rules {
        Some(rules) => counted(rules, "rule"),
        None => "no rules yet".to_owned(),
    };
    let certificate = answer
        .certificate_expires
        .map_or_else(|| "no certificate".to_owned(), |at| format!("certificate {}", ends(at, now)));
    let (style, which) = match hash {
        Some(hash) if answer.hash == hash => (GOOD, "up to date"),
        Some(_) => (BAD, "behind"),
        None => (Style::new(), "serves"),
    };
    let mode = answer.mode.map_or_else(String::new, |mode| mode.to_string());
    (style, format!("{which}, {mode}, {rules}, {certificate}"))
}

fn times(number: u64) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times") }
}

fn ends(at: u64, now: u64) -> String {
    if at <= now {
        styled(BAD, &format!("expired {} ago", span(now - at)))
    } else {
        format!("expires in {}", span(at - now))
    }
}

#[cfg(test)]
mod tests;
