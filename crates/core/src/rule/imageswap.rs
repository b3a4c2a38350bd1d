//! The dialect `imageswap`: the results of imageswap-webhook for a map.
//!
//! A result of imageswap-webhook is used under three conditions: the program does not crash,
//! the result is a valid reference, and a second evaluation leaves it unchanged. All other
//! images get the result of the dialect `canonical`. The dialect is for explaining and
//! converting existing maps; the webhook never serves it.
//!
//! Source: phenixblue/imageswap-webhook 1.5.3, `app/imageswap/imageswap.py`, `build_swap_map`
//! and `swap_image` in MAPS mode.

use std::{borrow::Cow, collections::HashMap};

use image_swap_text::position::Position;

use super::{
    index::RuleId,
    parse::{self, MapForm, Rule, RuleKind},
    pattern::Pattern,
    ruleset::{Decision, Reason, RuleSet},
};
use crate::reference::{DOCKER_DOMAIN, Reference, ReferenceError};

/// A map as imageswap-webhook parses it, and the same map in the dialect `canonical`.
#[derive(Clone, Debug)]
pub struct ImageSwap {
    canonical: RuleSet,
    /// The canonical rules, followed by those of upstream.
    rules: Vec<Rule>,
    exact: HashMap<String, RuleId>,
    /// The patterns in file order. A repeated pattern keeps its first place and gets its last
    /// value.
    replace: Vec<(String, Pattern, RuleId)>,
    pub(super) maps: HashMap<String, RuleId>,
    /// True if a missing `default` counts as an empty one, as in the list forms.
    implied_default: bool,
}

impl ImageSwap {
    /// Parses `text` like upstream.
    pub fn new(text: &str, form: MapForm) -> Self {
        let canonical = RuleSet::new(parse::rules(text, form).0);
        let mut this = Self {
            rules: canonical.rules().to_vec(),
            canonical,
            exact: HashMap::new(),
            replace: Vec::new(),
            maps: HashMap::new(),
            implied_default: form == MapForm::List,
        };
        for (place, line) in lines(text, form) {
            if let Some(rule) = parse_line(&line, place) {
                this.add(rule);
            }
        }
        this
    }

    /// Returns the rules that [`Decision::rule`] indexes.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the same map in the dialect `canonical`.
    pub const fn canonical(&self) -> &RuleSet {
        &self.canonical
    }

    fn add(&mut self, rule: Rule) {
        let id = self.rules.len();
        // Upstream strips white space after a marker, and tabs only there.
        let marked = matches!(rule.kind, RuleKind::Exact | RuleKind::Replace);
        let key = if marked { rule.key().trim_start() } else { rule.key() }.to_owned();
        match rule.kind {
            RuleKind::Exact => drop(self.exact.insert(key, id)),
            RuleKind::Replace => match self.replace.iter_mut().find(|(text, ..)| *text == key) {
                Some((_, _, last)) => *last = id,
                None => self.replace.push((key.clone(), Pattern::new(&key), id)),
            },
            RuleKind::Prefix | RuleKind::Default | RuleKind::Noswap => {
                self.maps.insert(key, id);
            }
        }
        self.rules.push(rule);
    }

