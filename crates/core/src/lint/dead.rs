//! Rules that never apply: no image can match them, or another rule always takes precedence.

use std::collections::{HashMap, HashSet};

use super::linter::Linter;
use crate::{
    diagnostic::{Code, Diagnostic},
    reference::{DOCKER_DOMAIN, Reference},
    rule::{Pattern, Reason, Rule, RuleId, RuleKind, Target},
};

pub(super) fn find(checked: &Linter<'_>, findings: &mut Vec<Diagnostic>) {
    let open = open_patterns(checked);
    let mut seen: HashMap<(RuleKind, String), RuleId> = HashMap::new();
    let mut mirrors: HashSet<(String, &str)> = HashSet::new();
    for (id, rule) in checked.each().filter(|(_, rule)| rule.kind != RuleKind::Noswap) {
        if let Some((reason, hint)) = matches_nothing(rule) {
            findings.push(Diagnostic::warning(Code::DeadRule, rule.place, reason).hint(hint));
            continue;
        }
        let target = checked.rules.target(id).filter(|_| rule.kind != RuleKind::Exact);
        if target.is_some_and(Target::can_never_be_valid) {
            let target = &rule.target;
            let message =
                format!("no path below {target} is a valid image reference: no image is swapped");
            let hint = "use lowercase letters, digits and single separators in the path";
            let finding = Diagnostic::warning(Code::DeadRule, rule.target_place, message);
            findings.push(finding.hint(hint));
            continue;
        }
        findings.extend(spelling(checked, rule));
        let key = normalised(rule);
        let earlier = *seen.entry((rule.kind, key.clone())).or_insert(id);
        if earlier != id {
            // A source with several targets is a list of mirrors for nodes; all other
            // repetitions are mistakes.
            let is_mirror = rule.kind == RuleKind::Prefix && !rule.exempts();
            if !is_mirror || !mirrors.insert((key, &rule.target)) {
                findings.push(shadowed(checked, rule, earlier));
            }
            continue;
        }
        if rule.kind == RuleKind::Prefix {
            mirrors.insert((key.clone(), &rule.target));
        }
        if let Some(killer) = already_mirrored(checked, rule, &key) {
            let by = checked.rule(killer);
            let message = format!(
                "images of {} are already mirrored by line {}, column {}: this rule never applies",
                rule.source, by.place.line, by.place.column
            );
            let hint = "images below a target are not swapped again; remove this rule";
            findings.push(Diagnostic::warning(Code::DeadRule, rule.place, message).hint(hint));
            continue;
        }
        if let Some(pattern) = open.iter().find(|pattern| pattern.covers(id, rule, &key)) {
            findings.push(shadowed(checked, rule, pattern.rule));
        }
    }
}

/// Path component that no target ends in.
const PROBE: &str = "image-swap-probe";

/// Returns the message and the hint for a rule that no reference can match.
fn matches_nothing(rule: &Rule) -> Option<(String, &'static str)> {
    let key = rule.key();
    match rule.kind {
        RuleKind::Prefix if rule.prefix().is_none() => {
            let hint = if key == "*" {
                "`*` is not a wildcard here: write default:: for everything else"
            } else if key.contains(['*', '?']) {
                "write [REPLACE] before a pattern"
            } else if key.contains("://") {
                "remove the scheme: a source begins with the host"
            } else if key.ends_with('/') || key.starts_with('/') || key.contains("//") {
                "remove the extra slash, as in docker.io"
            } else if key.rsplit('/').next().is_some_and(|last| last.contains([':', '@'])) && key.contains('/') {
                "for a single tag or digest, write [EXACT] before it"
            } else {
                "write a registry's host (with a dot or a port), with or without a path"
            };
            Some((format!("expected a host or host/path as a source, found {key:?}: no image matches it"), hint))
        }
        RuleKind::Exact => Reference::parse(key).err().map(|error| {
            (
                format!("expected an image reference after [EXACT], found {key:?} ({error}): no image matches it"),
                "write the image as in a manifest",
            )
        }),
        _ => None,
    }
}

/// Names of Docker Hub that almost no image has.
const HUB: &str = "registry-1.docker.io registry.docker.io registry.hub.docker.com hub.docker.com \
                   index.docker.com docker.com www.docker.com www.docker.io";

