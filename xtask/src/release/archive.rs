//! Archives that depend on their content alone.

use std::io::Write as _;

use anyhow::Result;
use flate2::{Compression, write::GzEncoder};
use image_swap_testbed::oci::Tar;

use super::Contents;

/// Returns the files, sorted and with one time and owner, as a compressed tar archive.
pub(super) fn compressed(files: &Contents) -> Result<Vec<u8>> {
    let mut tar = Tar::default();
    tar.tree(files)?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&tar.finish()?)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_depends_only_on_its_content() {
        let file = |content: &str| (0o644, content.as_bytes().to_vec());
        let files =
            Contents::from([("a/b/c".to_owned(), file("1")), ("a/d".to_owned(), file("2"))]);
        let once = compressed(&files).unwrap();
        assert_eq!(once, compressed(&files).unwrap());
        // RFC 1952: bytes 4 to 7 are the time.
        assert_eq!(once[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    }
}
