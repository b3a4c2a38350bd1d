//! The compiled rules and their order of evaluation.

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

/// Reason of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The image is already below a target.
    AlreadyMirrored,
    /// An `[EXACT]` rule matched.
    Exact,
    /// A `[REPLACE]` rule matched.
    Replace,
    /// A rule for a host, or a host and a path, matched.
    Rule,
    /// The `default` rule applied.
    Default,
    /// No rule matched.
    NoRule,
    /// The matching rule exempts: it has no target, or its target is its own source.
    Disabled,
    /// An element of `noswap_wildcards` is contained in the name.
    Noswap,
    /// The result would be an invalid reference.
    InvalidResult,
    /// The image is an image ID, which refers to an image on the node and not to a registry.
    ImageId,
}

impl Reason {
    /// All reasons, in the order of the table of metrics.
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

    /// Returns the reason's name in every output.
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

/// The result of the rules for one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'i> {
    /// The image to use; the unchanged input, byte for byte, if no rule changes it.
    pub image: Cow<'i, str>,
    /// Reason of the decision.
    pub reason: Reason,
    /// The deciding rule. For [`Reason::AlreadyMirrored`], a rule with the target that contains
    /// the image; `None` if no rule decided.
    pub rule: Option<RuleId>,
}

impl<'i> Decision<'i> {
    pub(super) fn keep(image: &'i str, reason: Reason, rule: Option<RuleId>) -> Self {
        Self { image: Cow::Borrowed(image), reason, rule }
    }

    /// Returns true if [`Self::image`] differs from the input.
    pub const fn changed(&self) -> bool {
        matches!(self.image, Cow::Owned(_))
    }
}

/// Rules, compiled for the dialect `canonical`, which the webhook serves.
///
/// The order is: already mirrored, `[EXACT]`, `[REPLACE]`, the longest prefix,
/// `noswap_wildcards`, `default`. The first check makes `swap(swap(x)) = swap(x)`.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// The target of each rule; `None` if it exempts or has no target.
    targets: Vec<Option<Target>>,
    mirrored_below: PathPrefixIndex,
    mirrored_joined: StringPrefixIndex<Option<RuleId>>,
    /// `[EXACT]` targets, in original and in normalised form.
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

/// The substrings of `noswap_wildcards`, which one pass searches for.
#[derive(Clone, Debug)]
struct Noswap {
    automaton: AhoCorasick,
    rules: Vec<RuleId>,
}

