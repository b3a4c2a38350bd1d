//! Generation of test input from bytes.

use std::slice::Iter;

/// A series of decisions, each read from one byte.
///
/// After the last byte every decision is the first alternative. Fewer and smaller bytes therefore
/// generate simpler input, and failures shrink. A fuzzer that changes one byte changes one
/// decision.
pub(crate) struct Choices<'b>(Iter<'b, u8>);

impl<'b> Choices<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes.iter())
    }

    /// Returns a number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    /// Returns true with a chance of one in `chances`; false after the last byte.
    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == chances - 1
    }

    /// Returns one of `values`; the first one after the last byte.
    pub(crate) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Returns the remaining bytes as text. Invalid UTF-8 becomes U+FFFD.
    pub(crate) fn rest(&mut self) -> String {
        let rest = self.0.as_slice();
        self.0 = [].iter();
        String::from_utf8_lossy(rest).into_owned()
    }

    /// Inserts, removes and replaces some characters of `text`. New ones are of `characters`.
    pub(crate) fn damage(&mut self, text: &mut String, characters: &[char]) {
        while self.one_in(4) {
            let at = text.floor_char_boundary(self.below(256) * (text.len() + 1) / 256);
            if self.one_in(2) && at < text.len() {
                text.remove(at);
            }
            if !self.one_in(3) {
                text.insert(at, self.of(characters));
            }
        }
    }
}
