//! Positions of special bytes in blocks of 64 bytes, as bit sets.
//!
//! A loop over single bytes costs a mispredicted branch at the end of nearly every string. Blocks
//! are compared with all special bytes without a branch, with the widest vectors of the processor.
//! Arithmetic on bit sets finds the insides of strings.
//!
//! Source: simdjson; Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019.

use std::ops::ControlFlow;

use fearless_simd::{Level, dispatch, prelude::*, u8x64};

/// Number of bytes in a block, one for each bit of its marks.
pub(super) const LEN: usize = u64::BITS as usize;
/// Number of blocks that are read at once. The number is large enough to hide the cost of choosing
/// the vectors, and small enough for the L1 cache.
pub(super) const BLOCKS: usize = 32;

/// The marks of JSON in [`BLOCKS`] blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Quotes that begin or end a string.
    pub(super) quotes: BlockMarks,
    /// Backslashes, including escaped ones.
    pub(super) backslashes: BlockMarks,
    /// True if there is a backslash.
    pub(super) has_backslashes: bool,
    /// True if there is a control character, in a string or between tokens.
    pub(super) has_controls: bool,
    pub(super) brackets: [Brackets; BLOCKS],
}

/// A set of positions in all blocks: one bit for each byte, from the first block on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockMarks([[u8; LEN / 8]; BLOCKS]);

impl BlockMarks {
    /// Returns the marks of one block: bit 0 is its first byte.
    #[inline]
    pub(super) const fn of(&self, block: usize) -> u64 {
        u64::from_le_bytes(self.0[block % BLOCKS])
    }

    /// Returns the marks from `offset` on, at least 57; `None` if fewer are left.
    #[inline]
    pub(super) fn next(&self, offset: usize) -> Option<u64> {
        let bytes = self.0.as_flattened().get(offset / 8..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes) >> (offset % 8))
    }
}

/// The brackets of a block, outside of strings: bit 0 is the first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brackets {
    /// Positions of `{` and `[`.
    pub(super) opening: u64,
    /// Positions of `}` and `]`.
    pub(super) closing: u64,
    /// Net change of the nesting depth across the block.
    pub(super) deepened: i32,
    /// Lower bound of the depth within the block, relative to its start.
    pub(super) lowest: i32,
}

/// The state that one block passes to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Carry {
    /// All bits if the next block begins within a string; otherwise 0.
    in_string: u64,
    /// Bit 0 if a backslash escapes the first byte of the next block.
    escape: u64,
}

/// Reads the blocks at the start of `bytes`. Positions behind the end have no marks.
pub(super) fn read(bytes: &[u8], carry: &mut Carry, blocks: &mut Blocks) {
    read_at(Level::new(), bytes, carry, blocks);
}

/// Reads the blocks at the start of `bytes` with the vectors of `level`.
pub(super) fn read_at(level: Level, bytes: &[u8], carry: &mut Carry, blocks: &mut Blocks) {
    dispatch!(level, simd => blocks.read_with(simd, bytes, carry));
}

impl Blocks {
    #[expect(clippy::inline_always, reason = "only inlined code uses the chosen vectors")]
    #[inline(always)]
    fn read_with<S: Simd>(&mut self, simd: S, bytes: &[u8], carry: &mut Carry) {
        let (chunks, rest) = bytes.as_chunks();
        if chunks.len() < BLOCKS {
            *self = Self::default();
        }
        // A local value stays in registers.
        let least = u8x64::splat(simd, u8::MAX);
        let mut seen = ScannedBytes { carry: *carry, backslashes: 0, least };
        for (index, chunk) in chunks.iter().take(BLOCKS).enumerate() {
            self.read_block(index, simd, chunk, &mut seen);
        }
        if chunks.len() < BLOCKS && !rest.is_empty() {
            let mut chunk = [b' '; LEN];
            chunk[..rest.len()].copy_from_slice(rest);
            self.read_block(chunks.len(), simd, &chunk, &mut seen);
        }
        *carry = seen.carry;
        self.has_backslashes = seen.backslashes != 0;
        self.has_controls = seen.least.simd_lt(u8x64::splat(simd, b' ')).any_true();
    }

