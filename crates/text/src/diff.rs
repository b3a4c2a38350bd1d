//! Unified diffs of two texts.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

/// Number of unchanged lines that are shown before and after a change.
const CONTEXT: usize = 3;

/// Appends the hunks of a unified diff from `old` to `new` to `out`.
///
/// `old_line` and `new_line` return the shown form of a line, counted from 0, so that a credential
/// can be replaced. Only the texts are compared.
///
/// ```
/// use image_swap_text::diff::push_hunks;
///
/// let mut out = String::new();
/// push_hunks(&mut out, "a = 1\n", "a = 2\n", |_| "a = 1", |_| "a = 2");
/// assert_eq!(out, "@@ -1,1 +1,1 @@\n-a = 1\n+a = 2\n");
/// ```
pub fn push_hunks<'t>(
    out: &mut String,
    old: &str,
    new: &str,
    old_line: impl Fn(usize) -> &'t str,
    new_line: impl Fn(usize) -> &'t str,
) {
    let diff = TextDiff::from_lines(old, new);
    for group in diff.grouped_ops(CONTEXT) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let range = |start: usize, end: usize| match end - start {
            0 => format!("{start},0"),
            n => format!("{},{n}", start + 1),
        };
        let _ = writeln!(
            out,
            "@@ -{} +{} @@",
            range(first.old_range().start, last.old_range().end),
            range(first.new_range().start, last.new_range().end),
        );
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, line) = match (change.tag(), change.old_index(), change.new_index()) {
                (ChangeTag::Equal, Some(line), _) => (' ', old_line(line)),
                (ChangeTag::Delete, Some(line), _) => ('-', old_line(line)),
                (_, _, Some(line)) => ('+', new_line(line)),
                _ => continue,
            };
            let _ = writeln!(out, "{sign}{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::push_hunks;

    #[test]
    fn hunks_show_replaced_lines() {
        let (old, new) = ("1\n2\n3\n4\nsecret\n", "0\n1\n2\n3\n4\nother\n");
        let old_shown = ["1", "2", "3", "4", "<redacted>"];
        let new_shown = ["0", "1", "2", "3", "4", "<also>"];
        let mut out = "before\n".to_owned();
        push_hunks(&mut out, old, new, |line| old_shown[line], |line| new_shown[line]);
        let expected = "before\n@@ -1,5 +1,6 @@\n+0\n 1\n 2\n 3\n 4\n-<redacted>\n+<also>\n";
        assert_eq!(out, expected);
        let mut out = String::new();
        push_hunks(&mut out, "", "a\n", |_| "", |_| "a");
        assert_eq!(out, "@@ -0,0 +1,1 @@\n+a\n");
    }
}
