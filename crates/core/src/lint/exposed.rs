//! Rules that may hold a user name and a password, so that no message repeats them.
//!
//! A map cuts a target at `#`, and an item of a list at a comma: the rest of a URL with a
//! credential may lack the `@` that would identify it.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_text::redact::{has_userinfo, may_hold_secret, userinfo};

use super::linter::Linter;
use crate::{
    diagnostic::{Code, Diagnostic},
    rule::{Rule, RuleId, RuleKind, RuleSource, Target},
};

/// The rules whose target may hold a credential, and the texts that messages must not repeat.
#[derive(Debug, Default)]
pub(super) struct Exposed {
    rules: BTreeSet<RuleId>,
    /// The rules whose source holds one.
    sources: BTreeSet<RuleId>,
    /// Longer texts first: a text may contain another one.
    secrets: Vec<String>,
}

/// Texts below this length say nothing of a password.
const SHORTEST: usize = 3;

impl Exposed {
    /// Finds them among the rules of `checked`.
    pub(super) fn find(checked: &Linter<'_>) -> Self {
        let mut this = Self::default();
        let mut secrets: BTreeSet<String> = BTreeSet::new();
        let rules = checked.rules.rules();
        let cut = cut_targets(checked);
        for (id, rule) in checked.each().filter(|(_, rule)| rule.kind != RuleKind::Noswap) {
            let hides_target = may_hold_secret(&rule.target) || cut.contains(&id);
            let is_url = rule.source.contains("://") && may_hold_secret(&rule.source);
            if is_url || has_userinfo(&rule.source) {
                this.sources.insert(id);
            }
            let is_rest =
                hides_target && rule.kind == RuleKind::Prefix && !is_registry_like(rule.key());
            let hides_source = is_rest || this.sources.contains(&id);
            if hides_target {
                this.rules.insert(id);
                add_target(&rule.target, &mut secrets);
            }
            if hides_source {
                add(&rule.source, &mut secrets);
                // A password with a comma and `::` has begun in the item before.
                let before =
                    id.checked_sub(1).filter(|it| rules[*it].place.line == rule.place.line);
                if let Some(before) = before.filter(|_| hides_target) {
                    this.rules.insert(before);
                    add_target(&rules[before].target, &mut secrets);
                }
            }
        }
        this.secrets = secrets.into_iter().collect();
        this.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        this
    }

    /// Returns true if the rule's target may hold a credential.
    pub(super) fn has(&self, rule: RuleId) -> bool {
        self.rules.contains(&rule)
    }

    /// Returns the rules whose source may hold a credential.
    pub(super) fn sources(&self) -> impl Iterator<Item = RuleId> {
        self.sources.iter().copied()
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

/// Returns true if a source is one that people write: a host with a dot or a port.
fn is_registry_like(source: &str) -> bool {
    RuleSource::parse(source).is_some_and(|key| key.domain().contains(['.', ':']))
}

/// Returns the finding about a target that is valid and may hold a credential.
pub(super) fn valid_target(rule: &Rule) -> Diagnostic {
    let message = "expected a target, found what may be a user name and a part of a password: \
                   `#` begins a comment";
    // A host with a dot may be meant as it is, with a comment behind it.
    let target = Target::parse(&rule.target).or_else(|_| Target::of_exact(&rule.target));
    if target.is_ok_and(|target| target.host().contains('.')) {
        return Diagnostic::warning(Code::InvalidTarget, rule.target_place, message);
    }
    Diagnostic::error(Code::InvalidTarget, rule.target_place, message)
}

/// Returns the rules whose target ends in a `:` part directly before a comment with an `@`.
fn cut_targets(checked: &Linter<'_>) -> BTreeSet<RuleId> {
    let mut cut = BTreeMap::new();
    for (index, line) in checked.text.split('\n').enumerate() {
        let Some((code, comment)) = line.split_once('#') else { continue };
        if comment.contains('@') && !code.ends_with(char::is_whitespace) {
            cut.insert(index + 1, None);
        }
    }
    if cut.is_empty() {
        return BTreeSet::new();
    }
    // The comment is behind the last rule of its line.
    for (id, rule) in checked.each() {
        if let Some(last) = cut.get_mut(&rule.place.line) {
            *last = Some(id);
        }
    }
    let has_colon = |id: &RuleId| {
        let target = &checked.rule(*id).target;
        let rest = target.split_once("://").map_or(target.as_str(), |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default();
        host.rsplit(']').next().unwrap_or_default().contains(':') || !host.contains('.')
    };
    cut.into_values().flatten().filter(has_colon).collect()
}

/// Adds a target in every form in which messages quote it.
fn add_target(target: &str, secrets: &mut BTreeSet<String>) {
    add(target, secrets);
    if let Some((_, rest)) = target.split_once("://") {
        add(rest, secrets);
    }
    if let Some(found) = userinfo(target) {
        add(found, secrets);
    }
    if let Ok(target) = Target::parse(target).or_else(|_| Target::of_exact(target)) {
        add(target.as_str(), secrets);
        add(target.domain(), secrets);
    }
}

fn add(text: &str, secrets: &mut BTreeSet<String>) {
    if text.len() >= SHORTEST {
        secrets.insert(text.to_owned());
        secrets.insert(text.escape_debug().to_string());
        // Some messages name the host that is meant.
        secrets.insert(text.to_ascii_lowercase());
    }
}
