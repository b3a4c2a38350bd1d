//! The compiled rules, and the order in which they are asked.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use aho_corasick::AhoCorasick;

use super::{
    key::{Key, host_length},
    map::{Kind, Rule},
    table::{Beginnings, Boundaries, Patterns, RuleId},
    target::Target,
};
use crate::reference::{DOCKER_DOMAIN, Reference, ReferenceError};

/// Why a reference became what it became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It already points at a target.
    AlreadyMirrored,
    /// An `[EXACT]` rule.
    Exact,
    /// A `[REPLACE]` rule.
    Replace,
    /// A rule for its host, or host and path.
    Rule,
    /// The `default` rule.
    Default,
    /// No rule speaks of it.
    NoRule,
    /// The rule that speaks of it has no target: leave alone.
    Disabled,
    /// `noswap_wildcards` names a part of it.
    Noswap,
    /// The result would be no valid reference.
    InvalidResult,
}

impl Reason {
    /// Every reason, in the order of the table of metrics.
    pub const ALL: [Self; 9] = [
        Self::AlreadyMirrored,
        Self::Exact,
        Self::Replace,
        Self::Rule,
        Self::Default,
        Self::NoRule,
        Self::Disabled,
        Self::Noswap,
        Self::InvalidResult,
    ];

    /// The reason's name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyMirrored => "already-mirrored",
            Self::Exact => "exact",
            Self::Replace => "replace",
            Self::Rule => "rule",
            Self::Default => "default",
            Self::NoRule => "no-rule",
            Self::Disabled => "disabled",
            Self::Noswap => "noswap",
            Self::InvalidResult => "invalid-result",
        }
    }
}

/// What the rules make of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'i> {
    /// The image to use: the input itself, byte for byte, when nothing changes.
    pub image: Cow<'i, str>,
    /// Why.
    pub reason: Reason,
    /// The rule that decided; of [`Reason::AlreadyMirrored`], one whose target it is.
    pub rule: Option<RuleId>,
}

impl<'i> Decision<'i> {
    pub(super) fn keep(image: &'i str, reason: Reason, rule: Option<RuleId>) -> Self {
        Self { image: Cow::Borrowed(image), reason, rule }
    }

    /// Whether [`Self::image`] differs from the input.
    pub const fn changed(&self) -> bool {
        matches!(self.image, Cow::Owned(_))
    }
}

/// Rules, compiled for the dialect `canonical`: the one that serves.
///
/// The order is: already mirrored, `[EXACT]`, `[REPLACE]`, the longest prefix,
/// `noswap_wildcards`, `default`. Asking first whether a reference is already
/// mirrored is what makes `swap(swap(x)) = swap(x)`.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Beside each rule its target; `None`: empty, or no target at all.
    targets: Vec<Option<Target>>,
    mirrored_below: Boundaries,
    mirrored_joined: Beginnings<Option<RuleId>>,
    /// `[EXACT]` targets, as written and normalised.
    exact_targets: HashMap<String, RuleId>,
    exact_written: HashMap<String, RuleId>,
    exact_normalised: HashMap<String, RuleId>,
    patterns: Patterns,
    prefixes: Boundaries,
    /// Ports with a key of their own: `host:port`.
    own_ports: HashSet<String>,
    noswap: Option<Noswap>,
    default: Option<RuleId>,
}

/// The substrings of `noswap_wildcards`, all searched for in one pass.
#[derive(Clone, Debug)]
struct Noswap {
    automaton: AhoCorasick,
    rules: Vec<RuleId>,
}

