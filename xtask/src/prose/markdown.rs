//! The prose in Markdown, which doc comments are as well.

/// The character in the place of text that is not prose.
const HIDDEN: char = '\u{fffc}';

/// Returns `text` with all that is not prose replaced: code spans, fenced code, quotations,
/// targets of links, HTML tags. The number of lines is unchanged.
pub(super) fn prose(text: &str) -> String {
    let mut prose = String::new();
    let mut paragraph = String::new();
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let content = line.trim_matches([' ', '\t', '>']);
        let is_prose = if let Some(open) = fence {
            let is_end = content.starts_with(open)
                && content.trim_matches(|c| open.starts_with(c)).is_empty();
            fence = fence.filter(|_| !is_end);
            false
        } else {
            fence = opening_fence(content);
            fence.is_none() && !content.is_empty() && !is_definition(content)
        };
        if is_prose {
            paragraph.push_str(line);
            paragraph.push('\n');
        } else {
            prose += &hide_spans(&std::mem::take(&mut paragraph));
            prose.push('\n');
        }
    }
    prose += &hide_spans(&paragraph);
    prose
}

/// Returns the three or more characters that begin fenced code, if `line` begins it.
fn opening_fence(line: &str) -> Option<&str> {
    ['`', '~'].into_iter().find_map(|mark| {
        let length = line.len() - line.trim_start_matches(mark).len();
        (length >= 3 && !line[length..].contains('`')).then(|| &line[..length])
    })
}

/// Returns true for `[name]: target`, the target of links.
fn is_definition(line: &str) -> bool {
    line.starts_with('[') && line.split_once(']').is_some_and(|(_, rest)| rest.starts_with(": "))
}

fn hide_spans(paragraph: &str) -> String {
    let mut chars: Vec<char> = paragraph.chars().collect();
    hide_code(&mut chars);
    hide_targets(&mut chars);
    hide_tags(&mut chars);
    hide_quotations(&mut chars);
    chars.into_iter().collect()
}

fn hide_code(chars: &mut [char]) {
    let mut at = 0;
    while let Some(begin) = find(chars, at, |c| c == '`') {
        let length = run(chars, begin);
        at = begin + length;
        let mut end = at;
        while let Some(found) = find(chars, end, |c| c == '`') {
            end = found + run(chars, found);
            if end - found == length {
                hide(&mut chars[begin..end]);
                at = end;
                break;
            }
        }
    }
}

/// Hides `(target)` and `[target]` behind the text of a link.
fn hide_targets(chars: &mut [char]) {
    let mut at = 0;
    while let Some(end) = find(chars, at, |c| c == ']') {
        at = end + 1;
        let close = match chars.get(at) {
            Some('(') => ')',
            Some('[') => ']',
            _ => continue,
        };
        if let Some(end) = find(chars, at + 1, |c| c == close) {
            hide(&mut chars[at..=end]);
        }
    }
}

/// Hides HTML tags, comments, and links such as `<https://example.org>`.
fn hide_tags(chars: &mut [char]) {
    let mut at = 0;
    while let Some(begin) = find(chars, at, |c| c == '<') {
        at = begin + 1;
        let is_tag = chars.get(at).is_some_and(|c| c.is_alphabetic() || ['/', '!'].contains(c));
        if is_tag && let Some(end) = find(chars, at, |c| c == '>') {
            hide(&mut chars[begin..=end]);
        }
    }
}

/// Hides text between quotation marks, which is a literal or the words of another document.
fn hide_quotations(chars: &mut [char]) {
    for (open, close) in [('"', '"'), ('\u{201c}', '\u{201d}')] {
        let mut at = 0;
        while let Some(begin) = find(chars, at, |c| c == open) {
            at = begin + 1;
            let is_inner = |index: usize| chars.get(index).is_some_and(|c| !c.is_whitespace());
            let behind_word = begin > 0 && chars[begin - 1].is_alphanumeric();
            if behind_word || !is_inner(at) {
                continue;
            }
            let mut end = find(chars, at, |c| c == close);
            while let Some(found) = end.filter(|found| !is_inner(found - 1)) {
                end = find(chars, found + 1, |c| c == close);
            }
            if let Some(end) = end {
                hide(&mut chars[begin..=end]);
            }
        }
    }
}

fn find(chars: &[char], from: usize, is: impl Fn(char) -> bool) -> Option<usize> {
    let found = chars.get(from..)?.iter().position(|c| is(*c))?;
    Some(from + found)
}

/// Returns how many backticks follow each other from `begin`.
fn run(chars: &[char], begin: usize) -> usize {
    chars[begin..].iter().take_while(|c| **c == '`').count()
}

fn hide(chars: &mut [char]) {
    for c in chars.iter_mut().filter(|c| **c != '\n') {
        *c = HIDDEN;
    }
}

#[cfg(test)]
mod tests {
    use super::{HIDDEN, prose};

    /// Returns the prose of `text`, with `_` for each hidden stretch.
    fn shown(text: &str) -> String {
        let prose = prose(text);
        assert_eq!(prose.lines().count(), text.lines().count(), "{prose}");
        let mut shown = String::new();
        for c in prose.trim_end().chars() {
            match c {
                HIDDEN if shown.ends_with('_') => {}
                HIDDEN => shown.push('_'),
                c => shown.push(c),
            }
        }
        shown
    }

    #[test]
    fn code_spans_are_hidden() {
        assert_eq!(shown("a `b` c"), "a _ c");
        assert_eq!(shown("a ``b ` c`` d `e\nf` g"), "a _ d _\n_ g");
        assert_eq!(shown("a ` b\n\nc `d`"), "a ` b\n\nc _");
    }

    #[test]
    fn fenced_code_is_hidden() {
        assert_eq!(shown("a\n```text\nb `\n\n```\nc"), "a\n\n\n\n\nc");
        assert_eq!(shown("a\n\n  ~~~~\n  b\n  ~~~\n  ~~~~\nc"), "a\n\n\n\n\n\nc");
        assert_eq!(shown("> ```\n> a\n> ```\n> b"), "\n\n\n> b");
        assert_eq!(shown("```a``` b"), "_ b");
    }

    #[test]
    fn targets_of_links_are_hidden() {
        assert_eq!(shown("[a](b.md#c) [d][e] [f]"), "[a]_ [d]_ [f]");
        assert_eq!(shown("a\n[b]: https://c.example/d\n[e]: not only"), "a");
        assert_eq!(shown("a <https://b.example/c> <br/> 1 < 2"), "a _ _ 1 < 2");
    }

    #[test]
    fn quotations_are_hidden() {
        assert_eq!(shown("a \"b c\" d"), "a _ d");
        assert_eq!(shown("5\" and 6\" b"), "5\" and 6\" b");
        assert_eq!(shown("a \u{201c}b\u{201d} c"), "a _ c");
    }
}