    /// Reads the block `index` from `chunk`.
    #[expect(clippy::inline_always, reason = "only inlined code uses the chosen vectors")]
    #[inline(always)]
    fn read_block<S: Simd>(
        &mut self,
        index: usize,
        simd: S,
        chunk: &[u8; LEN],
        seen: &mut ScannedBytes<S>,
    ) {
        let chunk = u8x64::load_array_ref(simd, chunk);
        let positions = |byte: u8| chunk.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        // `[` and `{` differ in one bit, and so do `]` and `}`. With this bit set in every byte,
        // no other byte equals them.
        let folded = chunk | u8x64::splat(simd, b'{' ^ b'[');
        let brackets = |byte: u8| folded.simd_eq(u8x64::splat(simd, byte)).to_bitmask();
        let backslashes = positions(b'\\');
        let quotes = positions(b'"') & !seen.carry.escaped(backslashes);
        let in_strings = prefix_xor(quotes) ^ seen.carry.in_string;
        seen.carry.in_string = 0u64.wrapping_sub(in_strings >> (LEN - 1));
        seen.backslashes |= backslashes;
        seen.least = seen.least.min(chunk);
        let (opening, closing) = (brackets(b'{') & !in_strings, brackets(b'}') & !in_strings);
        let count = |set: u64| set.count_ones().cast_signed();
        self.quotes.0[index] = quotes.to_le_bytes();
        self.backslashes.0[index] = backslashes.to_le_bytes();
        self.brackets[index] = Brackets {
            opening,
            closing,
            deepened: count(opening) - count(closing),
            lowest: -count(closing),
        };
    }
}

/// The state between the blocks of one read, and the union of their marks.
struct ScannedBytes<S: Simd> {
    carry: Carry,
    /// Positions at which any block so far has a backslash.
    backslashes: u64,
    /// Least byte at each position, over all blocks so far.
    least: u8x64<S>,
}

impl Brackets {
    /// Counts the depth over the brackets at `positions`. Breaks with the position at which the
    /// depth becomes 0; otherwise continues with the depth after them.
    #[inline]
    pub(super) fn leave(&self, positions: u64, depth: i32) -> ControlFlow<usize, i32> {
        let mut depth = depth;
        let (mut opening, mut closing) = (self.opening & positions, self.closing & positions);
        while closing != 0 {
            let up_to_closing = closing ^ (closing - 1);
            depth += count(opening & up_to_closing) - 1;
            if depth <= 0 {
                return ControlFlow::Break(closing.trailing_zeros() as usize);
            }
            opening &= !up_to_closing;
            closing &= closing - 1;
        }
        ControlFlow::Continue(depth + count(opening))
    }
}

/// Returns the number of positions. A set has few of them, so a loop is fastest.
const fn count(positions: u64) -> i32 {
    let (mut count, mut rest) = (0, positions);
    while rest != 0 {
        rest &= rest - 1;
        count += 1;
    }
    count
}

impl Carry {
    /// Returns the positions that backslashes at these positions escape.
    ///
    /// In a run of backslashes every other one escapes. A subtraction of the first of each run
    /// from the odd positions, whose carry passes through the run, finds them. This works for runs
    /// that begin at an odd position and at an even one.
    const fn escaped(&mut self, backslashes: u64) -> u64 {
        const ODD: u64 = u64::MAX / 3 * 2;
        if backslashes == 0 {
            let escaped = self.escape;
            self.escape = 0;
            return escaped;
        }
        let may_escape = backslashes & !self.escape;
        let runs = (may_escape << 1 | ODD).wrapping_sub(may_escape) ^ ODD;
        let escaped = runs ^ (backslashes | self.escape);
        // The last byte escapes the first byte of the next block.
        self.escape = (runs & backslashes) >> (LEN - 1);
        escaped
    }
}

/// Returns the parity of each bit and all lower ones. Bits between two quotes are set.
const fn prefix_xor(bits: u64) -> u64 {
    let mut bits = bits;
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}
