//! The record of a pod's original images: an annotation with a JSON object.
//!
//! Besides the original of an image it contains a checksum of the swapped image. On an update
//! only an image with that checksum is kept.

use std::borrow::Cow;

use image_swap_text::json::{JsonReader, push_nested_string};

use super::pod::{AnnotationState, ImageList, PodImage};

/// Prefix of the key with an image's checksum. No container has a colon in its name.
const SWAPPED: &str = "swapped:";
/// Length of a checksum in the annotation.
const CHECKSUM_LEN: usize = 8;

/// Original images by [`PodImage::record_key`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Originals<'p> {
    /// Originals, sorted by key, each key once.
    entries: Vec<OriginalImage<'p>>,
    /// True if the annotation has a checksum without an original.
    has_stray_checksum: bool,
}

/// The original of one image.
#[derive(Debug, PartialEq, Eq)]
struct OriginalImage<'p> {
    key: Cow<'p, str>,
    original: Cow<'p, str>,
    /// Checksum of the swapped image; `None` if it is unknown.
    swapped: Option<Checksum>,
}

/// A member of the annotation: an original, or the checksum of a swapped image.
struct Member<'p> {
    key: Cow<'p, str>,
    original: Option<Cow<'p, str>>,
    swapped: Option<Checksum>,
}

/// Original images in the order of the pod.
#[derive(Debug)]
pub(super) struct OriginalsDraft<'p>(Vec<OriginalImage<'p>>);

/// A checksum of an image: the upper half of a hash of its words of eight bytes. Hashing words
/// takes an eighth of the steps of hashing bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum(u32);

