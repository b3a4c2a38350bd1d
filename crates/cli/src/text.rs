//! Texts of files: UTF-8, with or without a byte order mark.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

/// Standard input, as a file name.
pub(crate) const STDIN: &str = "-";

/// Returns true if `path` is [`STDIN`].
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

/// Reads the file `path`, or standard input.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if !is_stdin(path) {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The error of a file in UTF-16, with the remedy.
pub(crate) const UTF_16: &str = "the text is UTF-16; save it as UTF-8";

/// Returns true if `bytes` are a text in UTF-16, as PowerShell 5 writes it: with its byte order
/// mark, or without one if every other byte is zero.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    /// The number of examined characters: a YAML file or a map begins with ASCII.
    const LOOKED_AT: usize = 16;
    let pairs = || bytes.chunks_exact(2).take(LOOKED_AT);
    let all =
        |zero: usize| bytes.len() >= 4 && pairs().all(|it| it[zero] == 0 && it[1 - zero] != 0);
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || all(0) || all(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf_16_is_recognised_with_or_without_mark() {
        let utf_16 = |text: &str, to: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(to).collect()
        };
        for to in [u16::to_le_bytes as fn(u16) -> [u8; 2], u16::to_be_bytes] {
            assert!(is_utf16(&utf_16("kind: Pod\n", to)));
            assert!(is_utf16(&utf_16("\u{feff}ü", to)));
        }
        for text in ["", "a", "kind: Pod", "\u{feff}kind: Pod", "\0\0\0\0\0\0", "ab\0\0"] {
            assert!(!is_utf16(text.as_bytes()), "{text:?}");
        }
    }
}