/// Returns a warning for a source that is the name of a registry in another spelling than
/// that of images.
fn spelling(checked: &Linter<'_>, rule: &Rule) -> Option<Diagnostic> {
    let key = rule.prefix()?;
    let written = rule.key().split('/').next().unwrap_or_default();
    let warn = |message: String, hint: String| {
        Some(Diagnostic::warning(Code::SourceSpelling, rule.place, message).hint(hint))
    };
    // Another rule for Docker Hub shows that both names are intended.
    let has_hub = || checked.each().any(|(_, rule)| rule.source == DOCKER_DOMAIN);
    if HUB.split(' ').any(|host| host == key.domain()) && !has_hub() {
        let message = format!(
            "expected {DOCKER_DOMAIN}, the host of Docker Hub's images, found {written}: the rule \
             matches only images that begin with {written}"
        );
        return warn(message, format!("write {DOCKER_DOMAIN}"));
    }
    if key.domain() == "docker.io-library" {
        let message = format!("{written} is not the name of a registry: no image matches the rule");
        return warn(message, format!("write {DOCKER_DOMAIN}/library"));
    }
    if written.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let domain = key.domain();
        let message =
            format!("expected a host in lower case, found {written}: the rule applies to {domain}");
        return warn(message, format!("write {}", key.as_str()));
    }
    None
}

/// Returns the normalised key, by which repetitions are found.
fn normalised(rule: &Rule) -> String {
    rule.prefix().map_or_else(|| rule.key().to_owned(), |key| key.as_str().to_owned())
}

/// Returns the warning about `rule`, which the rule `by` makes useless.
fn shadowed(checked: &Linter<'_>, rule: &Rule, by: RuleId) -> Diagnostic {
    let by = checked.rule(by);
    let message = format!(
        "{} never applies: {} in line {}, column {} always takes precedence",
        rule.source, by.source, by.place.line, by.place.column
    );
    Diagnostic::warning(Code::Shadowed, rule.place, message).hint("remove this rule")
}

/// Returns the rule whose target contains every image that `rule` matches.
fn already_mirrored(checked: &Linter<'_>, rule: &Rule, key: &str) -> Option<RuleId> {
    let probe = match rule.kind {
        // Any path below the key serves as a probe; a target below the key covers only a part
        // of it.
        RuleKind::Prefix => [rule.key(), "/", PROBE].concat(),
        RuleKind::Exact => key.to_owned(),
        // A pattern is dead if its literal prefix is below a target.
        RuleKind::Replace => {
            let beginning = Pattern::new(key).literal_prefix();
            let whole = beginning.rfind('/').map_or("", |slash| &beginning[..slash]);
            [whole, "/", PROBE].concat()
        }
        RuleKind::Default | RuleKind::Noswap => return None,
    };
    let decision = checked.rules.swap(&probe).ok()?;
    let killer = decision.rule.filter(|_| decision.reason == Reason::AlreadyMirrored)?;
    // An `[EXACT]` target is one reference, so it never makes a whole key dead.
    (checked.rule(killer).kind != RuleKind::Exact || rule.kind == RuleKind::Exact).then_some(killer)
}

/// A pattern that matches every text with its literal prefix.
struct OpenPattern {
    rule: RuleId,
    beginning: String,
}

impl OpenPattern {
    /// Returns true if the pattern precedes `rule` and matches all of its images.
    fn covers(&self, id: RuleId, rule: &Rule, key: &str) -> bool {
        match rule.kind {
            RuleKind::Prefix => [key, "/"].concat().starts_with(&self.beginning),
            RuleKind::Default => self.beginning.is_empty(),
            RuleKind::Replace => {
                self.rule < id && Pattern::new(key).literal_prefix().starts_with(&self.beginning)
            }
            RuleKind::Exact | RuleKind::Noswap => false,
        }
    }
}

/// Returns the few shortest patterns. Longer ones rarely cover more, and the cost stays the
/// same for each rule.
fn open_patterns(checked: &Linter<'_>) -> Vec<OpenPattern> {
    const MOST: usize = 32;
    let replace = checked.each().filter(|(_, rule)| rule.kind == RuleKind::Replace);
    let mut open: Vec<OpenPattern> = replace
        .filter(|(_, rule)| Pattern::new(rule.key()).is_open_prefix())
        .map(|(rule, r)| OpenPattern { rule, beginning: Pattern::new(r.key()).literal_prefix() })
        .collect();
    open.sort_unstable_by_key(|open| (open.beginning.len(), open.rule));
    open.truncate(MOST);
    open
}
