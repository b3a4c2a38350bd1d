//! Base64 in the standard alphabet with padding (RFC 4648, section 4).

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
///
/// ```
/// use image_swap_text::base64::{decode, encode};
///
/// assert_eq!(encode("robot:s3cret"), "cm9ib3Q6czNjcmV0");
/// assert_eq!(decode("cm9ib3Q=").unwrap(), b"robot");
/// assert_eq!(decode("cm9ib3Q"), None);
/// ```
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Returns the bytes that `text` encodes; `None` if it is invalid. Blanks and missing padding are
/// invalid, too.
pub fn decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Appends `bytes` to `out` as base64, with the widest vectors of the processor.
pub fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    // The slice has the length of padded base64, so encoding cannot fail.
    let _ = ENGINE.encode_slice(bytes, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    use super::{decode, encode, push};

    #[test]
    fn bytes_of_any_length_are_encoded_correctly() {
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
