//! The record of what a pod's images were called before.
//!
//! A JSON object. Beside the original of an image it has a checksum of the image that
//! was put in its place: only an image that was put there is kept on an update.

use std::{borrow::Cow, collections::BTreeMap};

use image_swap_text::json::{Reader, push_nested_plain, push_nested_string};

use super::pod::{Image, List, Record};

/// The prefix of the key with an image's checksum. No container has a colon in its name.
const SWAPPED: &str = "swapped:";
/// The length of a checksum as written.
const CHECKSUM_LEN: usize = 8;

/// Original images by [`Image::record_key`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Originals<'p> {
    images: BTreeMap<Cow<'p, str>, Cow<'p, str>>,
    /// The checksums of the images in their place, where they are known.
    swapped: BTreeMap<Cow<'p, str>, Checksum>,
}

/// A checksum of an image (FNV-1a).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(u32);

impl Checksum {
    pub(super) fn of(image: &str) -> Self {
        let mut sum = 0x811c_9dc5_u32;
        for byte in image.bytes() {
            sum = (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
        Self(sum)
    }

    fn read(text: &str) -> Option<Self> {
        let is_checksum = text.len() == CHECKSUM_LEN;
        is_checksum.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }

    fn write(self) -> [u8; CHECKSUM_LEN] {
        std::array::from_fn(|nth| {
            let nibble = self.0 >> (4 * (CHECKSUM_LEN - 1 - nth)) & 0xF;
            b"0123456789abcdef"[nibble as usize]
        })
    }
}

impl<'p> Originals<'p> {
    /// What the annotation says. One that is no JSON object says nothing, nor
    /// does an entry that is no text.
    pub(super) fn read(record: &'p Record<'_>) -> Self {
        let mut originals = Self::default();
        let Record::Text(text) = record else { return originals };
        let mut reader = Reader::new(text.as_bytes());
        let members = reader.members(|reader, key| {
            let Some(text) = reader.text()? else { return Ok(()) };
            let key = String::from_utf8_lossy(key);
            match key.strip_prefix(SWAPPED) {
                Some(key) => {
                    if let Some(checksum) = Checksum::read(&text) {
                        originals.swapped.insert(key.to_owned().into(), checksum);
                    }
                }
                None => drop(originals.images.insert(key.into_owned().into(), text)),
            }
            Ok(())
        });
        if members.and_then(|_| reader.end()).is_err() { Self::default() } else { originals }
    }

    /// Whether nothing is recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// The original of `image`.
    pub(super) fn get(&self, image: &Image<'_>) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        self.images.get(&*image.record_key()?).map(|original| &**original)
    }

    /// Returns the checksum of what was put in the place of `image`, if it is recorded.
    pub(super) fn swapped(&self, image: &Image<'_>) -> Option<Checksum> {
        if self.swapped.is_empty() {
            return None;
        }
        self.swapped.get(&*image.record_key()?).copied()
    }

    /// Records the original of `image` and the checksum of what is in its place, unless
    /// another image of that name has one.
    pub(super) fn record(
        &mut self,
        image: &'p Image<'_>,
        original: Cow<'p, str>,
        swapped: Option<Checksum>,
    ) {
        let Some(key) = image.record_key() else { return };
        if self.images.contains_key(&key) {
            return;
        }
        // The image of a volume is immutable.
        if let Some(swapped) = swapped.filter(|_| image.list != List::Volumes) {
            self.swapped.insert(key.clone(), swapped);
        }
        self.images.insert(key, original);
    }

    /// Returns a length that the annotation's value does not exceed, in bytes. Unlike
    /// [`Self::len`] it looks at no character.
    pub(super) fn len_at_most(&self) -> usize {
        let entries = self.images.iter().map(|(key, image)| 12 * (key.len() + image.len() + 4));
        2 + entries.sum::<usize>()
    }

    /// Returns the length of the annotation's value, in bytes.
    pub(super) fn len(&self) -> usize {
        let text = |text: &str| text.bytes().map(written_len).sum::<usize>();
        let punctuation = r#""":"","#.len();
        let images = self.images.iter().map(|(key, image)| text(key) + text(image) + punctuation);
        let checksum = SWAPPED.len() + CHECKSUM_LEN + punctuation;
        let swapped = self.swapped.keys().map(|key| text(key) + checksum);
        // The braces; no comma is behind the last entry.
        2 + images.chain(swapped).sum::<usize>().saturating_sub(1)
    }

    /// Writes the annotation's value: a JSON object as a JSON string.
    pub(super) fn push_quoted(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""{"#);
        let start = out.len();
        for (key, image) in &self.images {
            if out.len() > start {
                out.push(b',');
            }
            push_nested_string(out, key);
            out.push(b':');
            push_nested_string(out, image);
            let Some(checksum) = self.swapped.get(key) else { continue };
            out.push(b',');
            push_nested_string(out, &[SWAPPED, key].concat());
            out.push(b':');
            push_nested_plain(out, &String::from_utf8_lossy(&checksum.write()));
        }
        out.extend_from_slice(br#"}""#);
    }
}

/// Returns the length of `byte` in a JSON string.
const fn written_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0x00..=0x1f => 6,
        _ => 1,
    }
}
