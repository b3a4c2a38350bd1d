//! What a format has words for, and which rules it cannot hold.

use super::mirrors::{Endpoint, Fallback, Mirrors};
use crate::rule::{Key, Kind, RuleId, RuleSet, Target};

/// What a format can say.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a row of a table: each is one thing to have a word for"
)]
pub struct Words {
    /// Rules for a part of a host.
    pub paths: bool,
    /// A rule for all hosts that have none.
    pub default: bool,
    /// Hosts beside Docker Hub.
    pub hosts: bool,
    /// Mirrors that are not the root of their registry.
    pub mirror_paths: bool,
    /// That the registry itself is never asked; else what to do instead.
    pub never: Result<(), &'static str>,
}

/// What containerd's `hosts.toml` can say.
pub const CONTAINERD: Words =
    Words { paths: false, default: true, hosts: true, mirror_paths: true, never: Ok(()) };

/// A rule that a format cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexpressible {
    /// Which rule.
    pub rule: RuleId,
    /// Why the format has no words for it.
    pub why: &'static str,
}

impl Words {
    /// The rules that cannot be held, in order.
    pub fn inexpressible(
        &self,
        rules: &RuleSet,
        mirrors: &Mirrors,
        fallback: Fallback,
    ) -> Vec<Inexpressible> {
        let found = (0..rules.rules().len())
            .filter_map(|rule| Some((rule, self.why_not(rule, rules, mirrors, fallback)?)));
        found.map(|(rule, why)| Inexpressible { rule, why }).collect()
    }

    fn why_not(
        &self,
        id: RuleId,
        rules: &RuleSet,
        mirrors: &Mirrors,
        fallback: Fallback,
    ) -> Option<&'static str> {
        let rule = &rules.rules()[id];
        let target = rules.target(id);
        let why = match rule.kind {
            Kind::Exact => Some("there is no rule for a single tag or digest"),
            Kind::Replace => Some("there is no rule for a pattern"),
            Kind::Noswap => (self.default && !mirrors.elsewhere().is_empty())
                .then_some("the default covers every host without a rule"),
            Kind::Default if target.is_none() => None,
            Kind::Default if !self.default => Some("there is no rule for all other hosts"),
            Kind::Default => target
                .is_some_and(Target::is_joined)
                .then_some("a default cannot put the host into a path"),
            Kind::Prefix => self.why_not_prefix(&Key::parse(rule.key())?, target, mirrors),
        };
        let covers = matches!(rule.kind, Kind::Prefix | Kind::Default) && target.is_some();
        why.or_else(|| self.never.err().filter(|_| covers && fallback == Fallback::Never))
    }

    fn why_not_prefix(
        &self,
        key: &Key,
        target: Option<&Target>,
        mirrors: &Mirrors,
    ) -> Option<&'static str> {
        let path = target.map(|target| Endpoint::of(target, key.host()).path);
        if !self.hosts && target.is_some() && key.domain() != "docker.io" {
            Some("only Docker Hub can have a mirror")
        } else if !key.path().is_empty() && !self.paths && !says_already(key, target, mirrors) {
            Some("there are rules for whole hosts only")
        } else if !self.mirror_paths && path.is_some_and(|path| !path.is_empty()) {
            Some("a mirror cannot have a path")
        } else {
            None
        }
    }
}

/// Whether the rule for the whole host sends what is below `key` to `target` too.
fn says_already(key: &Key, target: Option<&Target>, mirrors: &Mirrors) -> bool {
    let of_host = mirrors.host(key.domain()).unwrap_or(mirrors.elsewhere()).first();
    match (of_host, target) {
        (Some(host), Some(target)) if !target.is_joined() => {
            let path = [&host.path, key.path()].join("/");
            host.host == target.domain() && path.trim_start_matches('/') == target.path()
        }
        (None, None) => true,
        _ => false,
    }
}
