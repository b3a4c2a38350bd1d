//! The budget: the number of findings of each kind that a section has, no more and no less.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, bail};

use super::{finding::Kind, section::Section};

const HEAD: &str = "\
# Findings of `cargo xtask prose` in each crate and folder. The step fails if there are more
# or fewer: `cargo xtask prose --update` records a gain.
";

/// The number of findings for each section and kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Budget(BTreeMap<String, BTreeMap<&'static str, usize>>);

/// A figure that differs from its budget.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    section: String,
    kind: &'static str,
    budget: usize,
    found: usize,
}

impl Budget {
    /// Returns the budget that `sections` meet.
    pub(super) fn new(sections: &[Section]) -> Self {
        let counts = |section: &Section| {
            Kind::ALL.into_iter().map(|kind| (kind.name(), section.tally.count(kind))).collect()
        };
        Self(sections.iter().map(|section| (section.name.clone(), counts(section))).collect())
    }

    /// Parses a file of lines `["section"]` and `kind = number`.
    ///
    /// # Errors
    /// A line is neither, or its kind is unknown.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut budget = Self::default();
        let mut section = None;
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let shown = || format!("line {}: expected [\"section\"] or kind = number", index + 1);
            if let Some(name) = line.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]")) {
                section = Some(budget.0.entry(name.to_owned()).or_default());
                continue;
            }
            let (key, number) = line.split_once(" = ").with_context(shown)?;
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == key);
            let (kind, number) = (kind.with_context(shown)?, number.parse().with_context(shown)?);
            let Some(section) = &mut section else { bail!(shown()) };
            section.insert(kind.name(), number);
        }
        Ok(budget)
    }

    /// Returns every figure of `found` that is not as in this budget. A figure that is
    /// absent from either is 0.
    pub(super) fn differences(&self, found: &Self) -> Vec<Difference> {
        let mut sections: Vec<&String> = self.0.keys().chain(found.0.keys()).collect();
        sections.sort();
        sections.dedup();
        let mut differences = Vec::new();
        for section in sections {
            for kind in Kind::ALL.map(Kind::name) {
                let (budget, found) = (self.figure(section, kind), found.figure(section, kind));
                if budget != found {
                    differences.push(Difference { section: section.clone(), kind, budget, found });
                }
            }
        }
        differences
    }

    fn figure(&self, section: &str, kind: &str) -> usize {
        self.0.get(section).and_then(|kinds| kinds.get(kind)).copied().unwrap_or_default()
    }
}

impl Difference {
    pub(super) fn is_above(&self) -> bool {
        self.found > self.budget
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        for (section, kinds) in &self.0 {
            writeln!(f, "\n[\"{section}\"]")?;
            for (kind, number) in kinds {
                writeln!(f, "{kind} = {number}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, kind, budget, found } = self;
        if self.is_above() {
            write!(f, "{section}: {found} {kind}, above the budget of {budget}: rewrite; ")?;
            write!(f, "`cargo xtask prose --list {kind} {section}` prints them")
        } else {
            write!(f, "{section}: {found} {kind}, below the budget of {budget}: ")?;
            write!(f, "`cargo xtask prose --update` records the gain")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;

    fn budget(text: &str) -> Budget {
        Budget::parse(text).unwrap()
    }

    #[test]
    fn printed_budget_is_parsed_again() {
        let text = "[\"*.md\"]\nbanned = 1\n\n[\"crates/a\"]\nno-verb = 20\nspeech = 0";
        let parsed = budget(text);
        assert!(parsed.to_string().ends_with(&format!("\n{text}\n")), "{parsed}");
        assert_eq!(budget(&parsed.to_string()), parsed);
    }

    #[test]
    fn difference_in_either_direction_is_found() {
        let before = budget("[\"a\"]\nbanned = 2\nspeech = 3\nno-verb = 1\n[\"b\"]\nspeech = 1");
        let now = budget("[\"a\"]\nbanned = 3\nspeech = 2\nno-verb = 1\n[\"c\"]\nquestion = 1");
        let differences = before.differences(&now);
        let shown: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let beginnings = [
            "a: 3 banned, above the budget of 2: ",
            "a: 2 speech, below the budget of 3: ",
            "b: 0 speech, below the budget of 1: ",
            "c: 1 question, above the budget of 0: ",
        ];
        assert_eq!(shown.len(), beginnings.len(), "{shown:?}");
        for (line, beginning) in shown.iter().zip(beginnings) {
            assert!(line.starts_with(beginning), "{line}");
        }
        assert!(shown[0].contains("--list banned a`") && shown[1].contains("--update`"));
        assert!(before.differences(&before).is_empty());
    }

    #[test]
    fn invalid_line_is_rejected_with_its_number() {
        for text in ["banned = 1", "[\"a\"]\nother = 1", "[\"a\"]\nbanned = x", "[a]", "banned"] {
            let error = format!("{:#}", Budget::parse(text).unwrap_err());
            assert!(error.contains(&format!("line {}: ", text.lines().count())), "{error}");
        }
    }
}
