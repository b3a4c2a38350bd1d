//! Source text, as far as the search for ignored tests reads it.
//!
//! The text is read line by line. That is enough for what rustfmt has formatted, which
//! an earlier step checks.

use image_swap_testbed::Group;

/// The part of a source file that the search needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// Declarations of modules in files of their own.
    pub(super) modules: Vec<Module>,
    pub(super) tests: Vec<Ignored>,
    pub(super) mistakes: Vec<Mistake>,
}

/// A declaration `mod name;`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// The modules of the same file that surround the declaration.
    pub(super) within: Vec<String>,
    pub(super) name: String,
    /// The value of the attribute `path`.
    pub(super) path: Option<String>,
}

/// An ignored test.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ignored {
    /// The modules of the file that surround the function.
    pub(super) within: Vec<String>,
    pub(super) function: String,
    pub(super) group: Group,
}

/// An attribute that does not follow the rules, with its line, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Source {
    /// Parses the text of one file.
    pub(super) fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.read(index + 1, line);
        }
        reader.end();
        reader.found
    }
}

#[derive(Default)]
struct Reader {
    found: Source,
    /// The open modules, each with the indentation of its first and last line.
    open: Vec<(usize, String)>,
    /// An attribute `path` whose module has not come yet.
    path: Option<String>,
    /// An attribute `ignore` whose function has not come yet, with its line.
    pending: Option<(usize, Group)>,
}

impl Reader {
    fn read(&mut self, number: usize, line: &str) {
        let code = line.trim_start();
        let indentation = line.len() - code.len();
        if code.starts_with("#[ignore") {
            self.attribute(number, code);
        } else if code.starts_with("#[cfg_attr(") && code.contains("ignore") {
            self.mistake(number, "expected the attribute `ignore` alone, found it in a `cfg_attr`");
        } else if let Some(value) = code.strip_prefix("#[path = \"") {
            self.path = value.strip_suffix("\"]").map(str::to_owned);
        } else if let Some(name) = function(code) {
            if let Some((_, group)) = self.pending.take() {
                let (within, function) = (self.within(), name.to_owned());
                self.found.tests.push(Ignored { within, function, group });
            }
        } else if let Some((name, rest)) = module(code) {
            self.end();
            match rest {
                ";" => {
                    let (within, path) = (self.within(), self.path.take());
                    self.found.modules.push(Module { within, name: name.to_owned(), path });
                }
                "{" => self.open.push((indentation, name.to_owned())),
                _ => {}
            }
        } else if code == "}" && self.open.last().is_some_and(|(open, _)| *open == indentation) {
            self.end();
            self.open.pop();
        }
    }

    fn attribute(&mut self, number: usize, code: &str) {
        self.end();
        self.pending = group(code).map(|group| (number, group));
        if self.pending.is_none() {
            let names = Group::ALL.map(Group::name).join(", ");
            let form = "#[ignore = \"needs GROUP: cargo xtask test\"]";
            let message = format!("expected `{form}` with a GROUP of: {names}; found `{code}`");
            self.mistake(number, &message);
        }
    }

    /// Reports an attribute that no function followed.
    fn end(&mut self) {
        if let Some((line, _)) = self.pending.take() {
            self.mistake(line, "expected a function below the attribute `ignore`, found none");
        }
    }

    fn mistake(&mut self, line: usize, message: &str) {
        self.found.mistakes.push(Mistake { line, message: message.to_owned() });
    }

    fn within(&self) -> Vec<String> {
        self.open.iter().map(|(_, name)| name.clone()).collect()
    }
}

/// Returns the group in `#[ignore = "needs GROUP: cargo xtask test"]`.
fn group(attribute: &str) -> Option<Group> {
    let name = attribute.strip_prefix("#[ignore = \"needs ")?;
    let name = name.strip_suffix(": cargo xtask test\"]")?;
    Group::ALL.into_iter().find(|group| group.name() == name)
}

