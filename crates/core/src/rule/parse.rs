//! Parses the text of a map to rules, without judging them.
//!
//! ```text
//! map       = line { newline line }
//! line      = [ item ] [ "#" comment ]            in a list: item { "," item }
//! item      = source "::" target                  old form: source ":" target, with no other ":"
//! source    = "default" | "noswap_wildcards" | [ "[EXACT]" | "[REPLACE]" ] text
//! ```
//!
//! White space and byte order marks are ignored everywhere. In a list, an item without `::`
//! continues a `noswap_wildcards` before it on the same line, since its value contains commas.
//! An item with an `@` and without `::` continues the target before it.
//!
//! A comment begins at the *first* `#`. Imageswap's documentation defines it so; its code
//! differs. Source: imageswap-webhook, `docs/configuration.md` and `build_swap_map`.

use std::ops::Range;

use image_swap_text::{position::Position, redact::is_digest};

use super::{
    source::{RuleSource, compared},
    target::{Target, TargetError},
};
use crate::{
    diagnostic::{Code, Diagnostic},
    reference::Reference,
};

/// The kind of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// Rule for a host, or for a host and a path.
    Prefix,
    /// `[EXACT]`: rule for one whole reference.
    Exact,
    /// `[REPLACE]`: rule for a pattern.
    Replace,
    /// `default`: rule for all images that match no other rule.
    Default,
    /// One element of `noswap_wildcards`: images that the default does not change.
    Noswap,
}

/// One rule in its original spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kind of the rule.
    pub kind: RuleKind,
    /// Left side of the rule, with its marker, without white space.
    pub source: String,
    /// Right side of the rule without white space; for `noswap_wildcards`, one element.
    pub target: String,
    /// Position of the source; for `noswap_wildcards`, of the element.
    pub place: Position,
    /// Position of the target.
    pub target_place: Position,
}

impl Rule {
    /// Returns the left side without its marker, which references are compared with.
    pub fn key(&self) -> &str {
        let marker = match self.kind {
            RuleKind::Exact => EXACT,
            RuleKind::Replace => REPLACE,
            RuleKind::Prefix | RuleKind::Default | RuleKind::Noswap => "",
        };
        self.source.strip_prefix(marker).unwrap_or(&self.source)
    }

    /// Parses the key of a rule for a host, or a host and a path. Returns `None` for other
    /// kinds, and for a key that no reference can match.
    pub(crate) fn prefix(&self) -> Option<RuleSource> {
        if self.kind == RuleKind::Prefix { RuleSource::parse(&self.source) } else { None }
    }

    /// Parses the target. Returns `None` for a rule of a kind that has no target.
    ///
    /// # Errors
    /// Returns the reason if no valid reference can begin with the target.
    pub fn parse_target(&self) -> Option<Result<Target, TargetError>> {
        match self.kind {
            RuleKind::Noswap => None,
            RuleKind::Exact => Some(Target::of_exact(&self.target)),
            RuleKind::Prefix | RuleKind::Replace | RuleKind::Default => {
                Some(Target::parse(&self.target))
            }
        }
    }

    /// Returns true if images that the rule matches stay unchanged. Either it has no target, or
    /// the target is its own source (`[EXACT]auto::auto`, `quay.io/a::quay.io/a`).
    pub fn exempts(&self) -> bool {
        let key = self.key();
        match self.kind {
            RuleKind::Noswap => false,
            _ if self.target.is_empty() => true,
            RuleKind::Default => false,
            RuleKind::Replace => key == self.target,
            RuleKind::Exact => {
                key == self.target || {
                    let normalised = |text| Reference::parse(text).map(|it| it.to_string()).ok();
                    // Most targets differ from the source in the last byte, which is compared
                    // first.
                    key.as_bytes().last() == self.target.as_bytes().last()
                        && normalised(key).is_some_and(|key| normalised(&self.target) == Some(key))
                }
            }
            RuleKind::Prefix => {
                let (Some(key), Ok(target)) = (self.prefix(), Target::parse(&self.target)) else {
                    return false;
                };
                // With `http://` the rule declares plain HTTP for the registry itself.
                !target.is_plain_http()
                    && *compared(target.domain()) == *key.domain()
                    && target.path() == key.path()
            }
        }
    }
}

/// Separator of the items in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapForm {
    /// One rule per line: an imageswap map file.
    Lines,
    /// Commas or newlines: `MIRROR_REGISTRIES`.
    List,
}

const BOM: char = '\u{feff}';
const EXACT: &str = "[EXACT]";
const REPLACE: &str = "[REPLACE]";
const DEFAULT: &str = "default";
const NOSWAP: &str = "noswap_wildcards";

/// Parses `text`. Returns its rules in order, and a warning for each invalid item.
///
/// # Examples
/// ```
/// use image_swap_core::rule::parse::{self, MapForm};
///
/// let (rules, warnings) = parse::rules("docker.io::h.io/hub, quay.io", MapForm::List);
/// assert_eq!((rules.len(), rules[0].target.as_str()), (1, "h.io/hub"));
/// assert_eq!(warnings[0].place.column, 22);
/// ```
pub fn rules(text: &str, form: MapForm) -> (Vec<Rule>, Vec<Diagnostic>) {
    let mut reader = MapReader { rules: Vec::new(), findings: Vec::new(), in_noswap: false };
    for (index, line) in text.split('\n').enumerate() {
        let line_number = index + 1;
        let code = line.split_once('#').map_or(line, |(code, _comment)| code);
        // A value that continues on the next line would absorb the rule that follows.
        reader.in_noswap = false;
        let mut column = 1;
        let items = match form {
            MapForm::Lines => vec![code],
            MapForm::List => items(code),
        };
        for text in items {
            if let Some(item) = MapItem::new(text, line_number, column) {
                reader.item(&item);
            }
            column += text.chars().count() + 1;
        }
    }
    (reader.rules, reader.findings)
}