    /// Returns the decision about `image`.
    ///
    /// # Errors
    /// Returns the error if `image` is an invalid reference.
    pub fn swap<'i>(&self, image: &'i str) -> Result<Decision<'i>, ReferenceError> {
        let reference = Reference::parse(image)?;
        let holds = |answer: &Decision<'_>| {
            Reference::parse(&answer.image).is_ok()
                && self.upstream(&answer.image).is_some_and(|again| again.image == answer.image)
        };
        Ok(match self.upstream(image).filter(holds) {
            Some(same) if same.image == image => Decision::keep(image, same.reason, same.rule),
            Some(decision) => decision,
            None => self.canonical.decide(image, &reference),
        })
    }

    /// Evaluates upstream's `swap_image`. Returns `None` if it raises an exception.
    fn upstream<'i>(&self, image: &'i str) -> Option<Decision<'i>> {
        let keep = |reason, rule| Some(Decision::keep(image, reason, rule));
        let swap = |image, reason, rule| {
            Some(Decision { image: Cow::Owned(image), reason, rule: Some(rule) })
        };
        if let Some(&rule) = self.exact.get(image) {
            return swap(self.rules[rule].target.clone(), Reason::Exact, rule);
        }
        if let Some(&(.., rule)) = self.replace.iter().find(|(_, p, _)| p.matches(image)) {
            let last = image.rsplit('/').next().unwrap_or(image);
            return swap(join_path(&self.rules[rule].target, last), Reason::Replace, rule);
        }
        let (first, rest) = image.split_once('/').unwrap_or((image, ""));
        let no_registry = !first.contains('.') || rest.is_empty();
        let registry = if no_registry { DOCKER_DOMAIN } else { first };
        let without_port = registry.split(':').next().unwrap_or(registry);
        let key = if self.maps.contains_key(registry) || !self.maps.contains_key(without_port) {
            registry
        } else {
            without_port
        };
        let default = self.maps.get("default").copied();
        if default.is_none() && !self.implied_default {
            return keep(Reason::NoRule, None);
        }

        let library_key = format!("{key}/library");
        if self.maps.contains_key(key) || self.maps.contains_key(&library_key) {
            let is_library = !image.contains('/') && self.maps.contains_key(&library_key);
            let key = if is_library { &library_key } else { key };
            // With a rule for `/library` alone, upstream raises KeyError for all other images
            // of that host.
            let rule = *self.maps.get(key)?;
            let value = &self.rules[rule].target;
            let swapped = if value.is_empty() {
                return keep(Reason::Disabled, Some(rule));
            } else if value.ends_with('-') {
                let registry =
                    if no_registry { [without_port, "/"].concat() } else { String::new() };
                [value.as_str(), &registry, &drop_port(image)].concat()
            } else if image.contains(key) {
                substitute(key, value, image)?
            } else {
                [value, "/", image].concat()
            };
            return swap(swapped, Reason::Rule, rule);
        }

        let noswap = self.maps.get("noswap_wildcards").copied();
        if let Some(rule) = noswap {
            let value = &self.rules[rule].target;
            // An empty element is contained in every name, as in upstream.
            if !value.is_empty() && value.split(',').any(|element| image.contains(element)) {
                return keep(Reason::Noswap, Some(rule));
            }
        }
        let Some(rule) = default.filter(|&rule| !self.rules[rule].target.is_empty()) else {
            return keep(Reason::NoRule, None);
        };
        let value = &self.rules[rule].target;
        let swapped = if value.ends_with('-') {
            [value.as_str(), without_port, "/", image].concat()
        } else if image.contains(key) {
            substitute(registry, value, image)?
        } else {
            [value, "/", image].concat()
        };
        swap(swapped, Reason::Default, rule)
    }

    /// Returns the map without the rules that precede prefixes, and without `noswap_wildcards`.
    /// Its results depend only on host and path.
    pub(super) fn prefixes_only(&self) -> Self {
        let mut this = self.clone();
        this.exact.clear();
        this.replace.clear();
        this.maps.remove("noswap_wildcards");
        let kept = |rule: &&Rule| matches!(rule.kind, RuleKind::Prefix | RuleKind::Default);
        this.canonical =
            RuleSet::new(self.canonical.rules().iter().filter(kept).cloned().collect());
        this
    }

    /// Returns upstream's effective rules of one kind, in file order.
    pub(super) fn in_force(&self, kind: RuleKind) -> Vec<&Rule> {
        if kind == RuleKind::Replace {
            // The order is that of the first occurrences.
            return self.replace.iter().map(|(.., id)| &self.rules[*id]).collect();
        }
        let table = if kind == RuleKind::Exact { &self.exact } else { &self.maps };
        let mut ids: Vec<RuleId> = table.values().copied().collect();
        ids.sort_unstable();
        ids.into_iter().map(|id| &self.rules[id]).filter(|rule| rule.kind == kind).collect()
    }

    /// Returns true if a rule can change an image. Without a `default` upstream only evaluates
    /// `[EXACT]` and `[REPLACE]`.
    pub fn swaps_anything(&self) -> bool {
        self.has_default() || !self.exact.is_empty() || !self.replace.is_empty()
    }

    /// Returns true if upstream evaluates prefix rules.
    pub(super) fn has_default(&self) -> bool {
        self.implied_default || self.maps.contains_key("default")
    }
}