/// Returns the name in `fn name`, whatever is before `fn`.
pub(crate) fn function(code: &str) -> Option<&str> {
    let mut rest = without_visibility(code);
    for word in ["const ", "async ", "unsafe "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    identifier(rest.strip_prefix("fn ")?).map(|(name, _)| name)
}

/// Returns name and end of `mod name;` or `mod name {`.
fn module(code: &str) -> Option<(&str, &str)> {
    let (name, rest) = identifier(without_visibility(code).strip_prefix("mod ")?)?;
    Some((name, rest.trim()))
}

fn without_visibility(code: &str) -> &str {
    match code.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(code, |(_, rest)| rest),
        Some(rest) => rest.strip_prefix(' ').unwrap_or(code),
        None => code,
    }
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use image_swap_testbed::Group;

    use super::{Ignored, Mistake, Module, Source};

    const NODE: &str = "#[ignore = \"needs a node: cargo xtask test\"]";

    fn parse(lines: &[&str]) -> Source {
        Source::parse(&lines.join("\n"))
    }

    fn mistakes(lines: &[&str]) -> Vec<(usize, String)> {
        let mistakes = parse(lines).mistakes.into_iter();
        mistakes.map(|Mistake { line, message }| (line, message)).collect()
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn ignored_test_is_found_with_its_group() {
        let lines =
            [NODE, "#[tokio::test(flavor = \"current_thread\")]", "// Why.", "async fn a_b() {}"];
        let expected =
            Ignored { within: Vec::new(), function: "a_b".to_owned(), group: Group::Node };
        assert_eq!(parse(&lines).tests, [expected]);
        let reversed = parse(&["#[test]", NODE, "pub(crate) fn a_b() -> Outcome {"]);
        assert_eq!(reversed.tests[0].function, "a_b");
    }

    #[test]
    fn every_group_is_recognised() {
        for group in Group::ALL {
            let attribute = format!("#[ignore = \"needs {}: cargo xtask test\"]", group.name());
            let source = parse(&[&attribute, "fn a() {}"]);
            assert_eq!(source.tests[0].group, group);
        }
    }

    #[test]
    fn test_that_is_not_ignored_is_skipped() {
        let source = parse(&[NODE, "#[test]", "fn a() {}", "#[test]", "fn b() {}"]);
        assert_eq!(source.tests.len(), 1);
    }

    #[test]
    fn test_carries_the_modules_around_it() {
        let inner = format!("        {NODE}");
        let lines = [
            "mod outer {",
            "    mod inner {",
            &inner,
            "        fn a() {",
            "        }",
            "    }",
            "    mod file;",
            "}",
            NODE,
            "fn b() {}",
        ];
        let source = parse(&lines);
        let within: Vec<_> = source.tests.iter().map(|test| test.within.clone()).collect();
        assert_eq!(within, [words("outer inner"), words("")]);
        assert_eq!(source.modules[0].within, words("outer"));
    }

    #[test]
    fn declared_modules_are_found_with_their_path() {
        let lines = ["pub mod a;", "#[cfg(test)]", "#[path = \"tests/b.rs\"]", "mod b;"];
        let modules = parse(&lines).modules;
        let module = |name: &str, path: Option<&str>| Module {
            within: Vec::new(),
            name: name.to_owned(),
            path: path.map(str::to_owned),
        };
        assert_eq!(modules, [module("a", None), module("b", Some("tests/b.rs"))]);
    }

    #[test]
    fn unknown_group_is_a_mistake() {
        let found = mistakes(&["", "#[ignore = \"needs luck: cargo xtask test\"]", "fn a() {}"]);
        assert_eq!(found[0].0, 2);
        assert!(found[0].1.contains("container runtimes") && found[0].1.contains("needs luck"));
    }

    #[test]
    fn ignore_without_a_group_is_a_mistake() {
        for line in ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg_attr(miri, ignore)]"] {
            assert_eq!(mistakes(&[line, "fn a() {}"]).len(), 1, "{line}");
        }
    }

    #[test]
    fn ignore_without_a_function_is_a_mistake() {
        assert_eq!(mistakes(&[NODE, NODE, "fn a() {}"])[0].0, 1);
        assert_eq!(mistakes(&["mod a {", NODE, "}"])[0].0, 2);
    }
}
