//! Texts with a byte order mark, UTF-16 included.

/// The encoding of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 without a byte order mark.
    Utf8,
    /// UTF-8 with a byte order mark.
    Marked,
    /// UTF-16, the lower byte first.
    LittleEndian,
    /// UTF-16, the higher byte first.
    BigEndian,
}

impl Encoding {
    /// Decodes a text by its byte order mark. Returns `None` if it is invalid in that encoding.
    ///
    /// ```
    /// use image_swap_text::encoding::Encoding;
    ///
    /// let (encoding, text) = Encoding::decode(b"\xff\xfe{\0}\0").unwrap();
    /// assert_eq!((encoding, &*text), (Encoding::LittleEndian, "{}"));
    /// assert_eq!(encoding.encode("[]"), b"\xff\xfe[\0]\0");
    /// ```
    pub fn decode(bytes: &[u8]) -> Option<(Self, String)> {
        let sixteen = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        };
        Some(match bytes {
            [0xef, 0xbb, 0xbf, rest @ ..] => (Self::Marked, utf8(rest)?),
            [0xff, 0xfe, rest @ ..] => (Self::LittleEndian, sixteen(rest, u16::from_le_bytes)?),
            [0xfe, 0xff, rest @ ..] => (Self::BigEndian, sixteen(rest, u16::from_be_bytes)?),
            bytes => (Self::Utf8, utf8(bytes)?),
        })
    }

    /// Returns `text` in this encoding, with its byte order mark.
    pub fn encode(self, text: &str) -> Vec<u8> {
        let sixteen = |mark: [u8; 2], bytes: fn(u16) -> [u8; 2]| {
            mark.into_iter().chain(text.encode_utf16().flat_map(bytes)).collect()
        };
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Marked => [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(),
            Self::LittleEndian => sixteen([0xff, 0xfe], u16::to_le_bytes),
            Self::BigEndian => sixteen([0xfe, 0xff], u16::to_be_bytes),
        }
    }
}

fn utf8(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_keep_their_encoding() {
        use Encoding::{BigEndian, LittleEndian, Marked, Utf8};
        for encoding in [Utf8, Marked, LittleEndian, BigEndian] {
            for text in ["", "{\"ü\": \"\u{1f600}\"}"] {
                let bytes = encoding.encode(text);
                assert_eq!(Encoding::decode(&bytes), Some((encoding, text.to_owned())));
            }
        }
        assert_eq!(Encoding::decode(b"\xff\xfe{"), None);
        assert_eq!(Encoding::decode(b"\xff"), None);
    }
}
