//! Files without the edits of image-swap.

use image_swap_text::{encoding::Encoding, json::edit, toml};

use crate::{
    files::{HostFile, HostPath},
    ledger::{OriginalFile, WrittenFile},
};

/// The restored form of a file that image-swap wrote.
pub(crate) enum RestoredFile {
    /// The file did not exist before.
    Remove,
    /// The file had other content before.
    Write {
        /// The file without the edits.
        file: HostFile,
        /// Values of image-swap that another tool changed, and that stay.
        left: Vec<String>,
    },
    /// The edits cannot be separated from other content; contains the reason.
    Stays(String),
}

/// Returns the file `now` at `path` without the edits that were `written`.
pub(crate) fn revert(path: &HostPath, written: &WrittenFile, now: &HostFile) -> RestoredFile {
    if written.has_content(&now.bytes) {
        return match written.before.file() {
            None => RestoredFile::Remove,
            Some(file) => RestoredFile::Write { file, left: Vec::new() },
        };
    }
    let is = |ends: &[&str]| ends.iter().any(|end| path.as_str().ends_with(end));
    if !is(&[".toml", ".conf", ".json"]) {
        return RestoredFile::Stays(
            "the edits of image-swap cannot be identified in it".to_owned(),
        );
    }
    let before = written.before.file().map(|file| file.bytes).unwrap_or_default();
    let after = written.contents.last().map(crate::LedgerBytes::get).unwrap_or_default();
    // TOML has one encoding.
    let text = |bytes: &[u8]| {
        let decoded = Encoding::decode(bytes);
        decoded.filter(|(encoding, _)| *encoding == Encoding::Utf8 || is(&[".json"]))
    };
    let (Some((_, before)), Some((_, after)), Some((encoding, text))) =
        (text(&before), text(&after), text(&now.bytes))
    else {
        return RestoredFile::Stays("it is not text".to_owned());
    };
    let text = text.as_str();
    let without = if is(&[".json"]) {
        edit::without(&before, &after, text)
            .map(|(text, left)| (edit::is_empty(&text), text, left))
            .map_err(|error| error.to_string())
    } else {
        let shown = |left: Vec<toml::Path>| left.iter().map(|path| toml::shown(path)).collect();
        toml::revert(&before, &after, text)
            .map(|it| (it.text.trim().is_empty(), it.text, shown(it.left)))
            .map_err(|error| error.to_string())
    };
    match without {
        Err(reason) => RestoredFile::Stays(reason),
        Ok((true, ..)) if matches!(written.before, OriginalFile::Absent) => RestoredFile::Remove,
        Ok((_, text, left)) => {
            let bytes = encoding.encode(&text);
            RestoredFile::Write { file: HostFile { bytes, mode: now.mode, owner: now.owner }, left }
        }
    }
}
