//! Findings: places that break a rule of language that a program can check.

use std::fmt;

use super::{
    comment::{CommentKind, comments},
    markdown,
    words::{begins_with_question, begins_with_verb, is_banned, is_speech, words},
};

/// The rule that a finding breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Docs that begin with a question word, such as `what` or `whether`
    Question,
    /// Docs of functions that do not begin with a verb in the third person
    NoVerb,
    /// Words that hide the actor, such as `somebody` or `we`
    Banned,
    /// Words of speech, such as `told` or `says`
    Speech,
}

/// One finding.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// The path of the file below the checkout.
    pub(super) file: String,
    /// The number of the line, counted from 1.
    pub(super) line: usize,
    /// The line, without indentation and marks of comments.
    pub(super) text: String,
}

/// Counts and findings of one or more files.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The number of doc comments, those of functions included.
    pub(super) docs: usize,
    /// The number of functions with a doc comment.
    pub(super) functions: usize,
    /// The number of words in comments and Markdown.
    pub(super) words: usize,
    pub(super) findings: Vec<Finding>,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Question, Self::NoVerb, Self::Banned, Self::Speech];

    /// Returns the name in the budget and on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Question => "question",
            Self::NoVerb => "no-verb",
            Self::Banned => "banned",
            Self::Speech => "speech",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

impl Tally {
    pub(super) fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }

    /// Adds the comments of the Rust file `file` with this text.
    pub(super) fn add_rust(&mut self, file: &str, source: &str) {
        for comment in comments(source) {
            let prose = self.add_lines(file, &comment.lines);
            let is_function = comment.kind == CommentKind::FunctionDoc;
            if comment.kind == CommentKind::Plain {
                continue;
            }
            self.docs += 1;
            self.functions += usize::from(is_function);
            let first = comment.lines.iter().find(|(_, text)| !text.trim().is_empty());
            let Some((line, text)) = first else { continue };
            if begins_with_question(&prose) {
                self.push(Kind::Question, file, *line, text);
            }
            if is_function && !begins_with_verb(&prose) {
                self.push(Kind::NoVerb, file, *line, text);
            }
        }
    }

    /// Adds the Markdown file `file` with this text.
    pub(super) fn add_markdown(&mut self, file: &str, text: &str) {
        let lines = text.lines().enumerate();
        let lines: Vec<(usize, &str)> = lines.map(|(index, text)| (index + 1, text)).collect();
        self.add_lines(file, &lines);
    }

    /// Counts words, and returns the prose of the lines.
    fn add_lines(&mut self, file: &str, lines: &[(usize, &str)]) -> String {
        let text: Vec<&str> = lines.iter().map(|(_, text)| *text).collect();
        let prose = markdown::prose(&text.join("\n"));
        for (index, word) in words(&prose) {
            self.words += 1;
            let (line, text) = lines.get(index).copied().unwrap_or_default();
            let text = || format!("{word}: {}", text.trim());
            if is_banned(word) {
                self.push(Kind::Banned, file, line, &text());
            }
            if is_speech(word) {
                self.push(Kind::Speech, file, line, &text());
            }
        }
        prose
    }

    fn push(&mut self, kind: Kind, file: &str, line: usize, text: &str) {
        let (file, text) = (file.to_owned(), text.trim().to_owned());
        self.findings.push(Finding { kind, file, line, text });
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::{Kind, Tally};

    fn found(tally: &Tally) -> Vec<String> {
        let found = tally.findings.iter();
        found.map(|finding| format!("{} {finding}", finding.kind.name())).collect()
    }

    #[test]
    fn findings_carry_file_and_line() {
        let source = "//! What is\n//! told.\n\n/// Returns `what`.\nfn f() {}\n\n\
                      /// The sum, \"we\",\n///\n/// ```\n/// let us = ask();\n/// ```\n///\n\
                      /// of all that we\n/// know.\nfn g() { say(\"// nobody\"); } // Nobody.\n";
        let mut tally = Tally::default();
        tally.add_rust("a.rs", source);
        let expected = [
            "speech a.rs:2: told: told.",
            "question a.rs:1: What is",
            "banned a.rs:13: we: of all that we",
            "no-verb a.rs:7: The sum, \"we\",",
            "banned a.rs:15: Nobody: Nobody.",
        ];
        assert_eq!(found(&tally), expected);
        assert_eq!((tally.docs, tally.functions, tally.words), (3, 2, 12));
    }

    #[test]
    fn markdown_counts_only_words() {
        let mut tally = Tally::default();
        tally.add_markdown("a.md", "# What it is\n\n```\nwe\n```\n\nIt says `we`.\n");
        assert_eq!(found(&tally), ["speech a.md:7: says: It says `we`."]);
        assert_eq!((tally.docs, tally.words), (0, 5));
    }

    #[test]
    fn name_is_that_of_the_command_line() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
    }
}
