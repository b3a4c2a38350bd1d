//! Decoding of strings: plain text and escapes.

use std::borrow::Cow;

use super::error::ExpectedToken;

/// A string in its encoded form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'b> {
    /// The bytes between the quotes.
    pub(super) inside: &'b [u8],
    /// True if there is a backslash.
    pub(super) has_escapes: bool,
    /// False if there is certainly no control character.
    pub(super) may_have_controls: bool,
}

/// The value 0x01 in every byte.
const ONES: u64 = u64::MAX / 255;
/// The highest bit of every byte.
const HIGHS: u64 = ONES << 7;

/// Returns the number of bytes before the first `"`, backslash or control character.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    // `x ^ 2` is below 0x21 for control characters and the quote.
    before(bytes, |word| below(word ^ (ONES * 2), 0x21) | below(word ^ (ONES * 0x5C), 1))
}

/// Returns true if there is no control character.
#[inline]
fn is_printable(bytes: &[u8]) -> bool {
    before(bytes, |word| below(word, 0x20)) == bytes.len()
}

/// Marks the bytes of `word` that are below `limit` by their highest bits. The lowest mark is
/// right, and higher ones may be wrong.
const fn below(word: u64, limit: u64) -> u64 {
    word.wrapping_sub(ONES * limit) & !word
}

/// Returns the number of bytes before the first one that `marks` marks. `marks` takes eight bytes:
/// strings are short, so wider vectors are not faster.
#[inline]
fn before(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let first = |word: [u8; 8]| {
        let marks = marks(u64::from_le_bytes(word)) & HIGHS;
        (marks != 0).then(|| marks.trailing_zeros() as usize / 8)
    };
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        if let Some(at) = first(*word) {
            return index * 8 + at;
        }
    }
    // The last eight bytes are compared as a whole. A shorter string is padded with spaces.
    if let Some(last) = bytes.last_chunk() {
        return first(*last).map_or(bytes.len(), |at| bytes.len() - 8 + at);
    }
    let mut word = [b' '; 8];
    word[..rest.len()].copy_from_slice(rest);
    first(word).map_or(bytes.len(), |at| at)
}

/// Returns the value of a string, borrowed if it has no escapes. An error is the expected token
/// and its offset between the quotes.
#[inline]
pub(super) fn decode(raw: Raw<'_>) -> Result<Cow<'_, str>, (ExpectedToken, usize)> {
    let Raw { inside, has_escapes, may_have_controls } = raw;
    if !has_escapes && (!may_have_controls || is_printable(inside)) {
        return match std::str::from_utf8(inside) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => Err((ExpectedToken::Utf8, error.valid_up_to())),
        };
    }
    match String::from_utf8(unescape(inside)?) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(_) => Err((ExpectedToken::Utf8, 0)),
    }
}

/// Returns the value of a member's name. An invalid name is returned as its bytes, which equal no
/// valid name.
#[inline]
pub(super) fn decode_key(raw: Raw<'_>) -> Cow<'_, [u8]> {
    let Raw { inside, has_escapes, .. } = raw;
    if has_escapes {
        return unescape(inside).map_or(Cow::Borrowed(inside), Cow::Owned);
    }
    Cow::Borrowed(inside)
}

/// Returns `raw` without its escapes.
#[cold]
fn unescape(raw: &[u8]) -> Result<Vec<u8>, (ExpectedToken, usize)> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let at = raw.len() - special.len();
        rest = match special {
            [] => return Ok(out),
            [b'\\', b'u', digits @ ..] => {
                let (character, rest) = code_point(digits).ok_or((ExpectedToken::Escape, at))?;
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
                    _ => return Err((ExpectedToken::Escape, at)),
                });
                rest
            }
            [b'\\'] => return Err((ExpectedToken::Escape, at)),
            [_, ..] => return Err((ExpectedToken::NoControl, at)),
        };
    }
}

/// Returns the character of the four hex digits at the start of `text`, and the rest of `text`.
///
/// A second escape is consumed if it completes a surrogate pair. An unpaired surrogate is U+FFFD,
/// like in Go.
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

/// Returns the value of four hex digits at the start of `text`, and the rest; `None` if there are
/// fewer digits.
fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits.iter().try_fold(0, |value, byte| {
        char::from(*byte).to_digit(16).map(|digit| value << 4 | digit)
    })?;
    Some((value, rest))
}
