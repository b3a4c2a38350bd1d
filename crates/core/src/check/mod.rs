//! What is wrong with rules before any image meets them.
//!
//! Each check looks at the compiled rules and costs the same for each of them,
//! so that a map of a hundred thousand rules is checked in a moment.

mod checked;
mod collision;
mod dead;
mod exposed;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use image_swap_text::{position::Position, redact::without_userinfo};

pub use self::checked::Checked;
use self::exposed::Exposed;
use crate::{
    finding::{Code, Finding},
    nodes::{CONTAINERD, Fallback, Words},
    rule::{Key, Kind, Rule, RuleId, TargetError, is_below},
};

impl Checked<'_> {
    /// Every finding about the rules, in the order of the text.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings_told(CONTAINERD, Fallback::Upstream)
    }

    /// The same where nodes are told with `words`, and may ask the registry itself
    /// or not.
    pub(crate) fn findings_told(&self, words: Words, fallback: Fallback) -> Vec<Finding> {
        let mut findings = Vec::new();
        let exposed = Exposed::find(self);
        self.invalid_targets(&exposed, &mut findings);
        self.chains(&mut findings);
        dead::find(self, &mut findings);
        collision::find(self, &mut findings);
        self.outside_domain(&mut findings);
        self.credential_over_http(&mut findings);
        self.scheme_differs(&mut findings);
        self.inexpressible(words, fallback, &mut findings);
        self.silent_no_op(&mut findings);
        for finding in &mut findings {
            finding.key = self.key;
            // Messages quote rules, and people put passwords into targets.
            exposed.hide(&mut finding.message);
            if let Some(hint) = &mut finding.hint {
                exposed.hide(hint);
            }
            if let Cow::Owned(shown) = without_userinfo(&finding.message) {
                finding.message = shown;
            }
        }
        findings.sort_by_key(|finding| (finding.place, finding.code));
        findings
    }

    fn invalid_targets(&self, exposed: &Exposed, findings: &mut Vec<Finding>) {
        const USERINFO: &str = "give user name and password as USERNAME and PASSWORD";
        for id in exposed.sources() {
            let found = "expected a source, found what may hold a user name and a password";
            let place = self.rule(id).place;
            findings.push(Finding::error(Code::InvalidTarget, place, found).hint(USERINFO));
        }
        for (id, rule) in self.each().filter(|(_, rule)| !rule.exempts()) {
            let error = rule.parse_target().and_then(Result::err);
            let is_exposed = exposed.has(id);
            let Some(error) = error else {
                if is_exposed {
                    findings.push(exposed::valid_target(rule).hint(USERINFO));
                }
                continue;
            };
            // A target that may hold a password is not repeated, not even in part.
            if is_exposed {
                let found = format!("{error}, found what may hold a user name and a password");
                let finding = Finding::error(Code::InvalidTarget, rule.target_place, found);
                findings.push(finding.hint(USERINFO));
                continue;
            }
            let found = format!("{error}, found {:?}", rule.target);
            let hint = match error {
                TargetError::NoRegistry if has_other_scheme(&rule.target) => {
                    "leave out the scheme: images are pulled by HTTPS, and by HTTP with http://"
                }
                TargetError::NoRegistry => {
                    "write the registry's host in front, as in harbor.example.org/path; \
                     for Docker Hub write docker.io/path"
                }
                TargetError::TagOrDigest => {
                    "for a single tag or digest write [EXACT] before the source"
                }
            };
            findings.push(Finding::error(Code::InvalidTarget, rule.target_place, found).hint(hint));
        }
    }

    /// A node that is told `a -> b` and `b -> c` asks `c` for what a pod names as `b`.
    fn chains(&self, findings: &mut Vec<Finding>) {
        // For each domain with a rule that leads elsewhere: the paths of its keys.
        let mut sources: HashMap<String, Vec<Key>> = HashMap::new();
        for (id, rule) in self.each().filter(|(_, rule)| rule.kind == Kind::Prefix) {
            if let (Some(key), Some(_)) = (Key::parse(rule.key()), self.rules.target(id)) {
                sources.entry(key.domain().to_owned()).or_default().push(key);
            }
        }
        for keys in sources.values_mut() {
            // One key is enough to make a chain: the shallowest speaks for the others.
            keys.sort_by_key(|key| key.path().len());
            if keys.first().is_some_and(|key| key.path().is_empty()) {
                keys.truncate(1);
            }
        }
        for (id, rule) in self.each() {
            let Some(target) = self.rules.target(id) else { continue };
            // Keys are in lower case.
            let domain = target.domain().to_ascii_lowercase();
            let of_domain = sources.get(&domain);
            // A key without a port matches all ports.
            let keys = of_domain.or_else(|| sources.get(&target.host().to_ascii_lowercase()));
            let meets = |key: &&Key| paths_meet(key.path(), target.path());
            if let Some(key) = keys.and_then(|keys| keys.iter().find(meets)) {
                let message = format!(
                    "expected a target that is no source, found {}: a node would send the swapped \
                     reference on by the rule for {}",
                    target.as_str(),
                    key.as_str(),
                );
                findings.push(
                    Finding::error(Code::Chain, rule.target_place, message)
                        .hint("point both rules at the last registry of the chain"),
                );
            }
        }
    }

    fn outside_domain(&self, findings: &mut Vec<Finding>) {
        let Some(registry) = self.registry else { return };
        let mut seen = HashSet::new();
        for (id, rule) in self.each() {
            let Some(target) = self.rules.target(id) else { continue };
            if !registry.covers(target.domain()) && seen.insert(target.domain()) {
                let message = format!(
                    "{} is not the declared registry {}: it gets neither user name, password, CA \
                     nor INSECURE",
                    target.domain(),
                    registry.domain,
                );
                findings.push(
                    Finding::warning(Code::OutsideDomain, rule.target_place, message).hint(
                        "if they are for that host too, declare it in CREDENTIAL_HOSTS \
                         (credentialHosts); nothing to do if it needs none of them",
                    ),
                );
            }
        }
    }

    /// Nodes would send the credential unencrypted, so that files for them leave it out.
    fn credential_over_http(&self, findings: &mut Vec<Finding>) {
        let declared = self.registry.filter(|registry| !registry.username.is_empty());
        let Some(registry) = declared else { return };
        let mut seen = HashSet::new();
        for (id, rule) in self.each() {
            let Some(target) = self.rules.target(id).filter(|it| it.is_plain_http()) else {
                continue;
            };
            if registry.covers(target.domain()) && seen.insert(target.domain()) {
                let message = format!(
                    "{} is reached by plain HTTP: node configuration leaves out its user name and \
                     password, which would travel unencrypted",
                    target.domain(),
                );
                findings.push(
                    Finding::warning(Code::CredentialOverHttp, rule.target_place, message).hint(
                        "serve it by HTTPS and remove http://, or give render and node the option \
                         --header-over-http",
                    ),
                );
            }
        }
    }

    /// Nodes take the scheme of the targets: without one they use HTTPS, which the registry
    /// does not speak.
    fn scheme_differs(&self, findings: &mut Vec<Finding>) {
        let Some(registry) = self.registry.filter(|registry| registry.plain_http) else { return };
        if self.mirrors.scheme(&registry.domain) == "http" {
            return;
        }
        let is_there = |id| self.rules.target(id).is_some_and(|it| it.domain() == registry.domain);
        let Some((_, rule)) = self.each().find(|(id, _)| is_there(*id)) else { return };
        let message = format!(
            "the registry is declared with http://, and its targets without: nodes pull from {} by \
             HTTPS",
            registry.domain,
        );
        findings.push(
            Finding::warning(Code::SchemeDiffers, rule.target_place, message)
                .hint(format!("write http://{} in the targets, too", registry.domain)),
        );
    }

    fn inexpressible(&self, words: Words, fallback: Fallback, findings: &mut Vec<Finding>) {
        for inexpressible in words.inexpressible(self.rules, self.mirrors, fallback) {
            let rule = self.rule(inexpressible.rule);
            let shown = if rule.kind == Kind::Noswap { &rule.target } else { &rule.source };
            findings.push(
                Finding::warning(
                    Code::NodeInexpressible,
                    rule.place,
                    format!("nodes cannot be told {shown}: {}", inexpressible.why),
                )
                .hint("pods follow it; what nodes pull by themselves (static pods) does not"),
            );
        }
    }

    /// Whether nothing at all would be swapped.
    fn silent_no_op(&self, findings: &mut Vec<Finding>) {
        let swaps = |(id, rule): (RuleId, &Rule)| {
            self.rules.target(id).is_some()
                && (rule.kind != Kind::Prefix || Key::parse(rule.key()).is_some())
        };
        if !self.each().any(swaps) {
            findings.push(
                Finding::warning(
                    Code::SilentNoOp,
                    Position::START,
                    "expected at least one rule with a target, found none: no image is changed",
                )
                .hint("write source::target, as in docker.io::harbor.example.org/docker.io"),
            );
        }
    }
}

/// Can a reference lie below both paths?
fn paths_meet(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.is_empty() || is_below(long, short)
}

/// Returns true for `oci://…` and the like, which are no URLs of a registry's API.
fn has_other_scheme(target: &str) -> bool {
    let scheme = target.split_once("://").map_or("", |(scheme, _)| scheme);
    let of_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    !scheme.is_empty() && !of_http && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests;
