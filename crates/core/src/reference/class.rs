//! Character classes of bytes, by table: one look-up instead of several comparisons.

/// `a-z` and `0-9`.
pub(super) const LOWER: u8 = 1;
/// Characters of a label of a host.
pub(super) const LABEL: u8 = 2;
/// Characters of a tag.
pub(super) const TAG: u8 = 4;
/// Characters by which a first component is a registry.
pub(super) const REGISTRY: u8 = 8;
/// Bytes beyond ASCII.
pub(super) const OTHER: u8 = 16;
/// `A-Z`.
pub(super) const UPPER: u8 = 32;

static CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0u8;
    while byte.is_ascii() {
        classes[byte as usize] = of_ascii(byte);
        byte += 1;
    }
    classes
};

const fn of_ascii(byte: u8) -> u8 {
    match byte {
        b'a'..=b'z' | b'0'..=b'9' => LOWER | LABEL | TAG,
        b'A'..=b'Z' => LABEL | TAG | REGISTRY | UPPER,
        b'-' => LABEL | TAG,
        b'_' => TAG,
        b'.' => TAG | REGISTRY,
        b':' => REGISTRY,
        _ => 0,
    }
}

/// Returns the classes of `byte`, one bit each.
pub(super) fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Returns the length of the longest prefix of `bytes` that is of `class`.
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&byte| self::class(byte) & class == 0).unwrap_or(bytes.len())
}
