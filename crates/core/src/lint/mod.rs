//! Checks of the rules, before any image is matched.
//!
//! Each check works on the compiled rules at a constant cost for each rule, for maps of a
//! hundred thousand rules.

mod collision;
mod dead;
mod exposed;
mod linter;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use image_swap_text::{position::Position, redact::without_userinfo};

use self::exposed::Exposed;
pub use self::linter::Linter;
use crate::{
    diagnostic::{Code, Diagnostic},
    mirror::{Capabilities, Fallback, HOSTS_TOML},
    rule::{Rule, RuleKind, RuleSource, TargetError, is_below},
};

/// The order of diagnostics: by position, and then by kind unless that is `None`.
type FindingOrder = fn(&Diagnostic) -> (Position, Option<Code>);

/// Sorts `findings` by `order`. The sort is stable.
pub(crate) fn sort_findings(findings: &mut [Diagnostic], order: FindingOrder) {
    findings.sort_by_key(order);
}

impl Linter<'_> {
    /// Returns every diagnostic about the rules, in the order of the text.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::{
    ///     declaration::{Declaration, DeclarationSource},
    ///     diagnostic::Code,
    ///     lint::Linter,
    /// };
    ///
    /// let text = "docker.io::mirror";
    /// let declaration = Declaration::read(DeclarationSource::Mirrors, text, 0)?;
    /// let (rules, mirrors) = (declaration.rules(), declaration.mirrors());
    /// let linter = Linter { rules, mirrors, text, key: None, registry: None };
    /// assert!(linter.findings().iter().any(|finding| finding.code == Code::InvalidTarget));
    /// # Ok::<(), image_swap_core::declaration::DeclarationError>(())
    /// ```
    pub fn findings(&self) -> Vec<Diagnostic> {
        self.lint_for(HOSTS_TOML, Fallback::Upstream)
    }

    /// Returns the findings for nodes whose format has these `capabilities`, and that
    /// pull from the registry itself if `fallback` allows it.
    pub(crate) fn lint_for(
        &self,
        capabilities: Capabilities,
        fallback: Fallback,
    ) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        let exposed = Exposed::find(self);
        self.invalid_targets(&exposed, &mut findings);
        self.chains(&mut findings);
        dead::find(self, &mut findings);
        collision::find(self, &mut findings);
        self.credentials(&mut findings);
        self.scheme_differs(&mut findings);
        self.inexpressible(capabilities, fallback, &mut findings);
        self.silent_no_op(&mut findings);
        for finding in &mut findings {
            finding.key = self.key;
            // Messages quote rules, and targets may contain passwords by mistake.
            exposed.hide(&mut finding.message);
            if let Some(hint) = &mut finding.hint {
                exposed.hide(hint);
            }
            if let Cow::Owned(shown) = without_userinfo(&finding.message) {
                finding.message = shown;
            }
        }
        sort_findings(&mut findings, |finding| (finding.place, Some(finding.code)));
        findings
    }

    fn invalid_targets(&self, exposed: &Exposed, findings: &mut Vec<Diagnostic>) {
        const USERINFO: &str = "set the user name and password in USERNAME and PASSWORD instead";
        for id in &exposed.sources {
            let found = "the source may contain a user name and a password";
            let place = self.rule(*id).place;
            findings.push(Diagnostic::error(Code::InvalidTarget, place, found).hint(USERINFO));
        }
        for (id, rule) in self.each().filter(|(_, rule)| !rule.exempts()) {
            let error = rule.parse_target().and_then(Result::err);
            let Some(error) = error else {
                if exposed.has(id) {
                    findings.push(exposed::valid_target(rule).hint(USERINFO));
                }
                continue;
            };
            // A target that may contain a password is not repeated, not even in part.
            let found = if exposed.has(id) {
                format!("{error}, found text that may contain a user name and a password")
            } else {
                format!("{error}, found {:?}", rule.target)
            };
            let hint = match error {
                _ if exposed.has(id) => USERINFO,
                TargetError::NoRegistry if has_other_scheme(&rule.target) => {
                    "remove the scheme: images are pulled over HTTPS, or over HTTP with http://"
                }
                TargetError::NoRegistry => {
                    "write the registry's host in front, as in harbor.example.org/path; \
                     for Docker Hub write docker.io/path"
                }
                TargetError::TagOrDigest => {
                    "to replace a single tag or digest, write [EXACT] before the source"
                }
            };
            let finding = Diagnostic::error(Code::InvalidTarget, rule.target_place, found);
            findings.push(finding.hint(hint));
        }
    }

    /// Finds targets that are sources, too: nodes with mirrors for `a -> b` and `b -> c`
    /// pull an image of `b` from `c`.
    fn chains(&self, findings: &mut Vec<Diagnostic>) {
        // The paths of the keys, for each domain with a rule that leads elsewhere.
        let mut sources: HashMap<String, Vec<RuleSource>> = HashMap::new();
        for key in self.targets().filter_map(|(rule, _)| rule.prefix()) {
            sources.entry(key.domain().to_owned()).or_default().push(key);
        }
        for keys in sources.values_mut() {
            // One key is enough for a chain: that of the whole host is the shortest.
            if let Some(whole) = keys.iter().position(|key| key.path().is_empty()) {
                *keys = vec![keys.swap_remove(whole)];
            }
        }
        for (rule, target) in self.targets() {
            // Keys are in lower case.
            let of_domain = sources.get(&target.domain().to_ascii_lowercase());
            // A key without a port matches all ports.
            let keys = of_domain.or_else(|| sources.get(&target.host().to_ascii_lowercase()));
            let meeting = keys.into_iter().flatten();
            let meeting = meeting.filter(|key| paths_meet(key.path(), target.path()));
            if let Some(key) = meeting.min_by_key(|key| key.path().len()) {
                let message = format!(
                    "the target {} overlaps the source {}: nodes would redirect the swapped image \
                     again",
                    target.as_str(),
                    key.as_str(),
                );
                let finding = Diagnostic::error(Code::Chain, rule.target_place, message);
                findings.push(finding.hint("point both rules at the last registry of the chain"));
            }
        }
    }

    /// Finds the hosts of targets that get no credential. These are hosts outside of the
    /// declared registry, and hosts to which nodes would send it unencrypted, so that rendered
    /// files omit it.
    fn credentials(&self, findings: &mut Vec<Diagnostic>) {
        let Some(registry) = self.registry else { return };
        let mut seen = HashSet::new();
        for (rule, target) in self.targets() {
            let host = target.domain();
            let is_outside = !registry.covers(host);
            let is_exposed = target.is_plain_http() && !registry.username.is_empty();
            if !(is_outside || is_exposed) || !seen.insert(host) {
                continue;
            }
            let (code, message, hint) = if is_outside {
                let message = format!(
                    "{host} is not the declared registry {}: user name, password, CA and INSECURE \
                     do not apply to it",
                    registry.domain,
                );
                let hint = "if they should, add the host to CREDENTIAL_HOSTS (credentialHosts); \
                            otherwise there is nothing to do";
                (Code::OutsideDomain, message, hint)
            } else {
                let message = format!(
                    "{host} uses plain HTTP: its user name and password are left out of node \
                     configuration, because they would be sent unencrypted",
                );
                let hint = "serve it over HTTPS and remove http://, or run render and node with \
                            --header-over-http";
                (Code::CredentialOverHttp, message, hint)
            };
            findings.push(Diagnostic::warning(code, rule.target_place, message).hint(hint));
        }
    }

    /// Finds targets without the `http://` of the declared registry: nodes use the scheme of
    /// the targets.
    fn scheme_differs(&self, findings: &mut Vec<Diagnostic>) {
        let Some(registry) = self.registry.filter(|registry| registry.plain_http) else { return };
        let domain = &registry.domain;
        let mut targets = self.targets().filter(|_| self.mirrors.scheme(domain) != "http");
        let Some((rule, _)) = targets.find(|(_, target)| target.domain() == domain) else { return };
        let message = format!(
            "the registry is declared with http://, but its targets are not: nodes pull from \
             {domain} over HTTPS"
        );
        let finding = Diagnostic::warning(Code::SchemeDiffers, rule.target_place, message);
        findings.push(finding.hint(format!("write http://{domain} in the targets too")));
    }

    fn inexpressible(
        &self,
        capabilities: Capabilities,
        fallback: Fallback,
        findings: &mut Vec<Diagnostic>,
    ) {
        for inexpressible in capabilities.inexpressible(self.rules, self.mirrors, fallback) {
            let rule = self.rule(inexpressible.rule);
            let shown = if rule.kind == RuleKind::Noswap { &rule.target } else { &rule.source };
            let message =
                format!("node configuration cannot contain {shown}: {}", inexpressible.reason);
            let hint = "the rule applies to pods, but not to images that nodes pull by themselves \
                        (static pods)";
            let finding = Diagnostic::warning(Code::NodeInexpressible, rule.place, message);
            findings.push(finding.hint(hint));
        }
    }

    /// Finds rules that change no image at all.
    fn silent_no_op(&self, findings: &mut Vec<Diagnostic>) {
        let swaps = |rule: &Rule| rule.kind != RuleKind::Prefix || rule.prefix().is_some();
        if !self.targets().any(|(rule, _)| swaps(rule)) {
            let message = "no rule has a target: no image is changed";
            let hint = "write source::target, as in docker.io::harbor.example.org/docker.io";
            findings
                .push(Diagnostic::warning(Code::SilentNoOp, Position::START, message).hint(hint));
        }
    }
}

/// Returns true if a reference can be below both paths.
fn paths_meet(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.is_empty() || is_below(long, short)
}

/// Returns true for `oci://…` and other schemes that do not belong to a registry's API.
fn has_other_scheme(target: &str) -> bool {
    let scheme = target.split_once("://").map_or("", |(scheme, _)| scheme);
    let of_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    !scheme.is_empty() && !of_http && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests;
