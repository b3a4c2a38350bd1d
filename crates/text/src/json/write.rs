//! Writers of JSON strings and numbers.

use super::string::plain_len;

/// Appends `text` to `out` as a JSON string with quotes. Escapes only `"`, `\` and control
/// characters (RFC 8259, section 7).
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text.as_bytes());
    out.push(b'"');
}

/// Appends `text` to `out` as a JSON string. No character of `text` may need an escape.
pub(super) fn push_plain(out: &mut Vec<u8>, text: &str) {
    debug_assert_eq!(plain_len(text.as_bytes()), text.len(), "{text:?}");
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

/// Appends `text` as a JSON string within a JSON text that is itself the value of a JSON string.
/// Every quote and backslash is escaped twice.
pub fn push_nested_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 4);
    out.extend_from_slice(br#"\""#);
    if plain_len(text.as_bytes()) == text.len() {
        out.extend_from_slice(text.as_bytes());
    } else {
        let mut once = Vec::with_capacity(text.len() * 2);
        push_escaped(&mut once, text.as_bytes());
        push_escaped(out, &once);
    }
    out.extend_from_slice(br#"\""#);
}

/// Appends `text` like [`push_nested_string`]. No character of `text` may need an escape.
pub fn push_nested_plain(out: &mut Vec<u8>, text: &str) {
    debug_assert_eq!(plain_len(text.as_bytes()), text.len(), "{text:?}");
    out.reserve(text.len() + 4);
    out.extend_from_slice(br#"\""#);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(br#"\""#);
}

/// Appends `text`, which must be UTF-8, with escapes and without quotes.
pub(super) fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        match byte {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            b'\t' => out.extend_from_slice(br"\t"),
            control => {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xF)];
                out.extend_from_slice(br"\u00");
                out.extend_from_slice(&[digit(control >> 4), digit(control)]);
            }
        }
        rest = after;
    }
}

/// Appends `number` to `out` in decimal digits.
pub fn push_number(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(b"0123456789"[number % 10]);
}
