//! The mirror table of a node's container runtime, and the URLs that the runtime then requests.
//!
//! A runtime is configured per registry host, or for all hosts without an entry (`_default`).
//! Each entry is a list of endpoints to try before the registry itself. Every format that nodes
//! read is printed from this one table, so that a node requests the very URL of the reference
//! in a pod.
//!
//! Source: containerd, `core/remotes/docker/config/hosts.go` and `docs/hosts.md`, with
//! `override_path`.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use crate::{
    reference::{DOCKER_DOMAIN, Reference},
    rule::{RuleSet, Target},
};

/// Host of Docker Hub's registry API (containerd, `hosts.go`).
const DOCKER_REGISTRY: &str = "registry-1.docker.io";

/// Permission for a node to pull from the public registry after the mirrors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The registry itself is tried last.
    #[default]
    Upstream,
    /// Images that a rule covers are pulled from mirrors only.
    Never,
}

impl Fallback {
    /// Returns the name on the command line and in Secrets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Never => "never",
        }
    }

    /// Returns the value with this name; `None` for other texts.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Upstream, Self::Never].into_iter().find(|it| it.as_str() == name)
    }
}

/// One endpoint: a registry host and a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host, with its port if it has one.
    pub host: String,
    /// Path below the API root; empty for the root itself.
    pub path: String,
}

/// Mirrors for each registry host, and for all other hosts.
#[derive(Clone, Debug, Default)]
pub struct MirrorTable {
    /// Endpoints for each host with a rule; empty to pull from the registry itself.
    hosts: BTreeMap<String, Vec<Endpoint>>,
    /// Endpoints for all other hosts.
    default: Vec<Endpoint>,
    /// Hosts of targets. Nodes pull from them directly, so the default must not match them.
    targets: BTreeSet<String>,
    plain_http: HashSet<String>,
}

impl MirrorTable {
    /// Returns the mirrors that correspond to `rules`.
    pub(crate) fn new(rules: &RuleSet) -> Self {
        let mut this = Self::default();
        let mut exempt = HashSet::new();
        for (id, rule) in rules.rules().iter().enumerate() {
            let target = rules.target(id);
            if let Some(target) = target {
                this.targets.insert(target.domain().to_owned());
                if target.is_plain_http() {
                    this.plain_http.insert(target.domain().to_owned());
                }
            }
            let key = rule.prefix().filter(|key| key.path().is_empty());
            let Some(key) = key.filter(|_| target.is_some() || rule.exempts()) else { continue };
            let endpoints = this.hosts.entry(key.as_str().to_owned()).or_default();
            // The first rule decides for pods: an exempt host has no mirror at all.
            if endpoints.is_empty() && target.is_none() {
                exempt.insert(key.as_str().to_owned());
            }
            if let Some(target) = target.filter(|_| !exempt.contains(key.as_str())) {
                let endpoint = Endpoint::of(target, key.host());
                // Runtimes reject a whole table that names an endpoint twice.
                if !endpoints.contains(&endpoint) {
                    endpoints.push(endpoint);
                }
            }
        }
        let default = rules.default_rule().and_then(|id| rules.target(id));
        if let Some(target) = default.filter(|target| !target.joins_name()) {
            this.default.push(Endpoint::of(target, ""));
        }
        this
    }

    /// Returns each host with a rule, and its endpoints in order; empty to pull from the
    /// registry itself.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &[Endpoint])> {
        self.hosts.iter().map(|(host, endpoints)| (host.as_str(), endpoints.as_slice()))
    }

    /// Returns the endpoints for one host; `None` if no rule covers the whole host.
    pub(crate) fn host(&self, host: &str) -> Option<&[Endpoint]> {
        self.hosts.get(host).map(Vec::as_slice)
    }

    /// Returns the endpoints for all other hosts.
    pub fn elsewhere(&self) -> &[Endpoint] {
        &self.default
    }

    /// Returns the hosts of targets, from which nodes pull directly.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(String::as_str)
    }

    /// Returns the scheme for `host`: `https`, unless plain HTTP is declared or assumed.
    pub fn scheme(&self, host: &str) -> &'static str {
        // Plain HTTP is declared; containerd assumes it only of this machine
        // (`docker.IsLocalhost`), unless the host is configured.
        let assumed = is_localhost(host) && !self.targets.contains(host);
        if assumed || self.plain_http.contains(host) { "http" } else { "https" }
    }

    /// Returns the URL of the API root below `endpoint`: `scheme://host/v2/path`.
    pub fn api_url(&self, endpoint: &Endpoint) -> String {
        [self.scheme(&endpoint.host), "://", &endpoint.below("/v2")].concat()
    }

    /// Returns the URL of the API root of the registry `host` itself: `scheme://host/v2`.
    pub fn registry_url(&self, host: &str) -> String {
        self.server(host) + "/v2"
    }

    /// Returns `scheme://host`, the server at which the registry `host` itself answers.
    pub(crate) fn server(&self, host: &str) -> String {
        let registry = if host == DOCKER_DOMAIN { DOCKER_REGISTRY } else { host };
        [self.scheme(host), "://", registry].concat()
    }

    /// Returns the URLs that the runtime tries for `reference`, in order:
    /// `scheme://host/v2/REPOSITORY/manifests/IDENTIFIER`, without the query.
    pub fn pulls(&self, reference: &Reference<'_>, fallback: Fallback) -> Vec<String> {
        let name = reference.name();
        let (host, repository) = host_and_repository(&name);
        let endpoints = match self.hosts.get(host) {
            Some(endpoints) => endpoints.as_slice(),
            None if self.targets.contains(host) => &[],
            None => &self.default,
        };
        let through = endpoints.iter().map(|endpoint| {
            let slash = if endpoint.path.is_empty() { "" } else { "/" };
            let repository = [&endpoint.path, slash, repository].concat();
            self.url(&endpoint.host, &repository, reference)
        });
        let mut urls: Vec<String> = through.collect();
        if urls.is_empty() || fallback == Fallback::Upstream {
            urls.push(self.url(host, repository, reference));
        }
        urls
    }

    /// Returns the URL of `reference` itself, which a node requests for a pod that names it.
    pub fn own_url(&self, reference: &Reference<'_>) -> String {
        let name = reference.name();
        let (host, repository) = host_and_repository(&name);
        self.url(host, repository, reference)
    }

    fn url(&self, host: &str, repository: &str, reference: &Reference<'_>) -> String {
        let registry = self.registry_url(host);
        [&registry, "/", repository, "/manifests/", reference.identifier()].concat()
    }
}

impl Endpoint {
    /// Returns the endpoint of `target` for `host`, which is appended to a target that ends in
    /// `-`.
    pub(crate) fn of(target: &Target, host: &str) -> Self {
        let joined = if target.joins_name() { host } else { "" };
        Self { host: target.domain().to_owned(), path: [target.path(), joined].concat() }
    }

    /// Returns host and path, with the API's `root` between them.
    pub(crate) fn below(&self, root: &str) -> String {
        let slash = if self.path.is_empty() { "" } else { "/" };
        [&self.host, root, slash, &self.path].concat()
    }
}

/// Splits a repository's name. Without a domain the runtime takes the first component for one.
fn host_and_repository(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// Returns true if `host` is this machine, like containerd's `docker.IsLocalhost`.
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