impl RuleSet {
    /// Compiles `rules`. A rule whose target is none is left out, as if it had
    /// not been written: declarations with such rules are refused before.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut set = Self::default();
        let mut noswap = Vec::new();
        for (id, rule) in rules.iter().enumerate() {
            let target = match rule.kind {
                Kind::Exact => Target::of_exact(&rule.target).ok(),
                Kind::Noswap => None,
                Kind::Prefix | Kind::Replace | Kind::Default => Target::parse(&rule.target).ok(),
            };
            if target.is_some() || rule.target.is_empty() {
                set.add(id, rule, target.as_ref());
            }
            if rule.kind == Kind::Noswap {
                noswap.push(id);
            }
            set.targets.push(target);
        }
        if !noswap.is_empty() {
            let automaton = AhoCorasick::new(noswap.iter().map(|&id| &rules[id].target)).ok();
            set.noswap = automaton.map(|automaton| Noswap { automaton, rules: noswap });
        }
        set.rules = rules;
        set
    }

    fn add(&mut self, id: RuleId, rule: &Rule, target: Option<&Target>) {
        let key = rule.key();
        match rule.kind {
            Kind::Exact => {
                if let Some(target) = target {
                    add_reference(&mut self.exact_targets, target.as_str(), id);
                }
                self.exact_written.entry(key.to_owned()).or_insert(id);
                if let Ok(reference) = Reference::parse(key) {
                    self.exact_normalised.entry(reference.to_string()).or_insert(id);
                }
                return;
            }
            Kind::Replace => self.patterns.push(key, id),
            Kind::Default => self.default = self.default.or(Some(id)),
            Kind::Noswap => return,
            Kind::Prefix => {
                if let Some(key) = Key::parse(key) {
                    self.prefixes.insert(key.as_str(), id);
                    if key.has_port() {
                        self.own_ports.insert(key.domain().to_owned());
                    }
                }
            }
        }
        let Some(target) = target else { return };
        let mut mirrored = |beginning: &str| {
            if target.is_joined() {
                self.mirrored_joined.entry(beginning).get_or_insert(id);
            } else {
                self.mirrored_below.insert(beginning, id);
            }
        };
        mirrored(target.as_str());
        // A result directly below `docker.io` normalises to what is below its library.
        if target.domain() == DOCKER_DOMAIN
            && !target.path().contains('/')
            && !target.path().is_empty()
        {
            mirrored(&[DOCKER_DOMAIN, "/library/", target.path()].concat());
        }
    }

    /// The rules, in the order in which they were written.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The target of a rule; `None`: it says to leave alone.
    pub fn target(&self, rule: RuleId) -> Option<&Target> {
        self.targets.get(rule)?.as_ref()
    }

    /// The `default` rule in force.
    pub const fn default_rule(&self) -> Option<RuleId> {
        self.default
    }

    /// What `image` becomes.
    ///
    /// # Errors
    /// If `image` is no valid reference.
    pub fn swap<'i>(&self, image: &'i str) -> Result<Decision<'i>, ReferenceError> {
        Reference::parse(image).map(|reference| self.decide(image, &reference))
    }

    /// What `image`, parsed as `reference`, becomes.
    pub fn decide<'i>(&self, image: &'i str, reference: &Reference<'_>) -> Decision<'i> {
        let asked = Asked::new(image, reference, self.needs_whole());
        if let Some(rule) = self.already_mirrored(&asked) {
            return Decision::keep(image, Reason::AlreadyMirrored, Some(rule));
        }
        if let Some(rule) = self.exact(&asked) {
            return self.exactly(&asked, rule);
        }
        if let Some(rule) = self.patterns.first([image, &asked.whole]) {
            // What follows the last slash brings its tag and digest along.
            let (_, last) = asked.whole.rsplit_once('/').unwrap_or(("", &asked.whole));
            let result = |target: &Target| {
                let slash = if target.is_joined() { "" } else { "/" };
                [target.as_str(), slash, last].concat()
            };
            return self.swapped(&asked, rule, Reason::Replace, result);
        }
        if let Some(rule) = self.prefixed(&asked.name).next() {
            let key = self.rules[rule].key();
            return self.swapped(&asked, rule, Reason::Rule, |target| {
                // The key may lack the port that the name has: count components, not bytes.
                let depth = key.matches('/').count();
                let rest = asked.name.match_indices('/').nth(depth).map(|(at, _)| at + 1);
                asked.onto(target, rest.map_or("", |at| &asked.name[at..]))
            });
        }
        if let Some(rule) = self.noswap(&asked.name) {
            return Decision::keep(image, Reason::Noswap, Some(rule));
        }
        match self.default {
            Some(rule) if self.target(rule).is_some() => {
                self.swapped(&asked, rule, Reason::Default, |target| {
                    asked.onto(target, asked.name.split_once('/').map_or("", |(_, rest)| rest))
                })
            }
            _ => Decision::keep(image, Reason::NoRule, None),
        }
    }

    /// Whether any rule looks at tag and digest too.
    fn needs_whole(&self) -> bool {
        !self.exact_written.is_empty() || !self.patterns.is_empty()
    }

    pub(super) fn already_mirrored(&self, asked: &Asked<'_>) -> Option<RuleId> {
        let exact = || {
            let whole = || self.exact_targets.get(&asked.whole);
            self.exact_targets.get(asked.image).or_else(whole).copied()
        };
        let below = || self.mirrored_below.beginnings(&asked.name).next();
        let joined = || self.mirrored_joined.of(&asked.name).find_map(|rule| *rule);
        exact().or_else(below).or_else(joined)
    }

    pub(super) fn exact(&self, asked: &Asked<'_>) -> Option<RuleId> {
        let normalised = || self.exact_normalised.get(&asked.whole);
        self.exact_written.get(asked.image).or_else(normalised).copied()
    }

    pub(super) fn replaced(&self, asked: &Asked<'_>) -> Option<RuleId> {
        self.patterns.first([asked.image, &asked.whole])
    }

    /// Every prefix rule that speaks of `name`, the longest first.
    ///
    /// A key without a port speaks of every port that has no key of its own.
    pub(super) fn prefixed<'a>(&'a self, name: &'a str) -> impl Iterator<Item = RuleId> + 'a {
        let domain_end = name.find('/').unwrap_or(name.len());
        let host_end = host_length(&name[..domain_end]);
        let own = host_end == domain_end || self.own_ports.contains(&name[..domain_end]);
        let with_port = own.then(|| self.prefixes.beginnings(name));
        // A list, since the name it borrows is made here.
        let without_port = (!own).then(|| {
            let name = [&name[..host_end], &name[domain_end..]].concat();
            self.prefixes.beginnings(&name).collect::<Vec<_>>()
        });
        with_port.into_iter().flatten().chain(without_port.into_iter().flatten())
    }

    pub(super) fn noswap(&self, name: &str) -> Option<RuleId> {
        let noswap = self.noswap.as_ref()?;
        noswap.automaton.find(name).map(|found| noswap.rules[found.pattern().as_usize()])
    }

    fn exactly<'i>(&self, asked: &Asked<'i>, rule: RuleId) -> Decision<'i> {
        let Some(target) = self.target(rule) else {
            return Decision::keep(asked.image, Reason::Disabled, Some(rule));
        };
        if Reference::parse(target.as_str()).is_err() {
            return Decision::keep(asked.image, Reason::InvalidResult, Some(rule));
        }
        let image = Cow::Owned(target.as_str().to_owned());
        Decision { image, reason: Reason::Exact, rule: Some(rule) }
    }

    fn swapped<'i>(
        &self,
        asked: &Asked<'i>,
        rule: RuleId,
        reason: Reason,
        result: impl FnOnce(&Target) -> String,
    ) -> Decision<'i> {
        let Some(target) = self.target(rule) else {
            return Decision::keep(asked.image, Reason::Disabled, Some(rule));
        };
        let result = result(target);
        // `h.io` with nothing below it would parse, as an image of Docker Hub.
        let valid = Reference::parse(&result).is_ok_and(|swapped| {
            swapped.domain() == target.domain()
                && swapped.tag() == asked.tag
                && swapped.digest() == asked.digest
        });
        if !valid {
            return Decision::keep(asked.image, Reason::InvalidResult, Some(rule));
        }
        Decision { image: Cow::Owned(result), reason, rule: Some(rule) }
    }
}

