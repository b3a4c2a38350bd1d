//! The lazy reader.

use std::borrow::Cow;

use super::{
    error::{ExpectedToken, Result, SyntaxError},
    simd::{self, Blocks, Carry},
    string,
};

/// A lazy reader of one JSON text, from front to back.
///
/// Each method reads exactly one value. A value of another type than the method's is skipped,
/// because the API server has already accepted the object.
///
/// ```
/// use image_swap_text::json::JsonReader;
///
/// let mut image = None;
/// let mut reader = JsonReader::new(br#"{"name": "web", "image": "nginx"}"#);
/// reader.members(|reader, key| match key {
///     b"image" => reader.string().map(|value| image = value),
///     _ => reader.skip(),
/// })?;
/// reader.end()?;
/// assert_eq!(image.as_deref(), Some("nginx"));
/// # Ok::<(), Box<image_swap_text::json::SyntaxError>>(())
/// ```
#[derive(Clone, Debug)]
pub struct JsonReader<'b> {
    pub(super) bytes: &'b [u8],
    /// Offset of the next byte.
    pub(super) at: usize,
    /// Marks of the blocks that were read last.
    pub(super) blocks: Blocks,
    /// Offset of the first byte of `blocks`.
    pub(super) blocks_start: usize,
    pub(super) carry: Carry,
}

impl<'b> JsonReader<'b> {
    /// Returns a reader at the beginning of `bytes`.
    pub fn new(bytes: &'b [u8]) -> Self {
        // Blocks are read in place: they are large.
        let mut reader = Self {
            bytes,
            at: 0,
            blocks: Blocks::default(),
            blocks_start: 0,
            carry: Carry::default(),
        };
        simd::read(bytes, &mut reader.carry, &mut reader.blocks);
        reader
    }

    /// Calls `member` with the name of each member of the next value. `member` must read the
    /// member's value. Returns false if the next value is not an object.
    ///
    /// # Errors
    /// Returns an error for invalid JSON, and the errors of `member`.
    #[inline]
    pub fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        if self.token() != Some(b'{') {
            return self.skip().map(|()| false);
        }
        self.at += 1;
        if self.token() == Some(b'}') {
            self.at += 1;
            return Ok(true);
        }
        // Declared outside of the loop, so that an iteration has nothing to drop.
        let mut decoded = Vec::new();
        loop {
            if self.token() != Some(b'"') {
                return self.fail(ExpectedToken::Key);
            }
            let Some(raw) = self.scan_string() else { return self.fail(ExpectedToken::Quote) };
            if self.token() != Some(b':') {
                return self.fail(ExpectedToken::Colon);
            }
            self.at += 1;
            let key = if raw.has_escapes {
                decoded.clear();
                decoded.extend_from_slice(&string::decode_key(raw));
                &*decoded
            } else {
                raw.inside
            };
            member(self, key)?;
            match self.token() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return self.fail(ExpectedToken::CommaOrBrace),
            }
        }
        self.at += 1;
        Ok(true)
    }

    /// Calls `item` with the index of each item of the next value. `item` must read the item.
    /// Returns false if the next value is not an array.
    ///
    /// # Errors
    /// Returns an error for invalid JSON, and the errors of `item`.
    #[inline]
    pub fn items(&mut self, mut item: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<bool> {
        if self.token() != Some(b'[') {
            return self.skip().map(|()| false);
        }
        self.at += 1;
        if self.token() == Some(b']') {
            self.at += 1;
            return Ok(true);
        }
        for index in 0.. {
            item(self, index)?;
            match self.token() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return self.fail(ExpectedToken::CommaOrBracket),
            }
        }
        self.at += 1;
        Ok(true)
    }

    /// Reads the next value as a string, borrowed if it has no escapes. Returns `None` if it is
    /// not a string. An unpaired surrogate becomes U+FFFD, like in Go.
    ///
    /// # Errors
    /// Returns an error for invalid JSON, and for a string that is not UTF-8.
    #[inline]
    pub fn string(&mut self) -> Result<Option<Cow<'b, str>>> {
        if self.token() != Some(b'"') {
            return self.skip().map(|()| None);
        }
        let start = self.at + 1;
        let Some(raw) = self.scan_string() else { return self.fail(ExpectedToken::Quote) };
        string::decode(raw).map(Some).map_err(|(expected, at)| {
            Box::new(SyntaxError { expected, at: start + at, at_end: false })
        })
    }

    /// Reads the next value as a string for a comparison. Returns `None` if it is not a string.
    /// Checks neither UTF-8 nor control characters, and returns an invalid string as its bytes.
    ///
    /// # Errors
    /// Returns an error for invalid JSON.
    #[inline]
    pub fn raw_string(&mut self) -> Result<Option<Cow<'b, [u8]>>> {
        if self.token() != Some(b'"') {
            return self.skip().map(|()| None);
        }
        let Some(raw) = self.scan_string() else { return self.fail(ExpectedToken::Quote) };
        Ok(Some(string::decode_key(raw)))
    }

    /// Reads the next value as a Boolean. Returns `None` if it is not one.
    ///
    /// # Errors
    /// Returns an error for invalid JSON.
    pub fn bool(&mut self) -> Result<Option<bool>> {
        let value = match self.token() {
            Some(b't') => Some(true),
            Some(b'f') => Some(false),
            _ => None,
        };
        self.skip().map(|()| value)
    }

    /// Skips a `null`. Returns false, and reads nothing, if the next value is not `null`.
    ///
    /// # Errors
    /// Returns an error for invalid JSON.
    #[inline]
    pub fn null(&mut self) -> Result<bool> {
        if self.token() == Some(b'n') { self.skip().map(|()| true) } else { Ok(false) }
    }

    /// Skips the next value.
    ///
    /// # Errors
    /// Returns an error for invalid JSON, as far as a skipped value is checked.
    #[expect(clippy::inline_always, reason = "a call costs as much as most values")]
    #[inline(always)]
    pub fn skip(&mut self) -> Result<()> {
        match self.token() {
            Some(b'"') => self.skip_string(),
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_short(),
        }
    }

    /// Skips a string.
    #[inline]
    fn skip_string(&mut self) -> Result<()> {
        if self.scan_string().is_some() { Ok(()) } else { self.fail(ExpectedToken::Quote) }
    }

    /// Skips a number or a word.
    #[inline(never)]
    fn skip_short(&mut self) -> Result<()> {
        match self.token() {
            Some(b't') => self.skip_word(b"true"),
            Some(b'f') => self.skip_word(b"false"),
            Some(b'n') => self.skip_word(b"null"),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ => self.fail(ExpectedToken::Value),
        }
    }

    /// Returns the number of bytes that have been read.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Returns the bytes that have been read since `position`.
    pub fn since(&self, position: usize) -> &'b [u8] {
        self.bytes.get(position..self.at).unwrap_or_default()
    }

    /// Checks that the text ends here.
    ///
    /// # Errors
    /// Returns an error if more than white space is left.
    pub fn end(mut self) -> Result<()> {
        match self.token() {
            None => Ok(()),
            Some(_) => self.fail(ExpectedToken::End),
        }
    }
}
