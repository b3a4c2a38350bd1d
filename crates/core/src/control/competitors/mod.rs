//! Detects other programs that swap images. Two of them on the same pod conflict.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

/// Names of the configurations or webhooks of such programs. Each is the beginning of a name,
/// or follows a `.` or a `-` in it.
const KNOWN: [(&str, &str); 11] = [
    ("imageswap.webhook.k8s.twr.io", "imageswap"),
    ("imageswap-webhook", "imageswap"),
    ("k8s-image-swapper", "k8s-image-swapper"),
    ("kube-image-keeper", "kube-image-keeper"),
    ("kuik", "kube-image-keeper"),
    ("harbor-container-webhook", "harbor-container-webhook"),
    ("zarf.dev", "Zarf"),
    ("pod-image-swap-webhook", "pod-image-swap-webhook"),
    ("image-mapper", "image-mapper"),
    ("proxy-image-swapper", "k8s-proxy-image-swapper"),
    ("tugger", "tugger"),
];

/// The backend of another program's webhook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// A Service: namespace and name.
    Service(String, String),
    /// A URL outside the cluster, which the controller does not probe.
    Url,
}

/// A configuration of another program that swaps images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompetingWebhook {
    /// Name of the configuration.
    pub configuration: String,
    /// Name of the program.
    pub program: &'static str,
    /// Backends of its webhooks for pods.
    pub backends: Vec<Backend>,
}

/// The state of the program behind a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// A program may answer, and may swap images.
    Live,
    /// None of its Services has an endpoint: it can only delay or reject pods.
    Dead,
}

/// Returns the competing webhook in `configuration`; `None` for other programs.
pub fn recognise(configuration: &Value) -> Option<CompetingWebhook> {
    let name = configuration["metadata"]["name"].as_str()?;
    let entries = configuration["webhooks"].as_array()?;
    let pods: Vec<&Value> = entries.iter().filter(|entry| is_about_pods(entry)).collect();
    let names = pods.iter().filter_map(|entry| entry["name"].as_str());
    let mut program = std::iter::once(name).chain(names).filter_map(program);
    let program = program.next()?;
    if pods.is_empty() {
        return None;
    }
    let mut backends: Vec<Backend> = pods.iter().map(|entry| backend(entry)).collect();
    backends.sort_unstable();
    backends.dedup();
    Some(CompetingWebhook { configuration: name.to_owned(), program, backends })
}

impl CompetingWebhook {
    /// Returns the state of the program. `answers` takes the namespace and the name of a
    /// Service, and returns true if a program may answer there. A program may answer if the
    /// Service has an endpoint, or is a name outside the cluster.
    pub fn life(&self, answers: impl Fn(&str, &str) -> bool) -> Liveness {
        let alive = self.backends.iter().any(|backend| match backend {
            Backend::Service(namespace, name) => answers(namespace, name),
            Backend::Url => true,
        });
        if alive { Liveness::Live } else { Liveness::Dead }
    }
}

/// The life of other programs over time. A program that is restarted, or moved, has no
/// endpoint for a while; it counts as dead only after a grace period. Times are measured
/// from any fixed moment, by a clock that never goes back.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    of: BTreeMap<String, Sighting>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sighting {
    was_alive: bool,
    /// The beginning of the time without any endpoint.
    dead_since: Option<Duration>,
}

/// The judgement of a program by its life over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The life to act upon. A program that was alive stays alive for the grace period.
    pub life: Liveness,
    /// True if the program was dead for the whole grace period, without interruption.
    pub is_removable: bool,
}

impl Sightings {
    /// Notes the life of `configuration` at the time `at`, and returns the judgement.
    pub fn observe(
        &mut self,
        configuration: &str,
        life: Liveness,
        at: Duration,
        grace: Duration,
    ) -> Settled {
        let sighting = self.of.entry(configuration.to_owned()).or_default();
        if life == Liveness::Live {
            *sighting = Sighting { was_alive: true, dead_since: None };
            return Settled { life, is_removable: false };
        }
        let since = *sighting.dead_since.get_or_insert(at);
        let is_removable = at.saturating_sub(since) >= grace;
        sighting.was_alive &= !is_removable;
        let life = if sighting.was_alive { Liveness::Live } else { Liveness::Dead };
        Settled { life, is_removable }
    }

    /// Forgets all configurations but `present`.
    pub fn retain(&mut self, present: &[String]) {
        self.of.retain(|name, _| present.contains(name));
    }
}

fn program(name: &str) -> Option<&'static str> {
    let begins_a_part = |at: usize| at == 0 || name[..at].ends_with(['.', '-']);
    let known = KNOWN.iter().find(|(part, _)| {
        name.match_indices(part).any(|(at, _)| {
            let after = &name[at + part.len()..];
            begins_a_part(at) && (after.is_empty() || after.starts_with(['.', '-']))
        })
    });
    known.map(|(_, program)| *program)
}

fn is_about_pods(entry: &Value) -> bool {
    let holds = |rule: &Value, key: &str, wanted: &[&str]| {
        let values = rule[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        values.into_iter().any(|value| wanted.contains(&value))
    };
    let rules = entry["rules"].as_array().into_iter().flatten();
    rules.into_iter().any(|rule| {
        holds(rule, "resources", &["pods", "*", "*/*", "pods/*"])
            && holds(rule, "apiGroups", &["", "*"])
    })
}

fn backend(entry: &Value) -> Backend {
    let service = &entry["clientConfig"]["service"];
    match (service["namespace"].as_str(), service["name"].as_str()) {
        (Some(namespace), Some(name)) => Backend::Service(namespace.to_owned(), name.to_owned()),
        _ => Backend::Url,
    }
}

#[cfg(test)]
mod tests;
