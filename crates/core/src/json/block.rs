//! Sixty-four bytes at a time, as sets of positions.
//!
//! Going through an object byte by byte costs a mispredicted branch at the end
//! of nearly every string. Here each byte is compared with all that matters
//! without a branch, the compiler makes vector instructions of it, and what
//! stands in strings is found by arithmetic. (The idea is that of simdjson:
//! Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019.)

/// How many bytes a [`Block`] holds: one for each bit of its sets.
pub(super) const LEN: usize = u64::BITS as usize;

/// Where in sixty-four bytes the marks of JSON stand: bit 0 is the first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// `"` that begins or ends a string.
    pub(super) quotes: u64,
    /// Backslashes, those that are escaped too.
    pub(super) backslashes: u64,
    /// `{`, `[`, `]` and `}` outside of strings.
    pub(super) brackets: u64,
}

/// What a block needs to know of those before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carry {
    /// All bits set within a string, else none.
    in_string: u64,
    /// Bit 0 is set after a backslash that escapes the next byte.
    escape: u64,
}

impl Block {
    /// Reads the block that `bytes` begin with.
    #[inline]
    pub(super) fn read(bytes: &[u8], carry: &mut Carry) -> Self {
        if let Some(chunk) = bytes.first_chunk() {
            return Self::of(chunk, carry);
        }
        let mut chunk = [b' '; LEN];
        chunk[..bytes.len()].copy_from_slice(bytes);
        Self::of(&chunk, carry)
    }

    #[inline]
    fn of(chunk: &[u8; LEN], carry: &mut Carry) -> Self {
        let is_backslash = |byte| byte == b'\\';
        let any = chunk.iter().fold(false, |any, byte| any | is_backslash(*byte));
        let backslashes = if any { positions(chunk, is_backslash) } else { 0 };
        let mut quotes = positions(chunk, |byte| byte == b'"');
        if backslashes | carry.escape != 0 {
            quotes &= !carry.escaped(backslashes);
        }
        let in_strings = prefix_xor(quotes) ^ carry.in_string;
        carry.in_string = 0u64.wrapping_sub(in_strings >> (LEN - 1));
        let brackets = positions(chunk, |byte| matches!(byte, b'{' | b'[' | b'}' | b']'));
        let brackets = brackets & !in_strings;
        Self { quotes, backslashes, brackets }
    }
}

impl Carry {
    /// What backslashes at these positions escape.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = self.escape;
        let mut rest = backslashes & !escaped;
        self.escape = 0;
        while rest != 0 {
            let backslash = rest & rest.wrapping_neg();
            let next = backslash << 1;
            escaped |= next;
            rest &= !(backslash | next);
            // The last byte escapes the first of the block to come.
            self.escape = backslash >> (LEN - 1);
        }
        escaped
    }
}

/// The positions of the bytes that `is` holds for.
#[inline]
fn positions(chunk: &[u8; LEN], is: impl Fn(u8) -> bool) -> u64 {
    /// Brings the lowest bit of each of eight bytes into the highest byte.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let marks = chunk.map(|byte| u8::from(is(byte)));
    let (groups, _) = marks.as_chunks();
    groups.iter().rev().fold(0, |all, group| {
        all << 8 | u64::from_le_bytes(*group).wrapping_mul(GATHER) >> (LEN - 8)
    })
}

/// Each bit becomes the parity of itself and all below: between two quotes, set.
const fn prefix_xor(bits: u64) -> u64 {
    let mut bits = bits;
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}
