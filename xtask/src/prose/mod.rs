//! Language: counts comments and documents that break the rules of CONTRIBUTING.md.
//!
//! Code, literals, quotations, targets of links and host names do not count. Each crate
//! and folder has a budget in `xtask/prose.toml`, which its figures must equal: a figure
//! above it is a loss, one below it a gain to record.

mod budget;
mod comment;
mod finding;
mod lexer;
mod markdown;
mod section;
mod table;
mod verbs;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};

use self::{
    budget::{Budget, Difference},
    finding::{Finding, Kind},
    section::Section,
};
use crate::{
    host::{Host, print_line},
    steps::{Outcome, Steps},
};

/// The budget, below the checkout.
const BUDGET: &str = "xtask/prose.toml";

/// Count comments and documents that break the rules of language
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the present figures as the budget
    #[arg(long, conflicts_with = "list")]
    update: bool,
    /// Print each finding of this kind with file and line
    #[arg(long, value_name = "KIND")]
    list: Option<Kind>,
    /// Print only findings in this file or folder of the checkout
    #[arg(requires = "list")]
    path: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self, host: &Host) -> Result<ExitCode> {
        let Self { update, list, path } = self;
        let sections = section::all(&host.root)?;
        if let Some(kind) = list {
            let path = path.unwrap_or_default();
            let path = path.strip_prefix(&host.root).unwrap_or(&path);
            for finding in findings(&sections, kind, path) {
                print_line(&finding.to_string());
            }
            return Ok(ExitCode::SUCCESS);
        }
        print_line(&table::table(&sections));
        if update {
            write(host, &sections)?;
        }
        let mut steps = Steps::new(host);
        steps.step("prose", |host| compare(host, &sections));
        Ok(steps.finish())
    }
}

/// Compares the findings in all crates and documents with the budget.
///
/// Prints every figure that differs.
///
/// # Errors
/// A figure differs, or a file cannot be read.
pub(crate) fn check(host: &Host) -> Result<Outcome> {
    compare(host, &section::all(&host.root)?)
}

fn compare(host: &Host, sections: &[Section]) -> Result<Outcome> {
    let differences = differences(host, sections)?;
    for difference in &differences {
        print_line(&difference.to_string());
    }
    match differences.len() {
        0 => Ok(Outcome::Passed(table::summary(sections))),
        count => bail!("expected the figures of {BUDGET}, found {count} others"),
    }
}

/// Writes the budget that `sections` meet, and prints the figures that are above the old one.
fn write(host: &Host, sections: &[Section]) -> Result<()> {
    let file = host.root.join(BUDGET);
    if file.exists() {
        let differences = differences(host, sections)?;
        for raised in differences.iter().filter(|difference| difference.is_above()) {
            print_line(&format!("raised: {raised}"));
        }
    }
    fs::write(file, Budget::new(sections).to_string()).context(BUDGET)
}

fn differences(host: &Host, sections: &[Section]) -> Result<Vec<Difference>> {
    let text = fs::read_to_string(host.root.join(BUDGET)).context(BUDGET)?;
    let budget = Budget::parse(&text).context(BUDGET)?;
    Ok(budget.differences(&Budget::new(sections)))
}

/// Returns the findings of one kind in a file, a folder or the section of that name.
fn findings<'s>(
    sections: &'s [Section],
    kind: Kind,
    path: &'s Path,
) -> impl Iterator<Item = &'s Finding> {
    sections.iter().flat_map(move |section| {
        let whole = Path::new(&section.name) == path;
        section.tally.findings.iter().filter(move |finding| {
            finding.kind == kind && (whole || Path::new(&finding.file).starts_with(path))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Kind, Section, finding::Tally, findings};

    fn lines(path: &str) -> Vec<String> {
        let sections = [("*.md", "README.md"), ("docs", "docs/a.md"), ("docs2", "docs2/a.md")];
        let sections = sections.map(|(name, file)| {
            let mut tally = Tally::default();
            tally.add_markdown(file, "We say.");
            Section { name: name.to_owned(), tally }
        });
        findings(&sections, Kind::Banned, Path::new(path)).map(ToString::to_string).collect()
    }

    #[test]
    fn findings_are_limited_to_a_path() {
        assert_eq!(lines("").len(), 3);
        assert_eq!(lines("docs"), ["docs/a.md:1: We: We say."]);
        assert_eq!(lines("docs/a.md"), lines("docs"));
        assert_eq!(lines("*.md"), ["README.md:1: We: We say."]);
        assert!(lines("crates").is_empty());
    }
}