/// Splits `text` into the lines that upstream would read, each with its position. Each item of
/// a list is a line.
fn lines(text: &str, form: MapForm) -> Vec<(Position, String)> {
    let mut lines: Vec<(Position, String)> = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let place = |column| Position { line: index + 1, column };
        if form == MapForm::Lines {
            lines.push((place(1), line.to_owned()));
            continue;
        }
        let mut column = 1;
        let mut in_noswap = false;
        for item in line.split(',') {
            let blank = item.chars().take_while(|c| c.is_whitespace()).count();
            let is_rule = item.contains("::");
            match lines.last_mut() {
                Some((_, noswap)) if in_noswap && !is_rule => {
                    noswap.push(',');
                    noswap.push_str(item);
                }
                _ => {
                    in_noswap = is_rule && item.trim_start().starts_with("noswap_wildcards");
                    lines.push((place(column + blank), item.trim().to_owned()));
                }
            }
            column += item.chars().count() + 1;
        }
    }
    lines
}

/// Parses one line like `build_swap_map`.
fn parse_line(line: &str, place: Position) -> Option<Rule> {
    if line.starts_with('#') {
        return None;
    }
    // `(^.*[^#])(#.*$)`: greedy, so only the last run of `#` begins a comment.
    let comment = line.rmatch_indices('#').find(|(at, _)| !line[..*at].ends_with('#'));
    let code = comment.map_or(line, |(at, _)| &line[..at]);
    let text: String = code.trim_end().chars().filter(|c| *c != ' ').collect();
    let twice = |separator: &str| match text.split(separator).collect::<Vec<_>>()[..] {
        [source, target] => Some((source.to_owned(), target.to_owned())),
        _ => None,
    };
    let (source, target) = twice("::").or_else(|| twice(":"))?;
    let kind = match source.as_str() {
        source if source.starts_with("[EXACT]") => RuleKind::Exact,
        source if source.starts_with("[REPLACE]") => RuleKind::Replace,
        "default" => RuleKind::Default,
        "noswap_wildcards" => RuleKind::Noswap,
        _ => RuleKind::Prefix,
    };
    let blank = line.chars().take_while(|c| c.is_whitespace()).count();
    let place = Position { column: place.column + blank, ..place };
    Some(Rule { kind, source, target, place, target_place: place })
}

/// Joins `value` and `last`, which has no slashes, like `os.path.join`.
fn join_path(value: &str, last: &str) -> String {
    let slash = if value.is_empty() || value.ends_with('/') { "" } else { "/" };
    [value, slash, last].concat()
}

/// Evaluates `re.sub(r":.*/", "/", image)`: greedy, from the first colon to the last slash.
fn drop_port(image: &str) -> Cow<'_, str> {
    match (image.find(':'), image.rfind('/')) {
        (Some(colon), Some(slash)) if colon < slash => {
            Cow::Owned([&image[..colon], &image[slash..]].concat())
        }
        _ => Cow::Borrowed(image),
    }
}

/// Evaluates `re.sub(key, value, image)`. A key is a host, so its only special character is the
/// dot, which matches any character.
///
/// Returns `None` if the value has a backslash: it is then a template, and upstream mostly
/// raises an exception.
fn substitute(key: &str, value: &str, image: &str) -> Option<String> {
    if value.contains('\\') {
        return None;
    }
    let matches_at = |at: usize| {
        let candidate = image.as_bytes().get(at..at + key.len())?;
        let same = candidate.iter().zip(key.bytes()).all(|(&b, k)| k == b'.' || k == b);
        same.then_some(at + key.len())
    };
    let mut result = String::with_capacity(image.len() + value.len());
    let mut at = 0;
    while at < image.len() {
        if let Some(end) = matches_at(at) {
            result.push_str(value);
            at = end;
        } else {
            // Valid references are ASCII: a byte is a character.
            result.push_str(image.get(at..=at)?);
            at += 1;
        }
    }
    Some(result)
}
