//! Converts an imageswap map to a canonical map with the same effect.
//!
//! Upstream's result for a host is found by evaluating probe images, not by reading its rules.
//! Reason: upstream's result only holds if a second evaluation leaves it unchanged. Effects
//! that no canonical map can express are listed in `docs/imageswap-compatibility.md`.

use std::fmt::Write as _;

use super::{
    imageswap::ImageSwap,
    parse::{self, RuleKind},
    redact::rule_text,
    ruleset::RuleSet,
    source::{RuleSource, compared, is_registry},
};
use crate::reference::{DOCKER_DOMAIN, Reference};

/// Repository that does not exist, as a probe for all repositories of a host.
const PROBE: &str = "image-swap-probe/image-swap-probe";
/// Repository of a single component, as a probe for Docker Hub's library.
const LIBRARY_PROBE: &str = "image-swap-probe";
/// Canonical key of Docker Hub's library.
const LIBRARY: &str = "docker.io/library";
/// Host that no map names.
const OTHER_HOST: &str = "image-swap-probe.invalid";

/// A map that was converted to canonical rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Text of the map, with comments on parts of the old map that have no effect.
    pub text: String,
    /// Descriptions of images for which the effect differs.
    pub differences: Vec<String>,
}

/// The mapping of a host's images.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostMapping {
    Same,
    Below(String),
    /// The whole name appended to this target.
    Joined(String),
    /// A result that no prefix rule can express.
    Other(String),
}

impl ImageSwap {
    /// Converts this map to a canonical one with the effect of the dialect `imageswap`.
    pub fn to_canonical(&self) -> Converted {
        let mut out = Converted { text: String::new(), differences: Vec::new() };
        for rule in self.in_force(RuleKind::Exact) {
            let key = rule.key().trim_start();
            // `[EXACT]auto::auto` exempts `auto` in both dialects.
            let target =
                if key == rule.target { key.to_owned() } else { whole_target(&rule.target) };
            out.rule("[EXACT]", key, &target);
        }
        for rule in self.in_force(RuleKind::Replace) {
            let key = rule.key().trim_start();
            if rule.target.is_empty() {
                // A canonical rule would have Docker Hub's library as its target. All images of
                // the library would count as already mirrored.
                let _ = writeln!(out.text, "# [REPLACE]{key}:: keeps the bare name in imageswap");
                out.differences.push(format!(
                    "[REPLACE]{key}: imageswap keeps the bare name, which no canonical rule can do"
                ));
                continue;
            }
            if key == rule.target {
                out.differences.push(format!(
                    "[REPLACE]{key}::{key}: imageswap puts the image below itself, a canonical \
                     rule exempts it"
                ));
                out.rule("[REPLACE]", key, key);
                continue;
            }
            out.rule("[REPLACE]", key, &prefix_target(&rule.target));
        }
        let prefixes = self.prefixes_only();
        if self.has_default() {
            self.prefixes(&prefixes, &mut out);
        } else if !self.in_force(RuleKind::Prefix).is_empty() {
            out.text
                .push_str("# without `default::` imageswap ignores prefix rules; none is kept\n");
        }
        out
    }

    fn prefixes(&self, upstream: &Self, out: &mut Converted) {
        let mut lines = CanonicalMap::default();
        let other = [OTHER_HOST, "/", PROBE].concat();
        match upstream.mapping(OTHER_HOST, PROBE) {
            HostMapping::Same => {}
            // Upstream prepends the target to the whole name, which contains the host already.
            HostMapping::Below(target) if target.contains(OTHER_HOST) => {
                out.differs("default", &other, &[&target, "/", PROBE].concat());
            }
            HostMapping::Below(target) | HostMapping::Joined(target) => {
                lines.push("default", &target);
            }
            HostMapping::Other(image) => out.differs("default", &other, &image),
        }
        let wildcards = self.wildcards();
        for key in self.keys(out) {
            let (host, probe) = match key.as_str() {
                // In the usual form: imageswap treats `docker.io/…` differently.
                DOCKER_DOMAIN => ("", PROBE),
                LIBRARY => ("", LIBRARY_PROBE),
                key => (key, PROBE),
            };
            let domain = key.split('/').next().unwrap_or(&key);
            let mapping = upstream.mapping(host, probe);
            let named = self.in_force(RuleKind::Prefix).iter().any(|rule| rule.source == key);
            if lines.mapping(&key, probe) == mapping {
                if named && key.contains('/') {
                    let _ =
                        writeln!(out.text, "# {}:: has no effect in imageswap", rule_text(&key));
                }
                if !named || key.contains('/') {
                    continue;
                }
            }
            if domain.bytes().any(|byte| byte.is_ascii_uppercase()) {
                let _ = writeln!(out.text, "# {key}:: cannot be converted: see the warning");
                out.differences.push(format!(
                    "{key}: imageswap matches hosts case-sensitively, canonical rules match {}",
                    compared(domain)
                ));
                continue;
            }
            match &mapping {
                HostMapping::Same => lines.push(&key, ""),
                HostMapping::Below(target) | HostMapping::Joined(target) => {
                    lines.push(&key, target);
                }
                HostMapping::Other(image) => out.differs(&key, &[&key, "/", probe].concat(), image),
            }
            // An explicit key beats `noswap_wildcards`. Patterns are needed for hosts that
            // imageswap handles by its default, and so by the wildcards first.
            let by_default = !named && !upstream.maps.contains_key(domain);
            if by_default && mapping != HostMapping::Same {
                for wildcard in &wildcards {
                    out.rule("[REPLACE]", &format!("{key}/*{}*", escaped(wildcard)), "");
                }
            }
        }
        lines.print(out);
        if !wildcards.is_empty() {
            out.rule("", "noswap_wildcards", &wildcards.join(","));
        }
    }

