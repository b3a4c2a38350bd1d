//! How the reader finds where things end.

use std::borrow::Cow;

use super::{
    Reader, Result,
    block::{self, Block},
    error::{Expected, SyntaxError},
    text,
};

/// A string as it was written.
pub(super) struct Raw<'b> {
    /// What stands between the quotes.
    pub(super) inside: &'b [u8],
    pub(super) has_escapes: bool,
}

impl<'b> Reader<'b> {
    /// The next byte that is no white space; it is not consumed.
    #[inline]
    pub(super) fn token(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// A member's name, with its colon.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Cow<'b, [u8]>> {
        if self.token() != Some(b'"') {
            return self.fail(Expected::Key);
        }
        let Raw { inside, has_escapes } = self.string()?;
        if self.token() != Some(b':') {
            return self.fail(Expected::Colon);
        }
        self.at += 1;
        Ok(if has_escapes { text::decode_key(inside) } else { Cow::Borrowed(inside) })
    }

    /// The string whose opening quote comes next.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw<'b>> {
        let start = self.at + 1;
        self.reach_block();
        // What of the block lies behind the opening quote.
        let mut rest = u64::MAX << (self.at - self.block_start) << 1;
        let mut backslashes = 0;
        loop {
            let quotes = self.block.quotes & rest;
            // All below the first quote; all, if there is none.
            let in_string = rest & !quotes & quotes.wrapping_sub(1);
            backslashes |= self.block.backslashes & in_string;
            if quotes != 0 {
                let end = self.block_start + quotes.trailing_zeros() as usize;
                self.at = end + 1;
                let inside = self.bytes.get(start..end).unwrap_or_default();
                return Ok(Raw { inside, has_escapes: backslashes != 0 });
            }
            self.next_block(Expected::Quote)?;
            rest = u64::MAX;
        }
    }

    /// Steps over the object or array whose opening bracket comes next.
    #[inline]
    pub(super) fn skip_nested(&mut self) -> Result<()> {
        self.reach_block();
        let mut depth = 0isize;
        let mut rest = u64::MAX << (self.at - self.block_start);
        loop {
            let mut brackets = self.block.brackets & rest;
            while brackets != 0 {
                let at = self.block_start + brackets.trailing_zeros() as usize;
                // Of the four, only those that open have this bit.
                let opens = self.bytes.get(at).is_some_and(|byte| byte & 0b10 != 0);
                depth += if opens { 1 } else { -1 };
                if depth <= 0 {
                    self.at = at + 1;
                    return Ok(());
                }
                brackets &= brackets - 1;
            }
            self.next_block(Expected::Bracket)?;
            rest = u64::MAX;
        }
    }

    /// Reads blocks until the one that the reader stands in.
    #[inline]
    fn reach_block(&mut self) {
        while self.at - self.block_start >= block::LEN {
            self.read_block();
        }
    }

    /// Goes to the beginning of the next block; at the end, `expected` was missing.
    #[inline]
    fn next_block(&mut self, expected: Expected) -> Result<()> {
        self.at = self.block_start + block::LEN;
        if self.at >= self.bytes.len() {
            self.at = self.bytes.len();
            return self.fail(expected);
        }
        self.read_block();
        Ok(())
    }

    #[inline]
    fn read_block(&mut self) {
        self.block_start += block::LEN;
        let bytes = self.bytes.get(self.block_start..).unwrap_or_default();
        self.block = Block::read(bytes, &mut self.carry);
    }

    /// `[ "-" ] ( "0" | 1-9 digit* ) [ "." digit+ ] [ ( "e" | "E" ) [ "+" | "-" ] digit+ ]`
    pub(super) fn skip_number(&mut self) -> Result<()> {
        self.skip_if(|byte| byte == b'-');
        if !self.skip_if(|byte| byte == b'0') {
            self.skip_digits()?;
        }
        if self.skip_if(|byte| byte == b'.') {
            self.skip_digits()?;
        }
        if self.skip_if(|byte| matches!(byte, b'e' | b'E')) {
            self.skip_if(|byte| matches!(byte, b'+' | b'-'));
            self.skip_digits()?;
        }
        Ok(())
    }

    fn skip_digits(&mut self) -> Result<()> {
        if !self.skip_if(|byte| byte.is_ascii_digit()) {
            return self.fail(Expected::Digit);
        }
        while self.skip_if(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    fn skip_if(&mut self, is: impl Fn(u8) -> bool) -> bool {
        let fits = self.bytes.get(self.at).is_some_and(|byte| is(*byte));
        self.at += usize::from(fits);
        fits
    }

    pub(super) fn skip_word(&mut self, word: &[u8]) -> Result<()> {
        if !self.bytes.get(self.at..).unwrap_or_default().starts_with(word) {
            return self.fail(Expected::Literal);
        }
        self.at += word.len();
        Ok(())
    }

    #[cold]
    pub(super) fn fail<T>(&self, expected: Expected) -> Result<T> {
        Err(Box::new(SyntaxError { expected, at: self.at, at_end: self.at >= self.bytes.len() }))
    }
}
