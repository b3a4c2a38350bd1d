//! Base64 in the standard alphabet, padded.

use std::sync::LazyLock;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::engine::GeneralPurpose as Fastest;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::Simd as Fastest;
use base64::{
    Engine as _,
    engine::general_purpose::{PAD, STANDARD},
};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<Fastest> = LazyLock::new(|| Fastest::standard(PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: LazyLock<Fastest> = LazyLock::new(|| Fastest::new(&base64::alphabet::STANDARD, PAD));

/// Returns `bytes` as base64.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Returns the bytes of `text`; `None` if it is invalid, which blanks and missing padding are too.
pub fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Appends `bytes` to `out` as base64, by the widest vectors that the processor has.
pub fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // It fits: the length is that of padded base64.
    let _ = ENGINE.encode_slice(bytes, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::{decode, encode, push};

    #[test]
    fn bytes_of_any_length_are_written_as_everywhere() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2000).map(|byte: u8| byte ^ 0x5A).collect();
        for length in 0..bytes.len() {
            let mut out = b"before".to_vec();
            push(&mut out, &bytes[..length]);
            let expected = format!("before{}", BASE64_STANDARD.encode(&bytes[..length]));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn invalid_base64_is_rejected() {
        assert_eq!(decode(encode([0xFF; 4])).unwrap(), [0xFF; 4]);
        for text in ["/////w", "/////w=", "_____w==", "/////w==\n", " /////w=="] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
