//! Generated maps, with their rules and text, and images that may match.

use image_swap_core::rule::{MapForm, RuleKind};

use super::naive::{Rule, Target};
use crate::{choices::Choices, text};

/// Hosts of keys, targets and images. They are few, so that rules often match.
const DOMAINS: [&str; 12] = [
    "docker.io",
    "quay.io",
    "h.io",
    "index.docker.io",
    "quay.io:5000",
    "h.io:5000",
    "localhost",
    "localhost:5000",
    "[::1]:5000",
    "Reg",
    "Quay.IO",
    "Docker.io",
];

/// Paths of keys, targets and images.
const PATHS: [&str; 8] =
    ["/library", "/team", "/team/app", "/d", "/d/docker.io", "/nginx", "/app", "/team-x"];

/// Keys that no image matches.
const DEAD: [&str; 5] = ["*", "*.quay.io", "registry", "quay.io/Team", "quay.io/team:1"];

/// Patterns of `[REPLACE]` rules.
const PATTERNS: [&str; 9] = [
    "*/nginx*",
    "quay.io/*",
    "nginx",
    "*:1.25",
    "docker.io/library/ngin?",
    "[dq]*.io/*/app",
    "*[!p]",
    "*",
    "*/*/*/*",
];

/// Tags and digests of images. A final colon is followed by hex digits.
const ENDS: [&str; 4] = ["", ":1.25", "@sha256:", ":1.25@sha256:"];

/// Elements of `noswap_wildcards`.
const ELEMENTS: [&str; 6] = ["team", "nginx", "quay.io", "-", "y/ng", "io/d"];

/// A generated map.
#[derive(Debug)]
pub(crate) struct GeneratedMap {
    /// Rules in the order of the text. Each element of `noswap_wildcards` is one rule.
    pub(crate) rules: Vec<Rule>,
    pub(crate) text: String,
    pub(crate) form: MapForm,
}

impl GeneratedMap {
    /// Generates a map.
    pub(crate) fn new(c: &mut Choices<'_>) -> Self {
        let form = c.of(&[MapForm::List, MapForm::Lines]);
        let mut this = Self { rules: Vec::new(), text: String::new(), form };
        for _ in 0..=c.below(8) {
            this.line_of_rules(c);
        }
        this
    }

    /// Appends a line with one or more rules.
    fn line_of_rules(&mut self, c: &mut Choices<'_>) {
        loop {
            self.item(c);
            if self.form == MapForm::Lines || !c.one_in(2) {
                break;
            }
            self.text.push(',');
        }
        if c.one_in(6) {
            self.text.push_str(" # docker.io::h.io/comment, b # c");
        }
        self.text.push_str(c.of(&["\n", "\r\n", "\n\n# default::h.io\n"]));
    }

    /// Appends one rule.
    fn item(&mut self, c: &mut Choices<'_>) {
        let kinds = [
            RuleKind::Prefix,
            RuleKind::Prefix,
            RuleKind::Prefix,
            RuleKind::Default,
            RuleKind::Noswap,
            RuleKind::Exact,
            RuleKind::Replace,
        ];
        let kind = c.of(&kinds);
        if kind == RuleKind::Noswap {
            return self.noswap(c);
        }
        let (marker, key) = match kind {
            RuleKind::Exact => ("[EXACT]", image(c)),
            RuleKind::Replace => ("[REPLACE]", c.of(&PATTERNS).to_owned()),
            RuleKind::Default => ("default", String::new()),
            _ if c.one_in(10) => ("", c.of(&DEAD).to_owned()),
            _ => ("", [c.of(&DOMAINS), path(c)].concat()),
        };
        let target = if c.one_in(8) { Target::default() } else { target(c, kind) };
        let mut rule = Rule { kind, key, target };
        if c.one_in(12) {
            rule.set_identity();
        }
        let (_, target) = rule.as_written();
        let fits_old_form = !rule.key.contains(':') && !target.contains(':');
        // In a list the old form would continue `noswap_wildcards`.
        let continues = self.form == MapForm::List
            && self.rules.last().is_some_and(|rule| rule.kind == RuleKind::Noswap);
        let old_form = fits_old_form && !continues && c.one_in(4);
        let separator = if old_form { ":" } else { "::" };
        for part in [marker, &rule.key, separator, &target] {
            self.text.push_str(part);
            self.text.push_str(c.of(&["", "", "", "", " ", "\t", "  "]));
        }
        self.rules.push(rule);
    }

