//! The guarantees of DESIGN.md, each held by the tests that a tag above them names.
//!
//! `docs/guarantees.md` is generated from the tags. A guarantee without a test fails the
//! check, so DESIGN.md contains no promise that is not tested.

mod design;
mod tags;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use self::{
    design::{Guarantee, guarantees},
    tags::{FORM, SourceTags, TaggedTest},
};
use crate::{
    host::Host,
    steps::{Outcome, Steps},
    test::scan::sources,
};

/// The document with the guarantees, below the checkout.
const DESIGN: &str = "DESIGN.md";
/// The generated list of tests, below the checkout.
const LIST: &str = "docs/guarantees.md";
/// Folders whose tests may have tags.
const FOLDERS: [&str; 3] = ["crates", "tests", "xtask"];

const HEAD: &str = "\
# Guarantees and their tests

`cargo xtask guarantees --update` generates this list from [DESIGN.md](../DESIGN.md#guarantees) and
the tags `// guarantee: N` above tests. Each of these tests fails if its guarantee is broken.
";

/// Check that every guarantee of DESIGN.md is held by a test
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write docs/guarantees.md
    #[arg(long)]
    update: bool,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> ExitCode {
        let Self { update } = self;
        let mut steps = Steps::new(host);
        steps.step("guarantees", if update { write } else { check });
        steps.finish()
    }
}

/// Checks the tags of all tests, and that the list of tests is up to date.
///
/// # Errors
/// A guarantee has no test, a tag is wrong, the list is outdated, or a file cannot be read.
pub(crate) fn check(host: &Host) -> Result<Outcome> {
    let held = HeldGuarantees::read(&host.root)?;
    let text = fs::read_to_string(host.root.join(LIST)).unwrap_or_default();
    if text != held.to_markdown() {
        bail!("{LIST} is outdated: `cargo xtask guarantees --update` writes it");
    }
    Ok(held.passed())
}

fn write(host: &Host) -> Result<Outcome> {
    let held = HeldGuarantees::read(&host.root)?;
    fs::write(host.root.join(LIST), held.to_markdown()).context(LIST)?;
    Ok(held.passed())
}

