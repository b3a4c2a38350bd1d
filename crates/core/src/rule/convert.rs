//! Converts an imageswap map to a canonical map with the same effect.
//!
//! Upstream's answer for a host is found by asking it, not by reading its
//! rules: whether it holds depends on what it answers for its own answer. What
//! a canonical map has no words for is listed in
//! `docs/imageswap-compatibility.md`.

use std::fmt::Write as _;

use super::{
    imageswap::ImageSwap,
    parse::{self, RuleKind},
    redact::rule_text,
    ruleset::RuleSet,
    source::{RuleSource, compared, is_registry},
};
use crate::reference::{DOCKER_DOMAIN, Reference};

/// A repository that nobody has, to ask about the rest of a host.
const PROBE: &str = "image-swap-probe/image-swap-probe";
/// One of a single component, to ask about Docker Hub's library.
const LIBRARY_PROBE: &str = "image-swap-probe";
/// The key of that library.
const LIBRARY: &str = "docker.io/library";
/// A host that no map names.
const OTHER_HOST: &str = "image-swap-probe.invalid";

/// A map that was converted to canonical rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// Its text, with comments where something of the old map has no effect.
    pub text: String,
    /// Differences in effect for some images, for people.
    pub differences: Vec<String>,
}

/// What a host's images become.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostMapping {
    Same,
    Below(String),
    /// The whole name joined to it.
    Joined(String),
    /// Something that no prefix says.
    Other(String),
}

impl ImageSwap {
    /// Prints the canonical map with the effect that this map has in the
    /// dialect `imageswap`.
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
                // Its canonical target would be Docker Hub's library, and make all of that
                // already mirrored.
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

    fn prefixes(&self, asked: &Self, out: &mut Converted) {
        let mut lines = CanonicalMap::default();
        let other = [OTHER_HOST, "/", PROBE].concat();
        match asked.fate(OTHER_HOST, PROBE) {
            HostMapping::Same => {}
            // Upstream joins the host to the whole name, which holds it already.
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
                // As people write them: imageswap treats `docker.io/…` apart.
                DOCKER_DOMAIN => ("", PROBE),
                LIBRARY => ("", LIBRARY_PROBE),
                key => (key, PROBE),
            };
            let domain = key.split('/').next().unwrap_or(&key);
            let fate = asked.fate(host, probe);
            let named = self.in_force(RuleKind::Prefix).iter().any(|rule| rule.source == key);
            if lines.fate(&key, probe) == fate {
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
            match &fate {
                HostMapping::Same => lines.push(&key, ""),
                HostMapping::Below(target) | HostMapping::Joined(target) => {
                    lines.push(&key, target);
                }
                HostMapping::Other(image) => out.differs(&key, &[&key, "/", probe].concat(), image),
            }
            // An explicit key beats `noswap_wildcards`. Where imageswap asks its
            // default, and so the wildcards first, patterns say so.
            let by_default = !named && !asked.maps.contains_key(domain);
            if by_default && fate != HostMapping::Same {
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

    /// What to ask about: Docker Hub, `localhost` (which imageswap takes for a
    /// path on Docker Hub), and every key; a registry before what is below it.
    fn keys(&self, out: &mut Converted) -> Vec<String> {
        let mut dead: Vec<&String> = Vec::new();
        let mut keys = vec![DOCKER_DOMAIN.to_owned(), LIBRARY.to_owned(), "localhost".to_owned()];
        // Where upstream gives no answer the canonical one counts, and its keys.
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

    /// What becomes of `path` on `host`; no host: as people write it.
    fn fate(&self, host: &str, path: &str) -> HostMapping {
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

/// The canonical rules found so far.
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

    /// What they make of `path` below `key`.
    fn fate(&self, key: &str, path: &str) -> HostMapping {
        let image = [key, "/", path].concat();
        self.rules
            .swap(&image)
            .map_or(HostMapping::Same, |swap| HostMapping::new(&image, path, &swap.image))
    }

    /// The default comes last, as people write it.
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
        // What canonical cannot read (a `[` that only the target closes) is no part of a
        // reference, so that imageswap has no answer there, and canonical no rule.
        let readable = parse::rules(&line, parse::MapForm::Lines).1.is_empty();
        let mark = if readable { "" } else { "# no effect in imageswap: " };
        let _ = writeln!(self.text, "{mark}{line}");
    }
}

/// A target with its registry in front: without one, imageswap means Docker Hub.
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

/// The text as a pattern that matches itself.
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
