//! The compiled rules, and the order in which they are asked.

use std::borrow::Cow;

use aho_corasick::AhoCorasick;

use super::{
    index::{PathPrefixIndex, Patterns, RuleId, StringPrefixIndex, StringSet, Table},
    parse::{Rule, RuleKind},
    query::ImageQuery,
    source::{compared, host_length},
    target::Target,
};
use crate::reference::{DOCKER_DOMAIN, Reference, ReferenceError, is_image_id};

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
    /// The rule that matches it has no target, or leads to its own source: exempt.
    Disabled,
    /// `noswap_wildcards` names a part of it.
    Noswap,
    /// The result would be no valid reference.
    InvalidResult,
    /// An image ID, which names an image on the node and no registry.
    ImageId,
}

impl Reason {
    /// Every reason, in the order of the table of metrics.
    pub const ALL: [Self; 10] = [
        Self::AlreadyMirrored,
        Self::Exact,
        Self::Replace,
        Self::Rule,
        Self::Default,
        Self::NoRule,
        Self::Disabled,
        Self::Noswap,
        Self::InvalidResult,
        Self::ImageId,
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
            Self::ImageId => "image-id",
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
    /// Beside each rule its target; `None`: exempt, or no target at all.
    targets: Vec<Option<Target>>,
    mirrored_below: PathPrefixIndex,
    mirrored_joined: StringPrefixIndex<Option<RuleId>>,
    /// `[EXACT]` targets, as written and normalised.
    exact_targets: Table<RuleId>,
    exact_written: Table<RuleId>,
    exact_normalised: Table<RuleId>,
    patterns: Patterns,
    prefixes: PathPrefixIndex,
    /// Ports with a key of their own: `host:port`.
    own_ports: StringSet,
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
            let exempts = rule.exempts();
            let target = if exempts { None } else { rule.parse_target().and_then(Result::ok) };
            if target.is_some() || exempts {
                set.add(id, rule, target.as_ref());
            }
            if rule.kind == RuleKind::Noswap {
                noswap.push(id);
            }
            set.targets.push(target);
        }
        if !noswap.is_empty() {
            // Only hosts have upper case, and those are compared without regard to it.
            let elements = noswap.iter().map(|&id| &rules[id].target);
            let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(elements);
            set.noswap = automaton.ok().map(|automaton| Noswap { automaton, rules: noswap });
        }
        set.rules = rules;
        set
    }

    fn add(&mut self, id: RuleId, rule: &Rule, target: Option<&Target>) {
        let key = rule.key();
        match rule.kind {
            RuleKind::Exact => {
                if let Some(target) = target {
                    add_reference(&mut self.exact_targets, target.as_str(), id);
                }
                self.exact_written.entry(key.into()).or_insert(id);
                if let Some(compared) = compared_whole(key) {
                    self.exact_normalised.entry(compared.into()).or_insert(id);
                }
                return;
            }
            RuleKind::Replace => self.patterns.push(key, id),
            RuleKind::Default => self.default = self.default.or(Some(id)),
            RuleKind::Noswap => return,
            RuleKind::Prefix => {
                if let Some(key) = rule.prefix() {
                    self.prefixes.insert(key.domain(), key.path(), id);
                    if key.has_port() {
                        self.own_ports.insert(key.domain().into());
                    }
                }
            }
        }
        let Some(target) = target else { return };
        let domain = compared(target.domain());
        let mut add_mirrored = |path: &str| {
            if target.joins_name() {
                self.mirrored_joined.entry(&[&domain, "/", path].concat()).get_or_insert(id);
            } else {
                self.mirrored_below.insert(&domain, path, id);
            }
        };
        add_mirrored(target.path());
        // A result directly below `docker.io` normalises to what is below its library.
        if domain == DOCKER_DOMAIN && !target.path().contains('/') && !target.path().is_empty() {
            add_mirrored(&["library/", target.path()].concat());
        }
    }

    /// The rules, in the order in which they were written.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the target of a rule; `None` if the rule exempts, or has no usable target.
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
        if is_image_id(image) {
            return Decision::keep(image, Reason::ImageId, None);
        }
        let asked = ImageQuery::new(image, reference, self.needs_whole());
        if let Some(rule) = self.already_mirrored(&asked) {
            return Decision::keep(image, Reason::AlreadyMirrored, Some(rule));
        }
        if let Some(rule) = self.exact(&asked) {
            return self.swapped(&asked, rule, Reason::Exact, |target| {
                Reference::parse(target.as_str()).is_ok().then(|| target.as_str().to_owned())
            });
        }
        if let Some(rule) = self.replaced(&asked) {
            return self.swapped(&asked, rule, Reason::Replace, |target| asked.replaced(target));
        }
        if let Some((rule, length)) = self.prefixed(&asked).next() {
            return self.swapped(&asked, rule, Reason::Rule, |target| asked.onto(target, length));
        }
        if let Some(rule) = self.noswap(&asked) {
            return Decision::keep(image, Reason::Noswap, Some(rule));
        }
        match self.default {
            Some(rule) if self.target(rule).is_some() => {
                self.swapped(&asked, rule, Reason::Default, |target| asked.onto(target, 0))
            }
            _ => Decision::keep(image, Reason::NoRule, None),
        }
    }

    /// Whether any rule looks at tag and digest too.
    fn needs_whole(&self) -> bool {
        !self.exact_written.is_empty() || !self.patterns.is_empty()
    }

    pub(super) fn already_mirrored(&self, asked: &ImageQuery<'_>) -> Option<RuleId> {
        let exact = || {
            let whole = || self.exact_targets.get(&*asked.whole);
            self.exact_targets.get(asked.image).or_else(whole).copied()
        };
        let below = || {
            let mut beginnings = self.mirrored_below.beginnings(asked.domain(), asked.path());
            beginnings.next().map(|(rule, _)| rule)
        };
        let joined = || self.mirrored_joined.of(&asked.name).find_map(|rule| *rule);
        exact().or_else(below).or_else(joined)
    }

    pub(super) fn exact(&self, asked: &ImageQuery<'_>) -> Option<RuleId> {
        let normalised = || self.exact_normalised.get(&*asked.whole);
        self.exact_written.get(asked.image).or_else(normalised).copied()
    }

    pub(super) fn replaced(&self, asked: &ImageQuery<'_>) -> Option<RuleId> {
        self.patterns.first([asked.image, &asked.whole])
    }

    /// Every prefix rule that speaks of it, the longest first.
    ///
    /// A key without a port speaks of every port that has no key of its own.
    pub(super) fn prefixed<'a>(
        &'a self,
        asked: &'a ImageQuery<'_>,
    ) -> impl Iterator<Item = (RuleId, usize)> + use<'a> {
        let domain = asked.domain();
        let is_own = || self.own_ports.contains(domain);
        let host = host_length(domain);
        let key = if host == domain.len() || is_own() { domain } else { &domain[..host] };
        self.prefixes.beginnings(key, asked.path())
    }

    pub(super) fn noswap(&self, asked: &ImageQuery<'_>) -> Option<RuleId> {
        let noswap = self.noswap.as_ref()?;
        noswap.automaton.find(&*asked.name).map(|found| noswap.rules[found.pattern().as_usize()])
    }

    fn swapped<'i>(
        &self,
        asked: &ImageQuery<'i>,
        rule: RuleId,
        reason: Reason,
        result: impl FnOnce(&Target) -> Option<String>,
    ) -> Decision<'i> {
        let Some(target) = self.target(rule) else {
            return Decision::keep(asked.image, Reason::Disabled, Some(rule));
        };
        match result(target) {
            Some(image) => Decision { image: Cow::Owned(image), reason, rule: Some(rule) },
            None => Decision::keep(asked.image, Reason::InvalidResult, Some(rule)),
        }
    }
}

fn add_reference(table: &mut Table<RuleId>, text: &str, rule: RuleId) {
    table.entry(text.into()).or_insert(rule);
    if let Some(compared) = compared_whole(text) {
        table.entry(compared.into()).or_insert(rule);
    }
}

/// Returns `text`, a reference, in the form in which whole references are compared.
fn compared_whole(text: &str) -> Option<String> {
    let reference = Reference::parse(text).ok()?;
    Some(ImageQuery::new(text, &reference, true).whole)
}