fn add_reference(table: &mut HashMap<String, RuleId>, text: &str, rule: RuleId) {
    table.entry(text.to_owned()).or_insert(rule);
    if let Ok(reference) = Reference::parse(text) {
        table.entry(reference.to_string()).or_insert(rule);
    }
}

/// A reference in the forms in which rules ask for it.
pub(super) struct Asked<'i> {
    /// As written.
    pub(super) image: &'i str,
    /// Normalised, without tag and digest.
    pub(super) name: String,
    /// Normalised, whole; empty where no rule asks for it.
    pub(super) whole: String,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
}

impl<'i> Asked<'i> {
    pub(super) fn new(image: &'i str, reference: &Reference<'_>, with_whole: bool) -> Self {
        let name = reference.name().parts().concat();
        let whole = if with_whole { reference.to_string() } else { String::new() };
        // The tag and the digest end the input: borrow them from there.
        let end = |part: Option<&str>, after: usize| {
            let end = image.len() - after;
            part.map(|part| &image[end - part.len()..end])
        };
        let digest = end(reference.digest(), 0);
        let tag = end(reference.tag(), digest.map_or(0, |digest| digest.len() + 1));
        Self { image, name, whole, tag, digest }
    }

    /// `rest` below `target`, or the whole name joined to it; tag and digest survive.
    fn onto(&self, target: &Target, rest: &str) -> String {
        let mut result = String::with_capacity(target.as_str().len() + self.image.len() + 24);
        result.push_str(target.as_str());
        if target.is_joined() {
            let domain_end = self.name.find('/').unwrap_or(self.name.len());
            result.push_str(&self.name[..host_length(&self.name[..domain_end])]);
            result.push_str(&self.name[domain_end..]);
        } else if !rest.is_empty() {
            result.push('/');
            result.push_str(rest);
        }
        for (mark, part) in [(':', self.tag), ('@', self.digest)] {
            if let Some(part) = part {
                result.push(mark);
                result.push_str(part);
            }
        }
        result
    }
}
