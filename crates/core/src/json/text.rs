//! Strings: where their plain part ends, and what their escapes mean.

use std::borrow::Cow;

use super::error::Expected;

/// `0x01` in every byte.
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// How many bytes stand before the first `"`, backslash or control character.
///
/// Strings are short here, so this reads eight bytes at a time and no more.
/// `(x - 0x01…) & !x & 0x80…` marks the zero bytes of `x`; marks above the
/// lowest may be false, the lowest is not.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5C);
        let marks = (word.wrapping_sub(ONES * 0x20) & !word)
            | (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash);
        let marks = marks & HIGHS;
        if marks != 0 {
            return index * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The value of the string whose inside is `raw`; borrowed if it has no escapes.
/// An error says what was expected at which byte of `raw`.
#[inline]
pub(super) fn decode(raw: &[u8]) -> Result<Cow<'_, str>, (Expected, usize)> {
    if plain_len(raw) == raw.len() {
        return match std::str::from_utf8(raw) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => Err((Expected::Utf8, error.valid_up_to())),
        };
    }
    match String::from_utf8(unescape(raw)?) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err((Expected::Utf8, 0)),
    }
}

/// The value of a member's name. A malformed one stands for itself: it is no
/// name that anyone looks for.
pub(super) fn decode_key(raw: &[u8]) -> Cow<'_, [u8]> {
    unescape(raw).map_or(Cow::Borrowed(raw), Cow::Owned)
}

/// `raw` without its escapes.
#[cold]
fn unescape(raw: &[u8]) -> Result<Vec<u8>, (Expected, usize)> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let at = raw.len() - special.len();
        rest = match special {
            [] => return Ok(out),
            [b'\\', b'u', digits @ ..] => {
                let (character, rest) = code_point(digits).ok_or((Expected::Escape, at))?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest
            }
            [b'\\', escape, rest @ ..] => {
                out.push(match escape {
                    b'"' | b'\\' | b'/' => *escape,
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    _ => return Err((Expected::Escape, at)),
                });
                rest
            }
            [b'\\'] => return Err((Expected::Escape, at)),
            [_, ..] => return Err((Expected::NoControl, at)),
        };
    }
}

/// The character whose four hex digits `text` begins with, and the rest: after
/// a second escape, where that completes a surrogate pair. A surrogate alone is
/// U+FFFD, as in Go.
fn code_point(text: &[u8]) -> Option<(char, &[u8])> {
    let (high, rest) = hex(text)?;
    if let 0xD800..=0xDBFF = high
        && let [b'\\', b'u', low @ ..] = rest
        && let Some((low @ 0xDC00..=0xDFFF, rest)) = hex(low)
    {
        let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
        return Some((char::from_u32(code)?, rest));
    }
    Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

/// The value of the first four hex digits, and the rest.
fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, byte| {
        char::from(*byte).to_digit(16).map(|digit| value << 4 | digit)
    })?;
    Some((value, rest))
}
