//! The comments of a Rust file, each with the kind of item that it documents.

use super::lexer::{self, Marker, RawComment, Token};

/// Adjacent lines of comment, or the whole documentation of an item.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Comment<'s> {
    pub(super) kind: CommentKind,
    /// Each line with its number, counted from 1.
    pub(super) lines: Vec<(usize, &'s str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommentKind {
    Plain,
    /// The documentation of any item but a function.
    Doc,
    FunctionDoc,
}

/// Returns all comments of a file.
pub(super) fn comments(source: &str) -> Vec<Comment<'_>> {
    let tokens = lexer::tokens(source);
    let mut reader = CommentReader::default();
    reader.read(&tokens);
    reader.end(CommentKind::Doc);
    reader.found
}

#[derive(Default)]
struct CommentReader<'s> {
    found: Vec<Comment<'s>>,
    /// The documentation of an item that has not begun.
    open: Vec<(usize, &'s str)>,
    /// The depth of brackets within an attribute; 0 outside.
    brackets: usize,
}

impl<'s> CommentReader<'s> {
    fn read(&mut self, tokens: &[Token<'s>]) {
        let mut left = tokens;
        while let [token, rest @ ..] = left {
            let item = left;
            left = rest;
            match (token, rest) {
                (Token::Comment(comment), _) => self.comment(comment),
                (Token::Mark('['), _) if self.brackets > 0 => self.brackets += 1,
                (Token::Mark(']'), _) if self.brackets > 0 => self.brackets -= 1,
                _ if self.brackets > 0 => {}
                (
                    Token::Mark('#'),
                    [Token::Mark('['), rest @ ..] | [Token::Mark('!'), Token::Mark('['), rest @ ..],
                ) => {
                    self.brackets = 1;
                    left = rest;
                }
                _ if is_function(item) => self.end(CommentKind::FunctionDoc),
                _ => self.end(CommentKind::Doc),
            }
        }
    }

    fn comment(&mut self, comment: &RawComment<'s>) {
        let RawComment { marker, lines } = comment;
        let kind = match marker {
            Marker::Outer => return self.open.extend(lines),
            Marker::Inner => CommentKind::Doc,
            Marker::Plain => CommentKind::Plain,
        };
        let is_adjacent = |last: &&mut Comment<'_>| {
            let end = last.lines.last().zip(lines.first());
            last.kind == kind && end.is_some_and(|((end, _), (begin, _))| end + 1 == *begin)
        };
        match self.found.last_mut().filter(is_adjacent) {
            Some(last) => last.lines.extend(lines),
            None => self.found.push(Comment { kind, lines: lines.clone() }),
        }
    }

    /// Ends the documentation that is open, if any: it is that of an item of this kind.
    fn end(&mut self, kind: CommentKind) {
        if !self.open.is_empty() {
            self.found.push(Comment { kind, lines: std::mem::take(&mut self.open) });
        }
    }
}

/// Returns true if an item that begins with `tokens`, without attributes, is a function.
fn is_function(mut tokens: &[Token<'_>]) -> bool {
    const QUALIFIERS: [&str; 7] = ["pub", "default", "const", "async", "unsafe", "safe", "extern"];
    loop {
        tokens = match tokens {
            [Token::Word("fn"), Token::Word(_), ..] => return true,
            [Token::Word("pub"), Token::Mark('('), scope @ ..] => {
                let end = scope.iter().position(|token| *token == Token::Mark(')'));
                end.map_or(&[], |end| &scope[end + 1..])
            }
            [Token::Word(word), rest @ ..] if QUALIFIERS.contains(word) => rest,
            [Token::Literal, rest @ ..] => rest,
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{CommentKind, comments};

    /// Returns the kind of each comment, with its lines joined.
    fn kinds(source: &str) -> Vec<(CommentKind, String)> {
        let comments = comments(source).into_iter().map(|comment| {
            let text: Vec<&str> = comment.lines.iter().map(|(_, text)| text.trim()).collect();
            (comment.kind, text.join("|"))
        });
        comments.collect()
    }

    fn kind(source: &str) -> CommentKind {
        kinds(source).into_iter().find(|(_, text)| text == "A.").unwrap().0
    }

    #[test]
    fn doc_of_a_function_is_recognised() {
        for head in [
            "fn f() {}",
            "pub fn f() {}",
            "pub(in crate::a) const unsafe fn f() {}",
            "pub(crate) async fn f() {}",
            "unsafe extern \"C\" fn f() {}",
            "#[test]\nfn f() {}",
            "#[expect(dead_code, reason = \"fn [\")]\n#[cfg(a[0])]\n// Plain.\nfn f() {}",
        ] {
            assert_eq!(kind(&format!("/// A.\n{head}")), CommentKind::FunctionDoc, "{head}");
        }
    }

    #[test]
    fn doc_of_another_item_is_no_function_doc() {
        for head in [
            "struct S { f: fn(u8) }",
            "pub f: fn(u8),",
            "const F: fn() = f;",
            "#[derive(Debug)]\nenum E {}",
            "mod m { fn f() {} }",
            "pub(crate) use f::f;",
            "",
        ] {
            assert_eq!(kind(&format!("/// A.\n{head}")), CommentKind::Doc, "{head}");
        }
    }

    #[test]
    fn functions_of_nested_modules_are_recognised() {
        let source = "//! A.\nmod m {\n    //! B.\n    mod n {\n        /// C.\n        fn f() {\n            \
                      // D.\n            /// E.\n            struct S;\n        }\n    }\n}\n/// F.\nfn g() {}";
        let expected = [
            (CommentKind::Doc, "A."),
            (CommentKind::Doc, "B."),
            (CommentKind::FunctionDoc, "C."),
            (CommentKind::Plain, "D."),
            (CommentKind::Doc, "E."),
            (CommentKind::FunctionDoc, "F."),
        ];
        assert_eq!(kinds(source), expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn lines_around_an_attribute_are_one_doc() {
        let source = "/// A.\n#[cfg(unix)]\n/// B.\n\n/** C. */\nfn f() {}";
        assert_eq!(kinds(source), [(CommentKind::FunctionDoc, "A.|B.|C.".to_owned())]);
    }

    #[test]
    fn adjacent_plain_lines_are_one_comment() {
        let source = "// A\n// b.\n\n// C.\nlet a = 1;\n//! D\n//! e.";
        let found: Vec<String> = kinds(source).into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, ["A|b.", "C.", "D|e."]);
    }

    #[test]
    fn attribute_of_the_file_is_no_item() {
        let source = "#![warn(a)]\n/// A.\n#[a = \"]\"]\nfn f() {}";
        assert_eq!(kind(source), CommentKind::FunctionDoc);
    }
}
