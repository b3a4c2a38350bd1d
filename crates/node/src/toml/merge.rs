//! Two changes of one text made in one, line by line.

use std::ops::Range;

use similar::{Algorithm, DiffTag, capture_diff_slices};

/// Whose lines come first where both add some at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    One,
    Other,
}

/// `base` changed as in `one` and as in `other`, or `None` where both change the
/// same lines, each in its own way.
pub(super) fn merged(base: &str, one: &str, other: &str, first: First) -> Option<String> {
    let texts = [base, one, other].map(Text::new);
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
                if a < b || a == b && first == First::One { ones.next() } else { others.next() }
            }
        };
        let change = change?;
        // What is added within lines that go stands where they stood.
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

/// Lines, and whether the last one has an end.
struct Text<'t> {
    lines: Vec<&'t str>,
    ends: bool,
}

impl<'t> Text<'t> {
    fn new(text: &'t str) -> Self {
        let ends = text.is_empty() || text.ends_with('\n');
        let text = text.strip_suffix('\n').unwrap_or(text);
        let lines = if text.is_empty() { Vec::new() } else { text.split('\n').collect() };
        Self { lines, ends }
    }
}

/// Lines in place of others.
#[derive(PartialEq, Eq)]
struct Change<'t> {
    at: Range<usize>,
    lines: &'t [&'t str],
}

impl Change<'_> {
    fn overlaps(&self, other: &Self) -> bool {
        let adds = self.at.is_empty() || other.at.is_empty();
        !adds && self.at.start < other.at.end && other.at.start < self.at.end
    }
}

fn changes<'t>(base: &Text<'_>, changed: &'t Text<'_>) -> Vec<Change<'t>> {
    let ops = capture_diff_slices(Algorithm::Myers, &base.lines, &changed.lines);
    let ops = ops.into_iter().filter(|op| op.tag() != DiffTag::Equal);
    ops.map(|op| Change { at: op.old_range(), lines: &changed.lines[op.new_range()] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(base: &str, one: &str, other: &str) -> Option<String> {
        let [a, b] = [First::One, First::Other].map(|first| merged(base, one, other, first));
        assert_eq!(a, b);
        a
    }

    #[test]
    fn changes_of_different_lines_come_together() {
        assert_eq!(both("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n").unwrap(), "A\nb\nC\n");
        assert_eq!(both("a\nb\nc\n", "a\nc\n", "a\nb\nc\nd\n").unwrap(), "a\nc\nd\n");
        assert_eq!(both("a\nb\n", "a\n", "a\nb\nc").unwrap(), "a\nc");
        assert_eq!(both("a\n", "a", "a\n").unwrap(), "a");
        assert_eq!(both("a\n", "", "a\n").unwrap(), "");
    }

    #[test]
    fn a_change_that_both_made_counts_once() {
        assert_eq!(both("a\nb\n", "a\n", "a\n").unwrap(), "a\n");
        assert_eq!(both("a\n", "b\n", "b\n").unwrap(), "b\n");
    }

    #[test]
    fn a_line_that_both_changed_is_nobodys() {
        assert_eq!(both("a\nb\nc\n", "a\nB\nc\n", "a\n2\nc\n"), None);
        assert_eq!(both("a\nb\nc\n", "a\nc\n", "a\n2\nc\n"), None);
    }

    #[test]
    fn what_is_added_within_lines_that_go_stays() {
        assert_eq!(both("a\nb\nc\n", "d\n", "a\nb\n1\nc\n").unwrap(), "d\n1\n");
        assert_eq!(both("a\nb\nc\n", "a\n1\nb\nc\n", "c\n").unwrap(), "1\nc\n");
    }

    #[test]
    fn where_both_add_lines_one_comes_first() {
        let added = |first| merged("a\nb\n", "a\n1\nb\n", "a\n2\nb\n", first).unwrap();
        assert_eq!(added(First::One), "a\n1\n2\nb\n");
        assert_eq!(added(First::Other), "a\n2\n1\nb\n");
    }
}
