//! Scanning: the ends of strings, numbers, words and nested values.

use std::ops::ControlFlow;

use super::{
    error::{ExpectedToken, Result, SyntaxError},
    read::JsonReader,
    simd::{self, BLOCKS, Brackets},
    string::Raw,
};

/// The end of a string. The value fits registers.
#[derive(Clone, Copy)]
struct Ending {
    /// Offset of the closing quote; 0 if there is none.
    end: usize,
    /// True if there is a backslash in the string.
    has_escapes: bool,
}

impl<'b> JsonReader<'b> {
    /// Returns the next byte that is not white space, without consuming it; `None` at the end.
    #[inline]
    pub(super) fn token(&mut self) -> Option<u8> {
        match self.bytes.get(self.at) {
            // API servers write no white space.
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => self.token_behind_space(),
        }
    }

    /// Skips white space, and returns the next byte without consuming it.
    #[inline(never)]
    fn token_behind_space(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Reads the string whose opening quote is next. Returns `None` if it does not end.
    ///
    /// An `Option` fits registers, and a `Result` would be returned in memory.
    #[expect(clippy::inline_always, reason = "a call costs as much as most strings")]
    #[inline(always)]
    pub(super) fn scan_string(&mut self) -> Option<Raw<'b>> {
        let start = self.at + 1;
        let offset = start - self.blocks_start;
        let quotes = self.blocks.quotes.next(offset).unwrap_or_default();
        let (ending, may_have_controls) = if quotes == 0 {
            (self.long_string(), true)
        } else {
            let escapes = || self.blocks.backslashes.next(offset).unwrap_or_default();
            let has_escapes =
                self.blocks.has_backslashes && escapes() & quotes.wrapping_sub(1) & !quotes != 0;
            let end = start + quotes.trailing_zeros() as usize;
            (Ending { end, has_escapes }, self.blocks.has_controls)
        };
        let Ending { end, has_escapes } = ending;
        let inside = self.bytes.get(start..end)?;
        self.at = end + 1;
        Some(Raw { inside, has_escapes, may_have_controls })
    }

    /// Finds the end of a string over any number of blocks.
    #[inline(never)]
    fn long_string(&mut self) -> Ending {
        self.at += 1;
        let mut has_escapes = false;
        let mut rest = self.reach_block();
        loop {
            let block = self.at / simd::LEN;
            let (quotes, backslashes) =
                (self.blocks.quotes.of(block) & rest, self.blocks.backslashes.of(block));
            // All bits below the first quote, or all bits without a quote.
            let in_string = rest & !quotes & quotes.wrapping_sub(1);
            has_escapes |= backslashes & in_string != 0;
            if quotes != 0 {
                return Ending { end: self.in_block(quotes), has_escapes };
            }
            let Some(next) = self.next_block() else { return Ending { end: 0, has_escapes } };
            rest = next;
        }
    }

    /// Skips the object or array whose opening bracket is next.
    #[inline(never)]
    pub(super) fn skip_nested(&mut self) -> Result<()> {
        let mut rest = self.reach_block();
        let mut index = (self.at - self.blocks_start) / simd::LEN;
        let mut depth = 0;
        loop {
            if let Some(brackets) = self.blocks.brackets.get(index) {
                match brackets.leave(rest, depth) {
                    ControlFlow::Break(position) => {
                        self.at = self.blocks_start + index * simd::LEN + position + 1;
                        return Ok(());
                    }
                    ControlFlow::Continue(deeper) => depth = deeper,
                }
                index += 1;
            }
            // Most blocks cannot end the value, whatever the order of their brackets.
            let later = self.blocks.brackets.get(index..).unwrap_or_default();
            for Brackets { deepened, lowest, .. } in later {
                if depth + lowest <= 0 {
                    break;
                }
                depth += deepened;
                index += 1;
            }
            if index == BLOCKS {
                self.at = self.blocks_start + BLOCKS * simd::LEN;
                if self.at >= self.bytes.len() {
                    self.at = self.bytes.len();
                    return self.fail(ExpectedToken::Bracket);
                }
                self.read_blocks();
                index = 0;
            }
            rest = u64::MAX;
        }
    }

    /// Reads the current block, if it has not been read. Returns the set of the positions in the
    /// block from the current one on. Positions behind the end have no marks.
    #[inline]
    fn reach_block(&mut self) -> u64 {
        while self.at - self.blocks_start >= BLOCKS * simd::LEN {
            self.read_blocks();
        }
        u64::MAX << (self.at % simd::LEN)
    }

    /// Returns the offset of the lowest of `positions` in the current block.
    #[inline]
    const fn in_block(&self, positions: u64) -> usize {
        self.at / simd::LEN * simd::LEN + positions.trailing_zeros() as usize
    }

    /// Advances to the next block. Returns the set of its positions; `None` at the end of the text.
    #[inline]
    fn next_block(&mut self) -> Option<u64> {
        self.at = (self.at / simd::LEN + 1) * simd::LEN;
        if self.at >= self.bytes.len() {
            self.at = self.bytes.len();
            return None;
        }
        Some(self.reach_block())
    }

    /// Reads the next [`BLOCKS`] blocks.
    #[cold]
    fn read_blocks(&mut self) {
        self.blocks_start += BLOCKS * simd::LEN;
        let bytes = self.bytes.get(self.blocks_start..).unwrap_or_default();
        simd::read(bytes, &mut self.carry, &mut self.blocks);
    }

    /// Skips a number (RFC 8259, section 6):
    /// `[ "-" ] ( "0" | 1-9 digit* ) [ "." digit+ ] [ ( "e" | "E" ) [ "+" | "-" ] digit+ ]`.
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

    /// Skips one or more digits.
    fn skip_digits(&mut self) -> Result<()> {
        if !self.skip_if(|byte| byte.is_ascii_digit()) {
            return self.fail(ExpectedToken::Digit);
        }
        while self.skip_if(|byte| byte.is_ascii_digit()) {}
        Ok(())
    }

    /// Skips a byte for which `is` returns true. Returns false if there is none.
    fn skip_if(&mut self, is: impl Fn(u8) -> bool) -> bool {
        let fits = self.bytes.get(self.at).is_some_and(|byte| is(*byte));
        self.at += usize::from(fits);
        fits
    }

    /// Skips `true`, `false` or `null`.
    pub(super) fn skip_word(&mut self, word: &[u8]) -> Result<()> {
        if !self.bytes.get(self.at..).unwrap_or_default().starts_with(word) {
            return self.fail(ExpectedToken::Literal);
        }
        self.at += word.len();
        Ok(())
    }

    /// Returns an error at the current byte.
    #[cold]
    pub(super) fn fail<T>(&self, expected: ExpectedToken) -> Result<T> {
        Err(Box::new(SyntaxError { expected, at: self.at, at_end: self.at >= self.bytes.len() }))
    }
}
