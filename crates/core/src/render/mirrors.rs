//! What a node's container runtime can be told, and the URLs it then requests.
//!
//! A runtime is told per registry host, or for all hosts without an entry
//! (`_default`): a list of endpoints to try before the registry itself. Every
//! format that nodes read is printed from this one table, so that a node asks
//! for the very URL of the reference that pods are given.
//!
//! Source: containerd, `core/remotes/docker/config/hosts.go` and
//! `docs/hosts.md`, with `override_path`.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use crate::{
    reference::{DOCKER_DOMAIN, Reference},
    rule::{Key, Kind, RuleId, RuleSet, Target},
};

/// Where Docker Hub's registry answers (containerd, `hosts.go`).
const DOCKER_REGISTRY: &str = "registry-1.docker.io";

/// Whether a node may ask the public registry after the mirrors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The registry itself is asked last.
    #[default]
    Upstream,
    /// What a rule covers is asked of mirrors alone.
    Never,
}

/// One place to ask: `scheme://host/v2/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Endpoint {
    host: String,
    /// Below the API root; empty for the root itself.
    path: String,
}

/// A rule that nodes cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexpressible {
    /// Which rule.
    pub rule: RuleId,
    /// Why a runtime has no words for it.
    pub why: &'static str,
}

/// What nodes are told.
#[derive(Clone, Debug, Default)]
pub struct Mirrors {
    /// For each host with a rule its endpoints; none: ask the registry itself.
    hosts: BTreeMap<String, Vec<Endpoint>>,
    /// For all other hosts.
    default: Vec<Endpoint>,
    /// Hosts of targets: asked directly, so no default may catch them.
    targets: HashSet<String>,
    plain_http: HashSet<String>,
    inexpressible: Vec<Inexpressible>,
}

impl Mirrors {
    /// What nodes are told of `rules`.
    pub fn new(rules: &RuleSet) -> Self {
        let mut this = Self::default();
        let mut leave_alone = HashSet::new();
        for (id, rule) in rules.rules().iter().enumerate() {
            let target = rules.target(id);
            if let Some(target) = target {
                this.targets.insert(target.domain().to_owned());
                if target.is_plain_http() {
                    this.plain_http.insert(target.domain().to_owned());
                }
            }
            if rule.kind != Kind::Prefix || (target.is_none() && !rule.target.is_empty()) {
                continue;
            }
            let Some(key) = Key::parse(rule.key()).filter(|key| key.path().is_empty()) else {
                continue;
            };
            let endpoints = this.hosts.entry(key.as_str().to_owned()).or_default();
            // What comes first decides for pods: leave alone means no mirror at all.
            if endpoints.is_empty() && target.is_none() {
                leave_alone.insert(key.as_str().to_owned());
            }
            if let Some(target) = target.filter(|_| !leave_alone.contains(key.as_str())) {
                endpoints.push(Endpoint::of(target, key.host()));
            }
        }
        let default = rules.default_rule().and_then(|id| rules.target(id));
        if let Some(target) = default.filter(|target| !target.is_joined()) {
            this.default.push(Endpoint::of(target, ""));
        }
        this.inexpressible = this.find_inexpressible(rules);
        this
    }

    /// The rules that nodes cannot be told, in order.
    pub fn inexpressible(&self) -> &[Inexpressible] {
        &self.inexpressible
    }

    /// The URLs that are tried for `reference`, in order:
    /// `scheme://host/v2/REPOSITORY/manifests/IDENTIFIER`, without the query.
    pub fn pulls(&self, reference: &Reference<'_>, fallback: Fallback) -> Vec<String> {
        let name = Name::of(reference);
        let endpoints = match self.hosts.get(&name.host) {
            Some(endpoints) => endpoints.as_slice(),
            None if self.targets.contains(&name.host) => &[],
            None => &self.default,
        };
        let through = endpoints.iter().map(|endpoint| {
            let slash = if endpoint.path.is_empty() { "" } else { "/" };
            let repository = [&endpoint.path, slash, &name.repository].concat();
            self.url(&endpoint.host, &repository, name.identifier)
        });
        let mut urls: Vec<String> = through.collect();
        if urls.is_empty() || fallback == Fallback::Upstream {
            urls.push(self.url(&name.host, &name.repository, name.identifier));
        }
        urls
    }

    /// The URL of `reference` itself: what is requested for a pod that names it.
    pub fn own_url(&self, reference: &Reference<'_>) -> String {
        let name = Name::of(reference);
        self.url(&name.host, &name.repository, name.identifier)
    }

    fn url(&self, host: &str, repository: &str, identifier: &str) -> String {
        // Plain HTTP is declared; containerd assumes it of this machine alone
        // (`docker.IsLocalhost`), unless the host is configured.
        let assumed = is_localhost(host) && !self.targets.contains(host);
        let scheme = if assumed || self.plain_http.contains(host) { "http" } else { "https" };
        let host = if host == DOCKER_DOMAIN { DOCKER_REGISTRY } else { host };
        format!("{scheme}://{host}/v2/{repository}/manifests/{identifier}")
    }

    fn find_inexpressible(&self, rules: &RuleSet) -> Vec<Inexpressible> {
        let why = |id: RuleId| {
            let rule = &rules.rules()[id];
            let target = rules.target(id);
            match rule.kind {
                Kind::Exact => Some("a runtime has no rule for a single tag or digest"),
                Kind::Replace => Some("a runtime has no rule for a pattern"),
                Kind::Noswap => (!self.default.is_empty())
                    .then_some("a runtime's default covers every host without a rule"),
                Kind::Default => target
                    .is_some_and(Target::is_joined)
                    .then_some("a runtime's default cannot put the host into a path"),
                Kind::Prefix => {
                    let key = Key::parse(rule.key()).filter(|key| !key.path().is_empty())?;
                    (!self.says_already(&key, target))
                        .then_some("containerd has rules for whole hosts only")
                }
            }
        };
        let found = (0..rules.rules().len()).filter_map(|rule| Some((rule, why(rule)?)));
        found.map(|(rule, why)| Inexpressible { rule, why }).collect()
    }

    /// Whether the rule for the whole host sends what is below `key` to `target` too.
    fn says_already(&self, key: &Key, target: Option<&Target>) -> bool {
        let of_host = self.hosts.get(key.domain()).unwrap_or(&self.default).first();
        match (of_host, target) {
            (Some(host), Some(target)) if !target.is_joined() => {
                let path = [&host.path, key.path()].join("/");
                host.host == target.domain() && path.trim_start_matches('/') == target.path()
            }
            (None, None) => true,
            _ => false,
        }
    }
}

impl Endpoint {
    /// `host`: what is joined to a target that ends in `-`.
    fn of(target: &Target, host: &str) -> Self {
        let joined = if target.is_joined() { host } else { "" };
        Self { host: target.domain().to_owned(), path: [target.path(), joined].concat() }
    }
}

/// A reference as a runtime requests it.
struct Name<'a> {
    host: String,
    repository: String,
    identifier: &'a str,
}

impl<'a> Name<'a> {
    fn of(reference: &Reference<'a>) -> Self {
        // Without a domain the runtime takes the first component for one.
        let name = reference.name().to_string();
        let (host, repository) = name.split_once('/').unwrap_or(("", &name));
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            identifier: reference.identifier(),
        }
    }
}

/// containerd, `docker.IsLocalhost`.
fn is_localhost(host: &str) -> bool {
    let name = match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "upstream",
            Self::Never => "never",
        })
    }
}