    /// Appends `noswap_wildcards` with some elements.
    fn noswap(&mut self, c: &mut Choices<'_>) {
        self.text.push_str("noswap_wildcards::");
        for _ in 0..=c.below(3) {
            let element = c.of(&ELEMENTS);
            self.text.push_str(element);
            // Empty elements are ignored.
            self.text.push_str(c.of(&[",", ", ", ",,"]));
            let target = Target { path: element.to_owned(), ..Target::default() };
            self.rules.push(Rule { kind: RuleKind::Noswap, key: String::new(), target });
        }
    }

    /// Generates an image, in some cases from the key or target of a rule.
    pub(crate) fn image(&self, c: &mut Choices<'_>) -> String {
        match c.below(6) {
            0 if !self.rules.is_empty() => {
                let rule = &self.rules[c.below(self.rules.len())];
                let (_, target) = rule.as_written();
                let slash = c.of(&["/", "", ":"]);
                [target.as_str(), slash, c.of(&["nginx", "", "1.25", "x/y"])].concat()
            }
            1 if !self.rules.is_empty() => {
                let rule = &self.rules[c.below(self.rules.len())];
                let rest = c.of(&["", "/nginx", "/app:1.25", ":1.25", "-x", "x"]);
                [rule.key.as_str(), rest].concat()
            }
            2 => text::reference(c),
            _ => image(c),
        }
    }
}

/// Returns one of [`PATHS`], or an empty path.
fn path(c: &mut Choices<'_>) -> &'static str {
    if c.one_in(2) { c.of(&PATHS) } else { "" }
}

/// Generates an image, independent of rules.
fn image(c: &mut Choices<'_>) -> String {
    if c.one_in(32) {
        return ["sha256:", &"0".repeat(64)].concat();
    }
    let mut text = [c.of(&DOMAINS), "/"].concat();
    if c.one_in(3) {
        text.clear();
    } else if c.one_in(16) {
        // This first component has a dot, but is not a host.
        "a_b.c/".clone_into(&mut text);
    }
    let path = [path(c), path(c), c.of(&["/nginx", "/app", "/x", "/team-x"])].concat();
    text.push_str(&path[1..]);
    let end = c.of(&ENDS);
    text.push_str(end);
    if end.ends_with(':') {
        text.push_str(&"0".repeat(64));
    }
    text
}

/// Generates a target of a rule of `kind`.
fn target(c: &mut Choices<'_>, kind: RuleKind) -> Target {
    let mut path = path(c).to_owned();
    let (mut api, mut slash) = ("", "");
    if kind == RuleKind::Exact {
        path.push_str(c.of(&["/nginx", "/app:1", "/Upper", "/x"]));
    } else {
        path.push_str(c.of(&["", "", "", "/x-", "/x_", "/Upper"]));
        slash = c.of(&["", "", "/"]);
    }
    if c.one_in(6) {
        api = "/v2";
    }
    let scheme = c.of(&["", "", "", "https://", "http://"]);
    Target { scheme, domain: c.of(&DOMAINS), api, path, slash }
}

/// Generates a text like a map, which may be invalid.
pub(crate) fn any(c: &mut Choices<'_>) -> (String, MapForm) {
    if c.one_in(2) {
        let form = c.of(&[MapForm::List, MapForm::Lines]);
        return (c.rest(), form);
    }
    let GeneratedMap { mut text, form, .. } = GeneratedMap::new(c);
    c.damage(&mut text, &[':', ',', '#', '[', ']', '\n', ' ', '/', '*', '-', '\\', '@', 'ü', '.']);
    (text, form)
}
