//! The tags above tests: `// guarantee: 3` or `// guarantee: 4a, 6`.
//!
//! The text is read line by line, which is enough for text that rustfmt has formatted.

use super::design::is_id;
use crate::test::source::function;

/// The form of a tag, for messages.
pub(super) const FORM: &str = "// guarantee: N";

/// A test with a tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TaggedTest {
    /// The line of the tag, counted from 1.
    pub(super) line: usize,
    /// The numbers of the guarantees that the test holds.
    pub(super) ids: Vec<String>,
    pub(super) function: String,
}

/// The tags of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SourceTags {
    pub(super) tests: Vec<TaggedTest>,
    /// Each wrong tag, as its line and a message.
    pub(super) mistakes: Vec<(usize, String)>,
}

impl SourceTags {
    /// Parses the text of one file.
    pub(super) fn parse(text: &str) -> Self {
        let mut reader = TagReader::default();
        for (index, line) in text.lines().enumerate() {
            reader.read(index + 1, line.trim());
        }
        reader.end();
        reader.found
    }
}

#[derive(Default)]
struct TagReader {
    found: SourceTags,
    /// A tag whose function has not come yet.
    pending: Option<PendingTag>,
}

struct PendingTag {
    line: usize,
    ids: Vec<String>,
    /// True if an attribute below the tag makes the function a test.
    is_test: bool,
    /// True within an attribute of several lines, which ends with the line `)]`.
    in_attribute: bool,
}

impl TagReader {
    fn read(&mut self, number: usize, code: &str) {
        if let Some(text) = tag(code) {
            self.end();
            match ids(text) {
                Some(ids) => {
                    let (is_test, in_attribute) = (false, false);
                    self.pending = Some(PendingTag { line: number, ids, is_test, in_attribute });
                }
                None => self.mistake(number, format!("expected `{FORM}`, found `{code}`")),
            }
            return;
        }
        let Some(pending) = &mut self.pending else { return };
        if pending.in_attribute {
            pending.in_attribute = code != ")]";
        } else if code.starts_with("#[") {
            pending.is_test |= is_test_attribute(code);
            pending.in_attribute = !code.contains(']');
        } else if let Some(function) = function(code).filter(|_| pending.is_test) {
            let function = function.to_owned();
            if let Some(PendingTag { line, ids, .. }) = self.pending.take() {
                self.found.tests.push(TaggedTest { line, ids, function });
            }
        } else if !code.starts_with("//") {
            self.end();
        }
    }

    /// Reports a tag that no test followed.
    fn end(&mut self) {
        if let Some(PendingTag { line, .. }) = self.pending.take() {
            self.mistake(line, "expected a test below the tag, found none".to_owned());
        }
    }

    fn mistake(&mut self, line: usize, message: String) {
        self.found.mistakes.push((line, message));
    }
}

/// Returns the text behind `guarantee:` of a comment, however the word is written.
fn tag(code: &str) -> Option<&str> {
    let (word, text) = code.strip_prefix("//")?.split_once(':')?;
    let word = word.trim_matches(['/', '!', ' ']).to_ascii_lowercase();
    // A wrong word has no numbers either: the tag is then a mistake.
    let is_exact = code.starts_with("// guarantee: ");
    ["guarantee", "guarantees"]
        .contains(&word.as_str())
        .then(|| if is_exact { text.trim() } else { "" })
}

/// Splits `4a, 6` into numbers; `None` if one is malformed.
fn ids(text: &str) -> Option<Vec<String>> {
    text.split(", ").map(|id| is_id(id).then(|| id.to_owned())).collect()
}

/// Returns true for `#[test]` and attributes such as `#[tokio::test(…)]`.
fn is_test_attribute(code: &str) -> bool {
    let path = code.strip_prefix("#[").and_then(|rest| rest.split([']', '(']).next());
    path.is_some_and(|path| path.rsplit("::").next() == Some("test"))
}

#[cfg(test)]
mod tests {
    use super::{SourceTags, TaggedTest};

    fn parse(lines: &[&str]) -> SourceTags {
        SourceTags::parse(&lines.join("\n"))
    }

    fn mistakes(lines: &[&str]) -> Vec<usize> {
        let found = parse(lines);
        assert!(found.tests.is_empty(), "{found:?}");
        found.mistakes.into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn tag_belongs_to_the_test_below() {
        let lines = [
            "/// A doc.",
            "// guarantee: 4a, 6",
            "#[tokio::test(flavor = \"current_thread\")]",
            "#[expect(",
            "    clippy::panic, // [",
            "    reason = \"long\"",
            ")]",
            "// A comment.",
            "async fn a_b() {",
            "}",
            "#[test]",
            "fn other() {}",
            "    // guarantee: 1",
            "    #[test]",
            "    fn within(x in 0..1) {",
        ];
        let test = |line, ids: &[&str], function: &str| TaggedTest {
            line,
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            function: function.to_owned(),
        };
        let expected = [test(2, &["4a", "6"], "a_b"), test(13, &["1"], "within")];
        let found = parse(&lines);
        assert!(found.mistakes.is_empty(), "{found:?}");
        assert_eq!(found.tests, expected);
    }

    #[test]
    fn tag_above_no_test_is_a_mistake() {
        for below in ["fn a() {}", "", "const A: u8 = 1;", "#[expect(dead_code)]\nfn a() {}"] {
            assert_eq!(mistakes(&["", "// guarantee: 1", below]), [2], "{below}");
        }
        assert_eq!(mistakes(&["// guarantee: 1"]), [1]);
        let found = parse(&["// guarantee: 1", "// guarantee: 2", "#[test]", "fn a() {}"]);
        assert_eq!((found.mistakes[0].0, found.tests[0].line), (1, 2));
    }

    #[test]
    fn tag_of_another_form_is_a_mistake() {
        for line in [
            "// guarantee: ",
            "// guarantee: 1,2",
            "// guarantee: one",
            "// guarantee:1",
            "// guarantees: 1, 2",
            "// Guarantee: 1",
            "/// guarantee: 1",
            "//guarantee: 1",
        ] {
            assert_eq!(mistakes(&[line, "#[test]", "fn a() {}"]), [1], "{line}");
        }
    }

    #[test]
    fn other_comments_are_no_tags() {
        let lines = ["// A guarantee: 1", "// guarantee 1", "let a = \"// guarantee: 1\";"];
        assert_eq!(parse(&lines), SourceTags::default());
    }
}
