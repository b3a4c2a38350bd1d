//! Decisions made by bytes.

use std::slice::Iter;

/// Bytes, read as a series of decisions.
///
/// When they run out every further decision is the first: fewer and smaller
/// bytes make simpler things, so failures shrink, and a fuzzer that changes one
/// byte changes one decision.
pub(crate) struct Choices<'b>(Iter<'b, u8>);

impl<'b> Choices<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes.iter())
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % end
    }

    /// True once in `chances`; false when the bytes have run out.
    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == chances - 1
    }

    pub(crate) fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// What is left, as a text.
    pub(crate) fn rest(&mut self) -> String {
        let rest = self.0.as_slice();
        self.0 = [].iter();
        String::from_utf8_lossy(rest).into_owned()
    }

    /// `text` with some characters put in, left out or replaced.
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
