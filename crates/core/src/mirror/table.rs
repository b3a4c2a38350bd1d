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
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt,
};

use crate::{
    reference::{DOCKER_DOMAIN, Reference},
    rule::{RuleSet, Target},
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

impl Fallback {
    /// Returns the name on the command line and in Secrets.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Never => "never",
        }
    }

    /// Returns the value that is called `name`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Upstream, Self::Never].into_iter().find(|it| it.as_str() == name)
    }
}

/// One place to ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Its host, with its port if it has one.
    pub host: String,
    /// Below the API root; empty for the root itself.
    pub path: String,
}

/// What nodes are told.
#[derive(Clone, Debug, Default)]
pub struct MirrorTable {
    /// For each host with a rule its endpoints; none: ask the registry itself.
    hosts: BTreeMap<String, Vec<Endpoint>>,
    /// For all other hosts.
    default: Vec<Endpoint>,
    /// Hosts of targets: asked directly, so no default may catch them.
    targets: BTreeSet<String>,
    plain_http: HashSet<String>,
}

impl MirrorTable {
    /// What nodes are told of `rules`.
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
                // A table that names one twice is refused as a whole.
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

    /// Each host with a rule, and its endpoints in order; none: ask the registry itself.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, &[Endpoint])> {
        self.hosts.iter().map(|(host, endpoints)| (host.as_str(), endpoints.as_slice()))
    }

    /// The endpoints for one host, if there is a rule for it as a whole.
    pub(crate) fn host(&self, host: &str) -> Option<&[Endpoint]> {
        self.hosts.get(host).map(Vec::as_slice)
    }

    /// The endpoints for all other hosts.
    pub fn elsewhere(&self) -> &[Endpoint] {
        &self.default
    }

    /// The hosts of targets, which nodes ask directly for what pods name.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(String::as_str)
    }

    /// `https`, or what was declared or is assumed of `host`.
    pub fn scheme(&self, host: &str) -> &'static str {
        // Plain HTTP is declared; containerd assumes it of this machine alone
        // (`docker.IsLocalhost`), unless the host is configured.
        let assumed = is_localhost(host) && !self.targets.contains(host);
        if assumed || self.plain_http.contains(host) { "http" } else { "https" }
    }

    /// `scheme://host/v2/path`.
    pub fn api_url(&self, endpoint: &Endpoint) -> String {
        [self.scheme(&endpoint.host), "://", &endpoint.below("/v2")].concat()
    }

    /// `scheme://host/v2` of the registry `host` itself.
    pub fn registry_url(&self, host: &str) -> String {
        self.server(host) + "/v2"
    }

    /// Returns `scheme://host`, the server at which the registry `host` itself answers.
    pub(crate) fn server(&self, host: &str) -> String {
        let registry = if host == DOCKER_DOMAIN { DOCKER_REGISTRY } else { host };
        [self.scheme(host), "://", registry].concat()
    }

    /// The URLs that are tried for `reference`, in order:
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

    /// The URL of `reference` itself: what is requested for a pod that names it.
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
    /// `host`: what is joined to a target that ends in `-`.
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
