//! The record of what a pod's images were called before.

use std::{borrow::Cow, collections::BTreeMap};

use super::pod::{Image, Record};
use crate::json::{Reader, push_nested_string};

/// Original images by [`Image::record_key`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Originals<'p>(BTreeMap<Cow<'p, str>, Cow<'p, str>>);

impl<'p> Originals<'p> {
    /// What the annotation says. One that is no JSON object says nothing, nor
    /// does an entry that is no text.
    pub(super) fn read(record: &'p Record<'_>) -> Self {
        let mut originals = Self::default();
        let Record::Text(text) = record else { return originals };
        let mut reader = Reader::new(text.as_bytes());
        let members = reader.members(|reader, key| {
            if let Some(image) = reader.text()? {
                originals.0.insert(String::from_utf8_lossy(key).into_owned().into(), image);
            }
            Ok(())
        });
        if members.and_then(|_| reader.end()).is_err() { Self::default() } else { originals }
    }

    /// Whether nothing is recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The original of `image`.
    pub(super) fn get(&self, image: &Image<'_>) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        self.0.get(&*image.record_key()?).map(|original| &**original)
    }

    /// Records the original of `image`, unless another image of that name has one.
    pub(super) fn record(&mut self, image: &'p Image<'_>, original: Cow<'p, str>) {
        if let Some(key) = image.record_key() {
            self.0.entry(key).or_insert(original);
        }
    }

    /// Writes the annotation's value: a JSON object as a JSON string.
    pub(super) fn push_quoted(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""{"#);
        for (index, (key, image)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            push_nested_string(out, key);
            out.push(b':');
            push_nested_string(out, image);
        }
        out.extend_from_slice(br#"}""#);
    }
}
