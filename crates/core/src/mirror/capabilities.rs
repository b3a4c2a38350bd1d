//! Capabilities of a format, and the rules that it cannot express.

use super::table::{Endpoint, Fallback, MirrorTable};
use crate::rule::{RuleId, RuleKind, RuleSet, RuleSource, Target};

/// Capabilities of a format.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a table: each is one capability")]
pub struct Capabilities {
    /// Rules for a part of a host.
    pub paths: bool,
    /// A rule for all hosts that have none.
    pub default: bool,
    /// Hosts other than Docker Hub.
    pub hosts: bool,
    /// Mirrors that are not the root of their registry.
    pub mirror_paths: bool,
    /// The setting that nodes never pull from the registry itself; otherwise the reason.
    pub never: Result<(), &'static str>,
}

/// Capabilities of containerd's `hosts.toml`.
pub const HOSTS_TOML: Capabilities =
    Capabilities { paths: false, default: true, hosts: true, mirror_paths: true, never: Ok(()) };

/// A rule that a format cannot express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedRule {
    /// The rule.
    pub rule: RuleId,
    /// The reason, as a message.
    pub reason: &'static str,
}

impl Capabilities {
    /// Returns the rules that the format cannot express, in order.
    pub fn inexpressible(
        &self,
        rules: &RuleSet,
        mirrors: &MirrorTable,
        fallback: Fallback,
    ) -> Vec<UnsupportedRule> {
        let unsupported = |rule| {
            let reason = self.unsupported_reason(rule, rules, mirrors, fallback)?;
            Some(UnsupportedRule { rule, reason })
        };
        (0..rules.rules().len()).filter_map(unsupported).collect()
    }

    fn unsupported_reason(
        &self,
        id: RuleId,
        rules: &RuleSet,
        mirrors: &MirrorTable,
        fallback: Fallback,
    ) -> Option<&'static str> {
        let rule = &rules.rules()[id];
        let target = rules.target(id);
        let reason = match rule.kind {
            RuleKind::Exact => Some("the format has no rules for a single tag or digest"),
            RuleKind::Replace => Some("the format has no rules for a pattern"),
            RuleKind::Noswap => (self.default && !mirrors.elsewhere().is_empty())
                .then_some("the default applies to every host without a rule"),
            RuleKind::Default if target.is_none() => None,
            RuleKind::Default if !self.default => {
                Some("the format has no rule for all other hosts")
            }
            RuleKind::Default => target
                .is_some_and(Target::joins_name)
                .then_some("a default cannot add the host to the path"),
            RuleKind::Prefix => self.unsupported_prefix_reason(&rule.prefix()?, target, mirrors),
        };
        let covers = matches!(rule.kind, RuleKind::Prefix | RuleKind::Default) && target.is_some();
        reason.or_else(|| self.never.err().filter(|_| covers && fallback == Fallback::Never))
    }

    fn unsupported_prefix_reason(
        &self,
        key: &RuleSource,
        target: Option<&Target>,
        mirrors: &MirrorTable,
    ) -> Option<&'static str> {
        let path = target.map(|target| Endpoint::of(target, key.host()).path);
        if !self.hosts && target.is_some() && key.domain() != "docker.io" {
            Some("only Docker Hub can have a mirror")
        } else if !key.path().is_empty() && !self.paths && !is_redundant(key, target, mirrors) {
            Some("the format has rules for whole hosts only")
        } else if !self.mirror_paths && path.is_some_and(|path| !path.is_empty()) {
            Some("a mirror cannot have a path")
        } else {
            None
        }
    }
}

/// Returns true if the rule for the whole host already sends images below `key` to `target`.
fn is_redundant(key: &RuleSource, target: Option<&Target>, mirrors: &MirrorTable) -> bool {
    let of_host = mirrors.host(key.domain()).unwrap_or(mirrors.elsewhere()).first();
    match (of_host, target) {
        (Some(host), Some(target)) if !target.joins_name() => {
            let path = [&host.path, key.path()].join("/");
            host.host == target.domain() && path.trim_start_matches('/') == target.path()
        }
        (None, None) => true,
        _ => false,
    }
}
