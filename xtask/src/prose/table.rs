//! The figures of all sections as a table.

use std::fmt::Write as _;

use super::{
    finding::{Kind, Tally},
    section::Section,
};

/// The columns, each with the goal.
const COLUMNS: [(&str, &str); 10] = [
    ("docs", ""),
    ("question", ""),
    ("in %", "<= 2.0"),
    ("functions", ""),
    ("no-verb", ""),
    ("verb in %", ">= 75.0"),
    ("words", ""),
    ("banned", "0"),
    ("speech", ""),
    ("per 1,000", "< 0.5"),
];

/// The figures of one or more sections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    docs: usize,
    functions: usize,
    words: usize,
    /// The number of findings of each kind, in the order of [`Kind::ALL`].
    counts: [usize; 4],
}

/// Formats a row for each section, and the sum and the goals below.
pub(super) fn table(sections: &[Section]) -> String {
    let width = sections.iter().map(|section| section.name.len()).max().unwrap_or_default();
    let mut table = String::new();
    let mut add = |name: &str, cells: [String; 10]| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>9}")).collect();
        let _ = writeln!(table, "{name:width$}{cells}");
    };
    add("", COLUMNS.map(|(name, _)| name.to_owned()));
    for section in sections {
        add(&section.name, Figures::new(&section.tally).cells());
    }
    add("all", Figures::sum(sections).cells());
    add("goal", COLUMNS.map(|(_, goal)| goal.to_owned()));
    table
}

/// Formats the sum of all sections as one line.
pub(super) fn summary(sections: &[Section]) -> String {
    let [_, _, question, functions, _, verb, _, banned, _, speech] = Figures::sum(sections).cells();
    format!(
        "{question} % of docs begin with a question, {verb} % of {functions} functions with a verb; \
         {banned} banned words; {speech} words of speech in 1,000"
    )
}

impl Figures {
    fn new(tally: &Tally) -> Self {
        let Tally { docs, functions, words, .. } = *tally;
        Self { docs, functions, words, counts: Kind::ALL.map(|kind| tally.count(kind)) }
    }

    fn sum(sections: &[Section]) -> Self {
        let mut sum = Self::default();
        for section in sections {
            let Self { docs, functions, words, counts } = Self::new(&section.tally);
            sum.docs += docs;
            sum.functions += functions;
            sum.words += words;
            for (sum, count) in sum.counts.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        sum
    }

    /// Formats the cells of a row, in the order of [`COLUMNS`].
    fn cells(self) -> [String; 10] {
        let Self { docs, functions, words, counts: [question, no_verb, banned, speech] } = self;
        [
            docs.to_string(),
            question.to_string(),
            share(question, docs, 100),
            functions.to_string(),
            no_verb.to_string(),
            share(functions - no_verb, functions, 100),
            words.to_string(),
            banned.to_string(),
            speech.to_string(),
            share(speech, words, 1_000),
        ]
    }
}

/// Formats `part` of `all`, in terms of `base`, with one digit behind the point.
fn share(part: usize, all: usize, base: usize) -> String {
    if all == 0 {
        return String::new();
    }
    let tenths = (part * base * 10 + all / 2) / all;
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{Section, Tally, share, summary, table};

    fn section(name: &str, source: &str) -> Section {
        let mut tally = Tally::default();
        tally.add_rust("a.rs", source);
        Section { name: name.to_owned(), tally }
    }

    #[test]
    fn table_has_section_rows_and_sum() {
        let sections = [
            section("crates/a", "//! Where we are told.\n/// Returns.\nfn f() {}"),
            section("docs", "/// A.\nfn f() {}"),
        ];
        let rows = "
              docs  question      in % functions   no-verb verb in %     words    banned    speech per 1,000
crates/a         2         1      50.0         1         0     100.0         5         1         1     200.0
docs             1         0       0.0         1         1       0.0         1         0         0       0.0
all              3         1      33.3         2         1      50.0         6         1         1     166.7
goal                            <= 2.0                       >= 75.0                   0               < 0.5
";
        assert_eq!(table(&sections), rows[1..]);
        let line = summary(&sections);
        assert!(
            line.starts_with("33.3 % of docs") && line.ends_with("166.7 words of speech in 1,000")
        );
    }

    #[test]
    fn share_is_rounded_to_tenths() {
        assert_eq!(share(2, 3, 100), "66.7");
        assert_eq!(share(0, 0, 100), "");
    }
}