/// The guarantees, each with the tests that hold it.
#[derive(Debug)]
struct HeldGuarantees {
    guarantees: Vec<Guarantee>,
    /// For each number the names of tests by file. Files are below the checkout.
    tests: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

impl HeldGuarantees {
    /// Reads DESIGN.md and all tests below `root`.
    ///
    /// # Errors
    /// A guarantee has no test, or a tag is wrong. The error lists all of them.
    fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(DESIGN)).context(DESIGN)?;
        let guarantees = guarantees(&text).context(DESIGN)?;
        let mut held = Self { guarantees, tests: BTreeMap::new() };
        let mut mistakes = Vec::new();
        for folder in FOLDERS {
            for file in sources(&root.join(folder))? {
                let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
                let text = fs::read_to_string(&file).with_context(|| shown.clone())?;
                let SourceTags { tests, mistakes: wrong } = SourceTags::parse(&text);
                let wrong = wrong.into_iter();
                mistakes.extend(wrong.map(|(line, message)| format!("{shown}:{line}: {message}")));
                for test in tests {
                    mistakes.extend(held.add(&shown, test));
                }
            }
        }
        for Guarantee { id, title, .. } in held.without_tests() {
            mistakes.push(format!(
                "expected a test with the tag `{FORM}` for {id}, {title}; found none"
            ));
        }
        if !mistakes.is_empty() {
            bail!("{}", mistakes.join("\n"));
        }
        Ok(held)
    }

    /// Adds a test of `file`, and returns a message for each number that is no guarantee.
    fn add(&mut self, file: &str, test: TaggedTest) -> Vec<String> {
        let TaggedTest { line, ids, function } = test;
        let mut mistakes = Vec::new();
        for id in ids {
            match self.guarantees.iter().find(|guarantee| guarantee.id == id) {
                Some(Guarantee { has_parts: false, .. }) => {
                    let files = self.tests.entry(id).or_default();
                    files.entry(file.to_owned()).or_default().insert(function.clone());
                }
                Some(_) => {
                    mistakes.push(format!("{file}:{line}: expected a part of {id}, such as {id}a"));
                }
                None => mistakes.push(format!("{file}:{line}: {DESIGN} has no guarantee {id}")),
            }
        }
        mistakes
    }

    fn without_tests(&self) -> impl Iterator<Item = &Guarantee> {
        let has_tests = |guarantee: &Guarantee| self.tests.contains_key(&guarantee.id);
        self.guarantees
            .iter()
            .filter(move |guarantee| !guarantee.has_parts && !has_tests(guarantee))
    }

    /// Returns the text of the list.
    fn to_markdown(&self) -> String {
        let mut text = HEAD.to_owned();
        for Guarantee { id, title, .. } in &self.guarantees {
            let level = if id.ends_with(|c: char| c.is_ascii_lowercase()) { "###" } else { "##" };
            let _ = writeln!(text, "\n{level} {id}. {title}");
            let files = self.tests.get(id).into_iter().flatten();
            for (index, (file, tests)) in files.enumerate() {
                let tests: Vec<String> = tests.iter().map(|test| format!("  `{test}`")).collect();
                let space = if index == 0 { "\n" } else { "" };
                let _ = writeln!(text, "{space}- [{file}](../{file}):\n{}", tests.join(",\n"));
            }
        }
        text
    }

    fn passed(&self) -> Outcome {
        let files = self.tests.values().flatten();
        let tests: BTreeSet<_> =
            files.flat_map(|(file, tests)| tests.iter().map(move |test| (file, test))).collect();
        let guarantees = self.guarantees.iter().filter(|guarantee| !guarantee.has_parts).count();
        Outcome::Passed(format!("{guarantees} guarantees and parts, {} tests", tests.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{HEAD, HeldGuarantees, LIST, check, write};
    use crate::{host::Host, steps::Outcome};

    const DESIGN: &str = "## Guarantees\n1. **One.** Text.\n2. **Two.**\n   - 2a. **Half.**\n";

    /// Writes a checkout with these sources.
    fn checkout(root: &Path, files: &[(&str, &str)]) {
        for (file, text) in
            [("DESIGN.md", DESIGN), ("docs/README.md", ""), ("tests/a.rs", ""), ("xtask/a.rs", "")]
                .iter()
                .chain(files)
        {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn test(tag: &str, name: &str) -> String {
        format!("// guarantee: {tag}\n#[test]\nfn {name}() {{}}\n")
    }

    fn error(source: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        checkout(root.path(), &[("crates/a/src/lib.rs", source)]);
        HeldGuarantees::read(root.path()).unwrap_err().to_string()
    }

    #[test]
    fn list_has_the_tests_of_each_guarantee() {
        let root = tempfile::tempdir().unwrap();
        let both = [test("1", "b"), test("1, 2a", "a")].concat();
        let other = test("1", "c");
        checkout(root.path(), &[("crates/a/src/lib.rs", &both), ("tests/b.rs", &other)]);
        let held = HeldGuarantees::read(root.path()).unwrap();
        let expected = "
## 1. One

- [crates/a/src/lib.rs](../crates/a/src/lib.rs):
  `a`,
  `b`
- [tests/b.rs](../tests/b.rs):
  `c`

## 2. Two

### 2a. Half

- [crates/a/src/lib.rs](../crates/a/src/lib.rs):
  `a`
";
        assert_eq!(held.to_markdown(), [HEAD, expected].concat());
    }

    #[test]
    fn guarantee_without_a_test_is_refused() {
        let error = error(&test("1", "a"));
        assert!(error.contains("2a, Half") && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn unknown_guarantee_is_refused_with_its_place() {
        let error = error(&[test("1, 2a", "a"), test("3, 2", "b")].concat());
        let expected = "crates/a/src/lib.rs:4: DESIGN.md has no guarantee 3\n\
                        crates/a/src/lib.rs:4: expected a part of 2, such as 2a";
        assert_eq!(error, expected);
    }

    #[test]
    fn misplaced_tag_is_refused_with_its_place() {
        let error = error(&(test("1, 2a", "a") + "// guarantee: 1\nfn b() {}\n"));
        assert_eq!(error, "crates/a/src/lib.rs:4: expected a test below the tag, found none");
    }

    #[test]
    fn outdated_list_is_refused_until_written() {
        let root = tempfile::tempdir().unwrap();
        checkout(root.path(), &[("crates/a/src/lib.rs", &test("1, 2a", "a"))]);
        let root = root.path().to_owned();
        let host = Host { root: root.clone(), cache: "/".into(), ci: false, colour: false };
        assert!(check(&host).unwrap_err().to_string().contains("--update"));
        let passed = Outcome::Passed("2 guarantees and parts, 1 tests".to_owned());
        assert_eq!(write(&host).unwrap(), passed);
        assert_eq!(check(&host).unwrap(), passed);
        fs::write(root.join(LIST), HEAD).unwrap();
        check(&host).unwrap_err();
    }
}