impl Checksum {
    /// Computes the checksum of `image`.
    pub(super) fn of(image: &str) -> Self {
        let bytes = image.as_bytes();
        let mut sum = bytes.len() as u64;
        let mut add = |word: [u8; 8]| {
            // The multiplier of rustc's FxHash.
            sum =
                (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
        };
        let (words, rest) = bytes.as_chunks();
        for word in words {
            add(*word);
        }
        if !rest.is_empty() {
            // The last eight bytes may overlap the previous ones; a shorter text is padded.
            add(bytes.last_chunk().copied().unwrap_or_else(|| {
                std::array::from_fn(|nth| rest.get(nth).copied().unwrap_or_default())
            }));
        }
        let [a, b, c, d, ..] = sum.to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
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
    /// Parses the annotation. An annotation that is not a JSON object records nothing, nor does
    /// a member that is not a string.
    pub(super) fn read(record: &'p AnnotationState<'_>) -> Self {
        let AnnotationState::Text(text) = record else { return Self::default() };
        let mut found: Vec<Member<'p>> = Vec::new();
        let mut reader = JsonReader::new(text.as_bytes());
        let members = reader.members(|reader, key| {
            let Some(text) = reader.string()? else { return Ok(()) };
            let key = String::from_utf8_lossy(key);
            found.push(match key.strip_prefix(SWAPPED) {
                Some(key) => {
                    let Some(checksum) = Checksum::read(&text) else { return Ok(()) };
                    let key = Cow::Owned(key.to_owned());
                    Member { key, original: None, swapped: Some(checksum) }
                }
                None => Member {
                    key: Cow::Owned(key.into_owned()),
                    original: Some(text),
                    swapped: None,
                },
            });
            Ok(())
        });
        if members.and_then(|_| reader.end()).is_err() {
            return Self::default();
        }
        Self::of(found)
    }

    /// Joins the members with the same key. The last of several counts.
    fn of(mut found: Vec<Member<'p>>) -> Self {
        found.sort_by(|one, other| one.key.cmp(&other.key));
        found.dedup_by(|later, kept| {
            let is_same = later.key == kept.key;
            if is_same {
                kept.original = later.original.take().or(kept.original.take());
                kept.swapped = later.swapped.or(kept.swapped);
            }
            is_same
        });
        let has_stray_checksum = found.iter().any(|member| member.original.is_none());
        let entries = found.into_iter().filter_map(|Member { key, original, swapped }| {
            Some(OriginalImage { key, original: original?, swapped })
        });
        Self { entries: entries.collect(), has_stray_checksum }
    }

    /// Returns true if nothing is recorded.
    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the original of `image`; `None` if none is recorded.
    pub(super) fn get(&self, image: &PodImage<'_>) -> Option<&str> {
        self.find(image).map(|entry| &*entry.original)
    }

    /// Returns the checksum of the image that replaced `image`; `None` if none is recorded.
    pub(super) fn swapped(&self, image: &PodImage<'_>) -> Option<Checksum> {
        self.find(image)?.swapped
    }

    fn find(&self, image: &PodImage<'_>) -> Option<&OriginalImage<'p>> {
        if self.is_empty() {
            return None;
        }
        let key = image.record_key()?;
        let found = self.entries.binary_search_by(|entry| (*entry.key).cmp(&key)).ok()?;
        self.entries.get(found)
    }

    /// Returns an upper bound of the length of the annotation's value, in bytes. Unlike
    /// [`Self::len`] it reads no characters.
    pub(super) fn len_at_most(&self) -> usize {
        let entries = self.entries.iter();
        2 + entries.map(|entry| 12 * (entry.key.len() + entry.original.len() + 4)).sum::<usize>()
    }

    /// Returns the length of the annotation's value, in bytes.
    pub(super) fn len(&self) -> usize {
        let text = |text: &str| text.bytes().map(written_len).sum::<usize>();
        let punctuation = r#""":"","#.len();
        let entries = self.entries.iter().map(|OriginalImage { key, original, swapped }| {
            let key = text(key) + punctuation;
            let checksum = swapped.map_or(0, |_| key + SWAPPED.len() + CHECKSUM_LEN);
            key + text(original) + checksum
        });
        // The braces; the last entry has no comma.
        2 + entries.sum::<usize>().saturating_sub(1)
    }

    /// Writes the annotation's value: a JSON object as a JSON string.
    pub(super) fn push_quoted(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""{"#);
        for (nth, OriginalImage { key, original, swapped }) in self.entries.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            let start = out.len();
            push_nested_string(out, key);
            // Quotes take two bytes here, since each is escaped.
            let (written, end) = (start + 2, out.len());
            out.push(b':');
            push_nested_string(out, original);
            let Some(checksum) = swapped else { continue };
            out.extend_from_slice(br#",\""#);
            out.extend_from_slice(SWAPPED.as_bytes());
            out.extend_from_within(written..end);
            out.extend_from_slice(br#":\""#);
            out.extend_from_slice(&checksum.write());
            out.extend_from_slice(br#"\""#);
        }
        out.extend_from_slice(br#"}""#);
    }
}

impl<'p> OriginalsDraft<'p> {
    /// Returns an empty list with room for the originals of `images` images.
    pub(super) fn with_capacity(images: usize) -> Self {
        Self(Vec::with_capacity(images))
    }

    /// Records the original of `image` and the checksum of the swapped image. Of images with
    /// the same name the first counts.
    pub(super) fn record(
        &mut self,
        image: &'p PodImage<'_>,
        original: Cow<'p, str>,
        swapped: Option<Checksum>,
    ) {
        let Some(key) = image.record_key() else { return };
        // The image of a volume is immutable.
        let swapped = swapped.filter(|_| image.list != ImageList::Volumes);
        self.0.push(OriginalImage { key, original, swapped });
    }

    /// Returns all records, by name.
    pub(super) fn finish(self) -> Originals<'p> {
        let Self(mut entries) = self;
        entries.sort_by(|one, other| one.key.cmp(&other.key));
        entries.dedup_by(|later, first| later.key == first.key);
        Originals { entries, has_stray_checksum: false }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_changes_with_every_byte() {
        let text = "harbor.example.org/airgap/docker.io/library/nginx:1.27";
        for length in 1..=text.len() {
            let whole = &text[..length];
            let shorter = Checksum::of(&text[..length - 1]);
            assert_ne!(Checksum::of(whole), shorter, "{whole}");
            for at in 0..length {
                let changed = [&whole[..at], "_", &whole[at + 1..]].concat();
                assert_ne!(Checksum::of(whole), Checksum::of(&changed), "{changed}");
            }
        }
    }

    #[test]
    fn last_member_with_the_same_key_counts() {
        let text = r#"{"b":"1","a":"2","swapped:b":"0000000a","b":"3","swapped:b":"0000000b"}"#;
        let record = AnnotationState::Text(Cow::Borrowed(text));
        let mut written = Vec::new();
        Originals::read(&record).push_quoted(&mut written);
        let written: String = serde_json::from_slice(&written).unwrap();
        assert_eq!(written, r#"{"a":"2","b":"3","swapped:b":"0000000b"}"#);
    }

    #[test]
    fn stray_checksum_makes_records_differ() {
        let [plain, stray] = [r#"{"a":"1"}"#, r#"{"a":"1","swapped:b":"0000000b"}"#]
            .map(|text| AnnotationState::Text(Cow::Borrowed(text)));
        assert_ne!(Originals::read(&plain), Originals::read(&stray));
    }

    #[test]
    fn length_of_value_is_exact() {
        let text = r#"{"a":"1","b"c":"2
","swapped:a":"0000000a","swapped:b"c":"0000000b"}"#;
        let record = AnnotationState::Text(Cow::Borrowed(text));
        let originals = Originals::read(&record);
        let mut written = Vec::new();
        originals.push_quoted(&mut written);
        let written: String = serde_json::from_slice(&written).unwrap();
        assert_eq!(originals.len(), written.len());
        assert!(originals.len_at_most() >= written.len());
    }
}
