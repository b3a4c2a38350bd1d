//! Replaces one scalar, and no byte around it.

use std::{borrow::Cow, ops::Range};

use image_swap_text::yaml::{Node, Style};

/// Returns the byte range and replacement that change the scalar `node` of `source` to `new`, a
/// reference. The first `prefix` bytes of its value are kept.
///
/// Without its prefix the present value is a reference itself: one line, without spaces.
pub(super) fn replacement<'n>(
    source: &str,
    node: &Node<'_>,
    style: Style,
    (old, prefix): (&str, usize),
    new: &'n str,
) -> (Range<usize>, Cow<'n, str>) {
    let Range { start, end } = node.range.clone();
    let raw = source.get(start..end).unwrap_or_default();
    if prefix > 0 {
        let quotes = usize::from(matches!(style, Style::SingleQuoted | Style::DoubleQuoted));
        let image = &old[prefix..];
        let end_of_value = start + raw.trim_end().len() - quotes;
        let is_as_written = source[start..end_of_value].ends_with(image);
        if is_as_written && (style != Style::Plain || is_plain(new)) {
            return (end_of_value - image.len()..end_of_value, Cow::Borrowed(new));
        }
        // JSON's strings are valid in YAML.
        let value = [&old[..prefix], new].concat();
        return (start..end, Cow::Owned(serde_json::Value::from(value).to_string()));
    }
    match style {
        Style::Plain if is_plain(new) => (start..end, Cow::Borrowed(new)),
        // Only the one line of the block; the line break and the empty lines after it stay.
        Style::Block => (start..start + raw.trim_end().len(), Cow::Borrowed(new)),
        // A reference has no quote, so single quotes need no escapes.
        Style::SingleQuoted => (start + 1..end - 1, Cow::Borrowed(new)),
        Style::DoubleQuoted if raw.len() == old.len() + 2 => {
            (start + 1..end - 1, Cow::Borrowed(new))
        }
        // The value has escapes or several lines, or needs quotes.
        Style::Plain | Style::DoubleQuoted => (start..end, Cow::Owned(format!("\"{new}\""))),
    }
}

/// Returns true if the reference `new` may replace any plain scalar without quotes, and remains
/// a string.
fn is_plain(new: &str) -> bool {
    // Only an address (`[::1]:5000/a`) has other characters, and `[` begins a list.
    is_string(new) && new.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b))
}

/// Returns true if YAML 1.1, which Kubernetes reads, takes a plain scalar for a string, and not
/// for a number or a boolean. The scalar must be a reference.
pub(crate) fn is_string(plain: &str) -> bool {
    const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "y", "n"];
    if WORDS.iter().any(|word| plain.eq_ignore_ascii_case(word)) {
        return false;
    }
    // Text that begins with a letter is not a number; `.5` is not a reference.
    if !plain.starts_with(|first: char| first.is_ascii_digit()) {
        return true;
    }
    let number = plain.replace('_', "");
    let radix = |prefix, radix| {
        number.strip_prefix(prefix).is_some_and(|digits| u64::from_str_radix(digits, radix).is_ok())
    };
    number.parse::<f64>().is_err() && !radix("0x", 16) && !radix("0o", 8) && !radix("0b", 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_booleans_are_not_strings() {
        for text in ["1.5", "12", "1e3", "0x1f", "0o17", "0b11", "1_000", "on", "No", "y", "TRUE"] {
            assert!(!is_string(text), "{text}");
        }
        for text in ["nginx", "3proxy", "1.5/a", "yes/no", "1e3:2", "10.0.0.1:5000/a", "inf", "e3"]
        {
            assert!(is_string(text), "{text}");
        }
    }
}