impl RuleSet {
    /// Compiles `rules`. A rule with an invalid target is left out; declarations with such
    /// rules are rejected before.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::rule::{
    ///     RuleSet,
    ///     parse::{self, MapForm},
    /// };
    ///
    /// let (rules, _) = parse::rules("docker.io::h.io/hub, quay.io::", MapForm::List);
    /// let rules = RuleSet::new(rules);
    /// assert_eq!(rules.target(0).map(|target| target.as_str()), Some("h.io/hub"));
    /// assert!(rules.target(1).is_none());
    /// ```
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
            // Only hosts may have uppercase letters, and hosts are compared without regard to
            // case.
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
        // A result directly below `docker.io` is normalised to a path below its library.
        if domain == DOCKER_DOMAIN && !target.path().contains('/') && !target.path().is_empty() {
            add_mirrored(&["library/", target.path()].concat());
        }
    }

    /// Returns the rules in their original order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the target of a rule; `None` if the rule exempts, or has no usable target.
    pub fn target(&self, rule: RuleId) -> Option<&Target> {
        self.targets.get(rule)?.as_ref()
    }

    /// Returns the effective `default` rule; `None` if there is none.
    pub const fn default_rule(&self) -> Option<RuleId> {
        self.default
    }

    /// Returns the decision about `image`.
    ///
    /// # Errors
    /// Returns the error if `image` is an invalid reference.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::rule::{
    ///     Reason, RuleSet,
    ///     parse::{self, MapForm},
    /// };
    ///
    /// let rules = RuleSet::new(parse::rules("docker.io::h.io/hub", MapForm::List).0);
    /// let decision = rules.swap("nginx:1.29")?;
    /// assert_eq!(decision.image, "h.io/hub/library/nginx:1.29");
    /// assert_eq!((decision.reason, decision.rule), (Reason::Rule, Some(0)));
    /// assert!(!rules.swap("quay.io/a/b")?.changed());
    /// # Ok::<(), image_swap_core::reference::ReferenceError>(())
    /// ```
    pub fn swap<'i>(&self, image: &'i str) -> Result<Decision<'i>, ReferenceError> {
        Reference::parse(image).map(|reference| self.decide(image, &reference))
    }

    /// Returns the decision about `image`, which was parsed as `reference`.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::{
    ///     reference::Reference,
    ///     rule::{
    ///         Reason, RuleSet,
    ///         parse::{self, MapForm},
    ///     },
    /// };
    ///
    /// let rules = RuleSet::new(parse::rules("quay.io::", MapForm::List).0);
    /// let image = "quay.io/a/b:1";
    /// let decision = rules.decide(image, &Reference::parse(image)?);
    /// assert_eq!((decision.image.as_ref(), decision.reason), (image, Reason::Disabled));
    /// # Ok::<(), image_swap_core::reference::ReferenceError>(())
    /// ```
    pub fn decide<'i>(&self, image: &'i str, reference: &Reference<'_>) -> Decision<'i> {
        if is_image_id(image) {
            return Decision::keep(image, Reason::ImageId, None);
        }
        let query = ImageQuery::new(image, reference, self.needs_whole());
        if let Some(rule) = self.already_mirrored(&query) {
            return Decision::keep(image, Reason::AlreadyMirrored, Some(rule));
        }
        if let Some(rule) = self.exact(&query) {
            return self.swapped(&query, rule, Reason::Exact, |target| {
                Reference::parse(target.as_str()).is_ok().then(|| target.as_str().to_owned())
            });
        }
        if let Some(rule) = self.replaced(&query) {
            return self.swapped(&query, rule, Reason::Replace, |target| query.replaced(target));
        }
        if let Some((rule, length)) = self.prefixed(&query).next() {
            return self.swapped(&query, rule, Reason::Rule, |target| query.onto(target, length));
        }
        if let Some(rule) = self.noswap(&query) {
            return Decision::keep(image, Reason::Noswap, Some(rule));
        }
        match self.default {
            Some(rule) if self.target(rule).is_some() => {
                self.swapped(&query, rule, Reason::Default, |target| query.onto(target, 0))
            }
            _ => Decision::keep(image, Reason::NoRule, None),
        }
    }

    /// Returns true if a rule matches on tag and digest.
    fn needs_whole(&self) -> bool {
        !self.exact_written.is_empty() || !self.patterns.is_empty()
    }

    pub(super) fn already_mirrored(&self, query: &ImageQuery<'_>) -> Option<RuleId> {
        let exact = || {
            let whole = || self.exact_targets.get(&*query.whole);
            self.exact_targets.get(query.image).or_else(whole).copied()
        };
        let below = || {
            let mut beginnings = self.mirrored_below.beginnings(query.domain(), query.path());
            beginnings.next().map(|(rule, _)| rule)
        };
        let joined = || self.mirrored_joined.of(&query.name).find_map(|rule| *rule);
        exact().or_else(below).or_else(joined)
    }

    pub(super) fn exact(&self, query: &ImageQuery<'_>) -> Option<RuleId> {
        let normalised = || self.exact_normalised.get(&*query.whole);
        self.exact_written.get(query.image).or_else(normalised).copied()
    }

    pub(super) fn replaced(&self, query: &ImageQuery<'_>) -> Option<RuleId> {
        self.patterns.first([query.image, &query.whole])
    }

    /// Returns every matching prefix rule, the longest first.
    ///
    /// A key without a port matches every port that has no key of its own.
    pub(super) fn prefixed<'a>(
        &'a self,
        query: &'a ImageQuery<'_>,
    ) -> impl Iterator<Item = (RuleId, usize)> + use<'a> {
        let domain = query.domain();
        let is_own = || self.own_ports.contains(domain);
        let host = host_length(domain);
        let key = if host == domain.len() || is_own() { domain } else { &domain[..host] };
        self.prefixes.beginnings(key, query.path())
    }

    pub(super) fn noswap(&self, query: &ImageQuery<'_>) -> Option<RuleId> {
        let noswap = self.noswap.as_ref()?;
        noswap.automaton.find(&*query.name).map(|found| noswap.rules[found.pattern().as_usize()])
    }

    fn swapped<'i>(
        &self,
        query: &ImageQuery<'i>,
        rule: RuleId,
        reason: Reason,
        result: impl FnOnce(&Target) -> Option<String>,
    ) -> Decision<'i> {
        let Some(target) = self.target(rule) else {
            return Decision::keep(query.image, Reason::Disabled, Some(rule));
        };
        match result(target) {
            Some(image) => Decision { image: Cow::Owned(image), reason, rule: Some(rule) },
            None => Decision::keep(query.image, Reason::InvalidResult, Some(rule)),
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
