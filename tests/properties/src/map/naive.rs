//! A naive implementation of the rules, in the words of the format's documentation. It tries rules
//! one by one, in the order of precedence. The properties compare compiled rules with it.

use image_swap_core::{
    reference::Reference,
    rule::{Reason, RuleKind},
};

/// A rule, in the parts of its text.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) kind: RuleKind,
    /// The left side of the rule; empty for a default and for `noswap_wildcards`.
    pub(crate) key: String,
    pub(crate) target: Target,
}

/// A target, in the parts of its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) scheme: &'static str,
    /// The host, with a port if there is one; empty for a rule that exempts.
    pub(crate) domain: &'static str,
    pub(crate) api: &'static str,
    /// The path with its leading slash, or empty. For `[EXACT]` it contains tag and digest.
    pub(crate) path: String,
    pub(crate) slash: &'static str,
}

impl Rule {
    /// Returns the kind, and the text of the target.
    pub(crate) fn as_written(&self) -> (RuleKind, String) {
        let Target { scheme, domain, api, path, slash } = &self.target;
        (self.kind, [scheme, domain, api, path.as_str(), slash].concat())
    }

    /// Sets the target to the key, so that the rule exempts.
    pub(crate) fn set_identity(&mut self) {
        if matches!(self.kind, RuleKind::Exact | RuleKind::Replace | RuleKind::Prefix) {
            self.target = Target { path: self.key.clone(), ..Target::default() };
        }
    }

    /// Returns the beginning of swapped references; `None` if the rule exempts.
    fn target(&self) -> Option<String> {
        let Target { domain, path, .. } = &self.target;
        if self.is_identity() {
            return None;
        }
        let domain = match hub(domain).as_str() {
            "docker.io" if self.kind != RuleKind::Exact => "docker.io",
            _ => domain,
        };
        (!domain.is_empty()).then(|| [domain, path.as_str()].concat())
    }

    /// Returns true if the target of the rule is its own source.
    fn is_identity(&self) -> bool {
        let Target { scheme, domain, path, .. } = &self.target;
        let (_, written) = self.as_written();
        match self.kind {
            RuleKind::Noswap | RuleKind::Default => false,
            RuleKind::Replace => self.key == written,
            RuleKind::Exact => {
                let normalised = |text: &str| Reference::parse(text).map(|r| r.to_string()).ok();
                self.key == written
                    || normalised(&self.key).is_some_and(|key| Some(key) == normalised(&written))
            }
            RuleKind::Prefix => {
                let (of_key, below) = self.key.split_once('/').unwrap_or((&self.key, ""));
                let is_dead = below.bytes().any(|b| b.is_ascii_uppercase() || b == b':');
                let in_parts = *scheme != "http://"
                    && hub(of_key) == hub(domain)
                    && below == path.trim_start_matches('/');
                !is_dead && (in_parts || self.key == written)
            }
        }
    }
}

/// Returns the host in lower case, with one name for Docker Hub.
fn hub(domain: &str) -> String {
    let domain = domain.to_lowercase();
    if domain == "index.docker.io" { "docker.io".to_owned() } else { domain }
}

/// A reference whose host is normalised by [`hub`].
struct Compared {
    domain: String,
    path: String,
    /// Tag and digest with their separators; empty if there is neither.
    end: String,
}

impl Compared {
    fn new(reference: &Reference<'_>) -> Self {
        let (whole, name) = (reference.to_string(), reference.name());
        let (domain, mut path) = (hub(reference.domain()), reference.path().into_owned());
        let renamed = domain != reference.domain();
        if renamed && domain == "docker.io" && !path.contains('/') {
            path = ["library/", &path].concat();
        }
        Self { domain, path, end: whole[name.len()..].to_owned() }
    }

    fn of(text: &str) -> Option<Self> {
        Reference::parse(text).ok().map(|reference| Self::new(&reference))
    }

    fn name(&self) -> String {
        let slash = if self.domain.is_empty() { "" } else { "/" };
        [&self.domain, slash, &self.path].concat()
    }

    fn whole(&self) -> String {
        [self.name(), self.end.clone()].concat()
    }
}

/// Returns a domain without its port.
fn host(domain: &str) -> &str {
    match domain.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => domain,
    }
}

