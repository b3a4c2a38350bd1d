//! Rules that may contain a user name and a password, so that no message repeats them.
//!
//! A map cuts a target at `#`, and an item of a list at a comma. The rest of a URL with a
//! credential may then lack the `@` that would identify it.

use std::collections::HashSet;

use image_swap_text::redact::{has_userinfo, may_hold_secret, userinfo};

use super::linter::Linter;
use crate::{
    diagnostic::{Code, Diagnostic},
    rule::{Rule, RuleId, RuleKind, RuleSource, Target},
};

/// The rules whose target may contain a credential, and the texts that messages must not
/// repeat.
#[derive(Debug, Default)]
pub(super) struct Exposed {
    rules: HashSet<RuleId>,
    /// Rules whose source contains a credential, in order.
    pub(super) sources: Vec<RuleId>,
    /// Longer texts first, since a text may contain another one.
    secrets: Vec<String>,
}

/// Minimal length of a text to hide. Shorter texts do not reveal a password.
const SHORTEST: usize = 3;

impl Exposed {
    /// Finds these rules and texts among the rules of `checked`.
    pub(super) fn find(checked: &Linter<'_>) -> Self {
        let mut this = Self::default();
        let rules = checked.rules.rules();
        let lines: Vec<&str> = checked.text.split('\n').collect();
        for (id, rule) in checked.each().filter(|(_, rule)| rule.kind != RuleKind::Noswap) {
            // A comment follows the last rule of its line.
            let line = rule.place.line;
            let is_last = rules.get(id + 1).is_none_or(|next| next.place.line != line);
            let is_cut = is_last && lines.get(line - 1).is_some_and(|line| is_cut(rule, line));
            let hides_target = may_hold_secret(&rule.target) || is_cut;
            let is_url = rule.source.contains("://") && may_hold_secret(&rule.source);
            let has_credential = is_url || has_userinfo(&rule.source);
            if has_credential {
                this.sources.push(id);
            }
            let is_rest =
                hides_target && rule.kind == RuleKind::Prefix && !is_registry_like(rule.key());
            if hides_target {
                this.rules.insert(id);
                add_target(&rule.target, &mut this.secrets);
            }
            if is_rest || has_credential {
                add(&rule.source, &mut this.secrets);
                // A password with a comma and `::` begins in the item before.
                let before =
                    id.checked_sub(1).filter(|it| rules[*it].place.line == rule.place.line);
                if let Some(before) = before.filter(|_| hides_target) {
                    this.rules.insert(before);
                    add_target(&rules[before].target, &mut this.secrets);
                }
            }
        }
        this.secrets.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        this.secrets.dedup();
        this
    }

    /// Returns true if the rule's target may contain a credential.
    pub(super) fn has(&self, rule: RuleId) -> bool {
        self.rules.contains(&rule)
    }

    /// Replaces every text of these rules in `message`.
    pub(super) fn hide(&self, message: &mut String) {
        for secret in &self.secrets {
            if message.contains(secret.as_str()) {
                *message = message.replace(secret.as_str(), "…");
            }
        }
    }
}

/// Returns true if a source looks like a registry: a host with a dot or a port.
fn is_registry_like(source: &str) -> bool {
    RuleSource::parse(source).is_some_and(|key| key.domain().contains(['.', ':']))
}

/// Returns the diagnostic about a target that is valid and may contain a credential.
pub(super) fn valid_target(rule: &Rule) -> Diagnostic {
    let message = "the target may be a user name and a part of a password: `#` begins a comment";
    // A host with a dot may be intended, followed by a comment.
    let target = Target::parse(&rule.target).or_else(|_| Target::of_exact(&rule.target));
    if target.is_ok_and(|target| target.host().contains('.')) {
        return Diagnostic::warning(Code::InvalidTarget, rule.target_place, message);
    }
    Diagnostic::error(Code::InvalidTarget, rule.target_place, message)
}

/// Returns true if the target of `rule`, the last one of `line`, ends in a `:` part directly before
/// a comment with an `@`.
fn is_cut(rule: &Rule, line: &str) -> bool {
    let Some((code, comment)) = line.split_once('#') else { return false };
    let target = &rule.target;
    let rest = target.split_once("://").map_or(target.as_str(), |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let has_colon = host.rsplit(']').next().unwrap_or_default().contains(':');
    comment.contains('@')
        && !code.ends_with(char::is_whitespace)
        && (has_colon || !host.contains('.'))
}

/// Adds a target in every form in which messages quote it.
fn add_target(target: &str, secrets: &mut Vec<String>) {
    let rest = target.split_once("://").map(|(_, rest)| rest);
    for text in [Some(target), rest, userinfo(target)].into_iter().flatten() {
        add(text, secrets);
    }
    if let Ok(target) = Target::parse(target).or_else(|_| Target::of_exact(target)) {
        add(target.as_str(), secrets);
        add(target.domain(), secrets);
    }
}

fn add(text: &str, secrets: &mut Vec<String>) {
    if text.len() >= SHORTEST {
        secrets.push(text.to_owned());
        secrets.push(text.escape_debug().to_string());
        // Some messages quote the host in lower case.
        secrets.push(text.to_ascii_lowercase());
    }
}
