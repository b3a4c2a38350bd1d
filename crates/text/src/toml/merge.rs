//! Three-way merges by lines.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

/// The side whose lines come first if both add lines at one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstChange {
    One,
    Other,
}

/// Returns `base` with the changes of `one` and of `other`; `None` if they conflict.
pub(super) fn merged(base: &str, one: &str, other: &str, first: FirstChange) -> Option<String> {
    let texts = [base, one, other].map(SplitLines::new);
    let [base, one, other] = &texts;
    let (ones, others) = (changes(base, one), changes(base, other));
    let (mut ones, mut others) = (ones.iter().peekable(), others.iter().peekable());
    let mut lines: Vec<&str> = Vec::new();
    let mut done = 0;
    loop {
        let change = match (ones.peek(), others.peek()) {
            (None, None) => break,
            (Some(_), None) => ones.next(),
            (None, Some(_)) => others.next(),
            (Some(a), Some(b)) if a == b => {
                others.next();
                ones.next()
            }
            (Some(a), Some(b)) if a.overlaps(b) => return None,
            (Some(a), Some(b)) => {
                let (a, b) = ((a.at.start, a.at.end), (b.at.start, b.at.end));
                if a < b || a == b && first == FirstChange::One {
                    ones.next()
                } else {
                    others.next()
                }
            }
        };
        let change = change?;
        // A line that is inserted into removed lines is kept at their position.
        lines.extend(&base.lines[done..change.at.start.max(done)]);
        lines.extend(change.lines);
        done = change.at.end.max(done);
    }
    lines.extend(&base.lines[done..]);
    let ends = if other.ends == base.ends { one.ends } else { other.ends };
    let text = lines.join("\n");
    Some(match ends {
        true if lines.is_empty() => text,
        true => text + "\n",
        false => text.strip_suffix('\r').map(str::to_owned).unwrap_or(text),
    })
}

/// A text in lines.
struct SplitLines<'t> {
    lines: Vec<&'t str>,
    /// True if the last line has an end.
    ends: bool,
}

impl<'t> SplitLines<'t> {
    fn new(text: &'t str) -> Self {
        let ends = text.is_empty() || text.ends_with('\n');
        let text = text.strip_suffix('\n').unwrap_or(text);
        let lines = if text.is_empty() { Vec::new() } else { text.split('\n').collect() };
        Self { lines, ends }
    }
}

/// A change: lines that replace the lines `at` of the base.
#[derive(PartialEq, Eq)]
struct LineChange<'t> {
    at: Range<usize>,
    lines: &'t [&'t str],
}

impl LineChange<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        let adds = self.at.is_empty() || other.at.is_empty();
        !adds && self.at.start < other.at.end && other.at.start < self.at.end
    }
}

fn changes<'t>(base: &SplitLines<'_>, changed: &'t SplitLines<'_>) -> Vec<LineChange<'t>> {
    let ops = capture_diff_slices(Algorithm::Myers, &base.lines, &changed.lines);
    let ops = ops.into_iter().filter(|op| op.tag() != DiffTag::Equal);
    ops.map(|op| LineChange { at: op.old_range(), lines: &changed.lines[op.new_range()] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(base: &str, one: &str, other: &str) -> Option<String> {
        let [a, b] =
            [FirstChange::One, FirstChange::Other].map(|first| merged(base, one, other, first));
        assert_eq!(a, b);
        a
    }

    #[test]
    fn changes_of_different_lines_are_merged() {
        assert_eq!(both("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n").unwrap(), "A\nb\nC\n");
        assert_eq!(both("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n").unwrap(), "a\nc\nd\n");
        assert_eq!(both("a\nb\n", "a\n", "a\nb\nc").unwrap(), "a\nc");
        assert_eq!(both("a\n", "a", "a\n").unwrap(), "a");
        assert_eq!(both("a\n", "", "a\n").unwrap(), "");
    }

    #[test]
    fn identical_changes_count_once() {
        assert_eq!(both("a\nb\n", "a\n", "a\n").unwrap(), "a\n");
        assert_eq!(both("a\n", "b\n", "b\n").unwrap(), "b\n");
    }

    #[test]
    fn conflicting_lines_are_not_merged() {
        assert_eq!(both("a\nb\nc\n", "a\nB\nc\n", "a\n2\nc\n"), None);
        assert_eq!(both("a\nb\nc\n", "a\nc\n", "a\n2\nc\n"), None);
    }

    #[test]
    fn lines_added_within_removed_lines_stay() {
        assert_eq!(both("a\nb\nc\n", "d\n", "a\nb\n1\nc\n").unwrap(), "d\n1\n");
        assert_eq!(both("a\nb\nc\n", "a\n1\nb\nc\n", "c\n").unwrap(), "1\nc\n");
    }

    #[test]
    fn additions_at_one_position_are_ordered() {
        let added = |first| merged("a\nb\n", "a\n1\nb\n", "a\n2\nb\n", first).unwrap();
        assert_eq!(added(FirstChange::One), "a\n1\n2\nb\n");
        assert_eq!(added(FirstChange::Other), "a\n2\n1\nb\n");
    }
}