/// Returns the rest of `path` after the components of `beginning`; `None` if `path` is not at or
/// below it.
fn below<'p>(path: &'p str, beginning: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(beginning)?;
    (rest.is_empty() || beginning.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The decision about an image.
pub(crate) struct Answer {
    pub(crate) image: String,
    pub(crate) reason: Reason,
    pub(crate) rule: Option<usize>,
}

/// The rules of a map, in the order of its text.
pub(crate) struct Rules<'r>(pub(crate) &'r [Rule]);

impl Rules<'_> {
    /// Decides about `image`, which `reference` is parsed from.
    pub(crate) fn decide(&self, reference: &Reference<'_>, image: &str) -> Answer {
        let keep = |reason, rule| Answer { image: image.to_owned(), reason, rule };
        let digest = image.split_once(':').filter(|(_, hex)| !hex.contains(|c| !is_hex(c)));
        let digest = digest.map(|(algorithm, hex)| (algorithm, hex.len()));
        if matches!(digest, Some(("sha256", 64) | ("sha384", 96) | ("sha512", 128))) {
            return keep(Reason::ImageId, None);
        }
        if self.0.iter().any(|rule| is_target_of(image, rule)) {
            return keep(Reason::AlreadyMirrored, None);
        }
        let Some((id, reason, result)) = self.deciding_rule(&Compared::new(reference), image)
        else {
            return keep(Reason::NoRule, None);
        };
        let rule = Some(id);
        match result {
            RuleEffect::Noswap => keep(Reason::Noswap, rule),
            RuleEffect::Exempt => keep(Reason::Disabled, rule),
            RuleEffect::Swap(swapped) => match Reference::parse(&swapped) {
                Ok(parsed)
                    if reason == Reason::Exact
                        || hub(parsed.domain()) == hub(self.0[id].target.domain) =>
                {
                    Answer { image: swapped, reason, rule }
                }
                _ => keep(Reason::InvalidResult, rule),
            },
        }
    }

    /// Returns the first matching rule in the order of precedence, and its effect.
    fn deciding_rule(
        &self,
        reference: &Compared,
        image: &str,
    ) -> Option<(usize, Reason, RuleEffect)> {
        let whole = reference.whole();
        let whole = whole.as_str();
        let of_kind = |kind| self.0.iter().enumerate().filter(move |(_, rule)| rule.kind == kind);
        let applied = |(id, rule): (usize, &Rule), reason, result: &dyn Fn(&str) -> String| {
            let swap = |target: String| RuleEffect::Swap(result(&target));
            Some((id, reason, rule.target().map_or(RuleEffect::Exempt, swap)))
        };
        let (name, path) = (reference.name(), &reference.path);

        let normalised = |text: &str| Compared::of(text).map(|key| key.whole());
        let exact = of_kind(RuleKind::Exact).find(|(_, rule)| rule.key == image).or_else(|| {
            of_kind(RuleKind::Exact)
                .find(|(_, rule)| normalised(&rule.key).as_deref() == Some(whole))
        });
        if let Some(rule) = exact {
            return applied(rule, Reason::Exact, &str::to_owned);
        }

        let replace = of_kind(RuleKind::Replace)
            .find(|(_, rule)| matches(&rule.key, image) || matches(&rule.key, whole));
        if let Some(rule) = replace {
            let last = whole.rsplit('/').next().unwrap_or(whole);
            return applied(rule, Reason::Replace, &|target| put_below(target, last));
        }

        // The longest key matches. Of several equal keys, the first rule does.
        let prefixes = of_kind(RuleKind::Prefix).rev().filter_map(|rule| {
            let (domain, beginning) = rule.1.key.split_once('/').unwrap_or((&rule.1.key, ""));
            let rest = self.matches_domain(&hub(domain), &reference.domain).then_some(path)?;
            below(rest, beginning).map(|rest| (beginning.len(), rule, rest))
        });
        if let Some((_, rule, rest)) = prefixes.max_by_key(|(length, ..)| *length) {
            return applied(rule, Reason::Rule, &|target| swapped(reference, target, rest));
        }

        if let Some((id, _)) = of_kind(RuleKind::Noswap).find(|(_, rule)| is_in(image, rule)) {
            return Some((id, Reason::Noswap, RuleEffect::Noswap));
        }

        let default = of_kind(RuleKind::Default).next();
        let default = default.filter(|(_, rule)| rule.target().is_some())?;
        // The first component of a name without a domain (`a_b.c/d`) counts as its host.
        let rest = name.split_once('/').map_or("", |(_, rest)| rest);
        applied(default, Reason::Default, &|target| swapped(reference, target, rest))
    }

    /// Returns true if the host `key` matches `domain`. A key with a port matches that port. One
    /// without a port matches every port that has no key of its own.
    fn matches_domain(&self, key: &str, domain: &str) -> bool {
        let is_key_domain = |rule: &Rule| {
            rule.kind == RuleKind::Prefix
                && rule.key.split('/').next().map(hub).as_deref() == Some(domain)
        };
        key == domain || (key == host(domain) && !self.0.iter().any(is_key_domain))
    }
}

