//! Entries of the list `files`.

use image_swap_text::base64;
use serde_json::{Value, json};

use crate::render::bootstrap::has_template_mark;

/// The largest number of characters of a `content`, by `v1beta2` of kubeadm's bootstrap provider.
pub(super) const CONTENT_MAX: usize = 10_240;
/// The largest number of bytes whose base64 form has at most [`CONTENT_MAX`] characters.
const ENCODED_MAX: usize = CONTENT_MAX / 4 * 3;

/// Returns the entry for a file with `text`. The content is base64 if a template would change it.
pub(super) fn entry(path: &str, mode: &str, text: &str) -> Value {
    let mut entry = json!({ "owner": "root:root", "path": path, "permissions": mode });
    if is_plain(text) {
        entry["content"] = json!(text);
    } else {
        entry["content"] = json!(base64::encode(text));
        entry["encoding"] = json!("base64");
    }
    entry
}

/// Returns true if providers pass `text` on unchanged. They indent it as a block of YAML, which ends
/// with one newline.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~'))
        && !has_template_mark(text)
        && !text.starts_with([' ', '\n'])
        && text.ends_with('\n')
        && !text.ends_with("\n\n")
}

/// Returns the entries for the script `text`: one, or several parts where its size requires it.
pub(super) fn parts(path: &str, text: &str) -> Vec<Value> {
    let plain = split(text, CONTENT_MAX).filter(|parts| parts.iter().all(|part| is_plain(part)));
    let parts = plain.unwrap_or_else(|| chunks(text));
    let several = parts.len() > 1;
    let numbered = |(number, part): (usize, &str)| {
        let path = if several { format!("{path}.{}", number + 1) } else { path.to_owned() };
        entry(&path, "0600", part)
    };
    parts.into_iter().enumerate().map(numbered).collect()
}

/// Splits `text` into parts of at most `size` bytes, which begin with a line that is not indented.
/// Returns `None` if that is impossible.
fn split(text: &str, size: usize) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > size {
        let starts = rest.match_indices('\n').map(|(at, _)| at + 1);
        let is_start = |at: &usize| !rest[*at..].starts_with([' ', '\t', '\n']);
        let at = starts.take_while(|at| *at <= size).filter(is_start).last()?;
        let (part, next) = rest.split_at(at);
        parts.push(part);
        rest = next;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    Some(parts)
}

/// Splits `text` into parts whose base64 form is not too long.
fn chunks(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut at = rest.len().min(ENCODED_MAX);
        while !rest.is_char_boundary(at) {
            at -= 1;
        }
        let (part, next) = rest.split_at(at);
        parts.push(part);
        rest = next;
    }
    parts
}