/// Splits one line of a list into its items. An item with an `@` and without `::` is the end of
/// a password with a comma. It stays with the item before it, so that both are hidden together.
fn items(line: &str) -> Vec<&str> {
    let mut items: Vec<&str> = Vec::new();
    let mut start = 0;
    for text in line.split(',') {
        let end = start + text.len();
        let of_user = |(at, _): (usize, &str)| !is_digest(&text[at + 1..]);
        let ends_password = !text.contains("::") && text.match_indices('@').any(of_user);
        let first = items.iter().rposition(|item| item.contains("::")).filter(|_| ends_password);
        let begin = first.map_or(start, |first| {
            let kept: usize = items.drain(first..).map(|item| item.len() + 1).sum();
            start - kept
        });
        items.push(&line[begin..end]);
        start = end + 1;
    }
    items
}

/// One item without its white space, with the column of each character.
struct MapItem {
    text: String,
    line: usize,
    columns: Vec<usize>,
}

impl MapItem {
    /// Creates an item. Returns `None` if `text` has only white space and byte order marks,
    /// which some editors write at the beginning of a file.
    fn new(text: &str, line: usize, first_column: usize) -> Option<Self> {
        let mut item = Self { text: String::with_capacity(text.len()), line, columns: Vec::new() };
        for (index, character) in text.chars().enumerate() {
            if !character.is_whitespace() && character != BOM {
                item.text.push(character);
                item.columns.push(first_column + index);
            }
        }
        (!item.text.is_empty()).then_some(item)
    }

    /// Returns the position of the byte `at`; past the end, that of the last character.
    fn place(&self, at: usize) -> Position {
        let index = self.text[..at].chars().count().min(self.columns.len() - 1);
        Position { line: self.line, column: self.columns[index] }
    }
}

struct MapReader {
    rules: Vec<Rule>,
    findings: Vec<Diagnostic>,
    in_noswap: bool,
}

impl MapReader {
    fn item(&mut self, item: &MapItem) {
        let marker = [EXACT, REPLACE].into_iter().find(|marker| item.text.starts_with(marker));
        let body_at = marker.map_or(0, str::len);
        let (separator, has_double) = separator(&item.text[body_at..]);
        if self.in_noswap && !has_double {
            return self.noswap(item, 0);
        }
        if let Some(Range { start, end }) = separator.filter(|found| found.start > 0) {
            return self.rule(item, marker, body_at + start, body_at + end);
        }
        // The item is not repeated: it may be a misplaced credential.
        let message = "expected source::target, found another text, which is skipped";
        let finding = Diagnostic::warning(Code::UnreadableLine, item.place(0), message);
        self.findings.push(finding.hint("write one `::` between the source and its target"));
    }

    fn rule(&mut self, item: &MapItem, marker: Option<&str>, source_end: usize, target_at: usize) {
        let source = &item.text[..source_end];
        let kind = match (marker, source) {
            (Some(EXACT), _) => RuleKind::Exact,
            (Some(_), _) => RuleKind::Replace,
            (None, DEFAULT) => RuleKind::Default,
            (None, NOSWAP) => RuleKind::Noswap,
            (None, _) => RuleKind::Prefix,
        };
        self.in_noswap = kind == RuleKind::Noswap;
        if self.in_noswap {
            return self.noswap(item, target_at);
        }
        self.rules.push(Rule {
            kind,
            source: source.to_owned(),
            target: item.text[target_at..].to_owned(),
            place: item.place(0),
            target_place: item.place(target_at),
        });
    }

    /// Reads the comma-separated elements from byte `at` on. An empty element is skipped, as it
    /// would match everything.
    fn noswap(&mut self, item: &MapItem, mut at: usize) {
        for element in item.text[at..].split(',') {
            if !element.is_empty() {
                let place = item.place(at);
                self.rules.push(Rule {
                    kind: RuleKind::Noswap,
                    source: NOSWAP.to_owned(),
                    target: element.to_owned(),
                    place,
                    target_place: place,
                });
            }
            at += element.len() + 1;
        }
    }
}

/// Returns the byte range of the separator outside brackets, which contain IPv6 addresses and
/// character sets. The separator is the only `::`, else the only `:`.
///
/// The flag is true if there is any `::`.
fn separator(text: &str) -> (Option<Range<usize>>, bool) {
    let (mut doubles, mut singles) = (Vec::new(), Vec::new());
    let mut in_brackets = false;
    // An unclosed `[` is a literal character, as in patterns.
    let last_closing = text.rfind(']').unwrap_or(0);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'[' => in_brackets = at < last_closing,
            b']' => in_brackets = false,
            b':' if !in_brackets && bytes.get(at + 1) == Some(&b':') => {
                doubles.push(at);
                at += 1;
            }
            b':' if !in_brackets => singles.push(at),
            _ => {}
        }
        at += 1;
    }
    match (doubles.as_slice(), singles.as_slice()) {
        (&[at], _) => (Some(at..at + 2), true),
        (&[], &[at]) => (Some(at..at + 1), false),
        (doubles, _) => (None, !doubles.is_empty()),
    }
}