/// The effect of a rule on an image.
enum RuleEffect {
    Exempt,
    Noswap,
    Swap(String),
}

/// Returns true if `image` is at or below the target of `rule`.
pub(super) fn is_target_of(image: &str, rule: &Rule) -> bool {
    let (Some(target), Ok(reference)) = (rule.target(), Reference::parse(image)) else {
        return false;
    };
    let reference = Compared::new(&reference);
    let name = reference.name();
    match rule.kind {
        RuleKind::Noswap => false,
        RuleKind::Exact => {
            let whole = reference.whole();
            let normalised = Compared::of(&target).map(|target| target.whole());
            target == image || target == whole || normalised == Some(whole)
        }
        RuleKind::Prefix | RuleKind::Replace | RuleKind::Default => {
            let (host, rest) = target.split_at(target.find('/').unwrap_or(target.len()));
            let target = [&hub(host), rest].concat();
            // On Docker Hub `docker.io/app` is another name of `docker.io/library/app`.
            let in_library = target.replacen("docker.io/", "docker.io/library/", 1);
            let is_image = target.starts_with("docker.io/") && target.matches('/').count() == 1;
            [Some(&target), is_image.then_some(&in_library)].into_iter().flatten().any(|target| {
                let joined = target.ends_with('-') && name.starts_with(target.as_str());
                joined || below(&name, target).is_some()
            })
        }
    }
}

/// Returns true if `rule` is an element of `noswap_wildcards` that the name of `image` contains.
pub(super) fn is_in(image: &str, rule: &Rule) -> bool {
    let name = Compared::of(image).map(|reference| reference.name());
    let element = rule.target.path.to_lowercase();
    rule.kind == RuleKind::Noswap && name.is_some_and(|name| name.contains(&element))
}

/// Returns `rest` below `target`, or joined to it after a hyphen.
fn put_below(target: &str, rest: &str) -> String {
    match target {
        joined if joined.ends_with('-') => [joined, rest].concat(),
        _ if rest.is_empty() => target.to_owned(),
        _ => [target, "/", rest].concat(),
    }
}

/// Returns `rest` of the path below the target. A target with a hyphen at its end is joined to the
/// whole name, without the port.
fn swapped(reference: &Compared, target: &str, rest: &str) -> String {
    let Compared { domain, path, end } = reference;
    let rest = if target.ends_with('-') {
        let slash = if domain.is_empty() { "" } else { "/" };
        [host(domain), slash, path].concat()
    } else {
        rest.trim_start_matches('/').to_owned()
    };
    [put_below(target, &rest).as_str(), end].concat()
}

fn is_hex(character: char) -> bool {
    matches!(character, '0'..='9' | 'a'..='f')
}

/// Returns true if the shell pattern matches, like `fnmatch`, by backtracking.
fn matches(pattern: &str, text: &str) -> bool {
    let rest_of = |text: &str| text.chars().next().map(|c| text[c.len_utf8()..].to_owned());
    let Some(token) = pattern.chars().next() else { return text.is_empty() };
    let after = &pattern[token.len_utf8()..];
    let one = |pattern: &str| rest_of(text).is_some_and(|rest| matches(pattern, &rest));
    match (token, after.split_once(']')) {
        ('*', _) => matches(after, text) || one(pattern),
        ('?', _) => one(after),
        ('[', Some((members, after))) => {
            let (negated, members) = match members.strip_prefix('!') {
                Some(members) => (true, members),
                None => (false, members),
            };
            text.starts_with(|c| members.contains(c) != negated) && one(after)
        }
        _ => text.starts_with(token) && one(after),
    }
}