    /// Returns the keys to convert: Docker Hub, `localhost` (a path on Docker Hub to
    /// imageswap), and every key. A registry precedes the paths below it.
    fn keys(&self, out: &mut Converted) -> Vec<String> {
        let mut dead: Vec<&String> = Vec::new();
        let mut keys = vec![DOCKER_DOMAIN.to_owned(), LIBRARY.to_owned(), "localhost".to_owned()];
        // The canonical dialect and its keys count for images without a result of upstream.
        let canonical =
            self.canonical().rules().iter().filter(|rule| rule.kind == RuleKind::Prefix);
        for rule in self.in_force(RuleKind::Prefix).into_iter().chain(canonical) {
            let key = &rule.source;
            if keys.contains(key) || dead.contains(&key) {
                continue;
            }
            if RuleSource::parse(key).is_none() {
                dead.push(key);
                let _ = writeln!(out.text, "# {}:: has no effect in imageswap", rule_text(key));
            } else {
                keys.push(key.clone());
            }
        }
        keys.sort_by_key(|key| key.matches('/').count());
        keys
    }

    fn wildcards(&self) -> Vec<&str> {
        let rules = self.in_force(RuleKind::Noswap);
        let elements = rules.iter().flat_map(|rule| rule.target.split(','));
        elements.filter(|element| !element.is_empty()).collect()
    }

    /// Returns the mapping of `path` on `host`; an empty host stands for names without one.
    fn mapping(&self, host: &str, path: &str) -> HostMapping {
        let slash = if host.is_empty() { "" } else { "/" };
        let image = [host, slash, path].concat();
        self.swap(&image)
            .map_or(HostMapping::Same, |decision| HostMapping::new(&image, path, &decision.image))
    }
}

impl HostMapping {
    fn new(image: &str, path: &str, swapped: &str) -> Self {
        if image == swapped {
            return Self::Same;
        }
        let name = Reference::parse(image).map_or_else(|_| image.to_owned(), |r| r.to_string());
        if let Some(target) = swapped.strip_suffix(&name).filter(|target| target.ends_with('-')) {
            return Self::Joined(target.to_owned());
        }
        match swapped.strip_suffix(path).and_then(|below| below.strip_suffix('/')) {
            Some(target) => Self::Below(prefix_target(target)),
            None => Self::Other(swapped.to_owned()),
        }
    }
}

/// The canonical rules converted so far.
#[derive(Default)]
struct CanonicalMap {
    lines: Vec<(String, String)>,
    rules: RuleSet,
}

impl CanonicalMap {
    fn push(&mut self, source: &str, target: &str) {
        self.lines.push((source.to_owned(), target.to_owned()));
        let text: Vec<String> = self.lines.iter().map(|(s, t)| [s, "::", t].concat()).collect();
        self.rules = RuleSet::new(parse::rules(&text.join("\n"), parse::MapForm::Lines).0);
    }

    /// Returns the mapping of `path` below `key` by the converted rules.
    fn mapping(&self, key: &str, path: &str) -> HostMapping {
        let image = [key, "/", path].concat();
        self.rules
            .swap(&image)
            .map_or(HostMapping::Same, |swap| HostMapping::new(&image, path, &swap.image))
    }

    /// Prints the map. The default comes last, as is usual.
    fn print(&self, out: &mut Converted) {
        let (default, others): (Vec<_>, Vec<_>) =
            self.lines.iter().partition(|(source, _)| source == "default");
        for (source, target) in others.into_iter().chain(default) {
            out.rule("", source, target);
        }
    }
}

impl Converted {
    fn differs(&mut self, key: &str, image: &str, swapped: &str) {
        self.differences.push(format!(
            "{key}: imageswap swaps {image} to {swapped}, which no canonical rule can do"
        ));
    }

    fn rule(&mut self, marker: &str, source: &str, target: &str) {
        let line = [marker, source, "::", target].concat();
        // Text that canonical cannot parse (a `[` that only the target closes) is never part of
        // a reference. So imageswap has no result for it, and canonical needs no rule.
        let readable = parse::rules(&line, parse::MapForm::Lines).1.is_empty();
        let mark = if readable { "" } else { "# no effect in imageswap: " };
        let _ = writeln!(self.text, "{mark}{line}");
    }
}

/// Adds Docker Hub to a target without a registry, as imageswap does.
fn prefix_target(written: &str) -> String {
    let written = written.trim_end_matches('/');
    let first = written.split('/').next().unwrap_or(written);
    if is_registry(first) { written.to_owned() } else { [DOCKER_DOMAIN, "/", written].concat() }
}

fn whole_target(written: &str) -> String {
    match Reference::parse(written) {
        Ok(reference) if !is_registry(written.split('/').next().unwrap_or_default()) => {
            reference.to_string()
        }
        _ => written.to_owned(),
    }
}

/// Returns a pattern that matches exactly `text`.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '*' | '?' | '[' => pattern.extend(['[', character, ']']),
            other => pattern.push(other),
        }
    }
    pattern
}
