//! JSON Patches (RFC 6902), whose paths are JSON Pointers (RFC 6901).

use super::write::{push_escaped, push_number, push_plain, push_string};

/// A part of a JSON Pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Name of a member, which [`Patch`] escapes.
    Key(&'a str),
    /// Names of nested members with slashes between them. No name may need an escape.
    Keys(&'static str),
    /// An item of an array, counted from 0.
    Index(usize),
}

/// An operation with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a member that may be missing.
    Add,
    /// Sets an existing value.
    Replace,
}

impl Op {
    /// Returns the JSON of an operation up to its path, so that one copy writes it.
    const fn beginning(self) -> &'static str {
        match self {
            Self::Add => r#"{"op":"add","path":""#,
            Self::Replace => r#"{"op":"replace","path":""#,
        }
    }
}

/// A builder of a JSON Patch. Each method appends an operation to the text.
///
/// ```
/// use image_swap_text::json::patch::{Op, Patch, Segment};
///
/// let mut patch = Patch::default();
/// let path = [Segment::Keys("spec/containers"), Segment::Index(0), Segment::Key("image")];
/// patch.set(Op::Replace, &path, "h.io/nginx");
/// assert_eq!(
///     patch.finish(),
///     br#"[{"op":"replace","path":"/spec/containers/0/image","value":"h.io/nginx"}]"#
/// );
/// ```
#[derive(Debug, Default)]
pub struct Patch {
    out: Vec<u8>,
}

impl Patch {
    /// Returns an empty patch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// Returns true if there is no operation. An empty patch need not be sent.
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Sets `path` to the string `value`.
    pub fn set(&mut self, op: Op, path: &[Segment<'_>], value: &str) {
        self.set_with(op, path, |out| push_string(out, value));
    }

    /// Sets `path` to the string `value`, in which no character may need an escape.
    pub fn set_plain(&mut self, op: Op, path: &[Segment<'_>], value: &str) {
        self.set_with(op, path, |out| push_plain(out, value));
    }

    /// Sets `path` to the output of `value`, which must be one JSON value.
    pub fn set_with(&mut self, op: Op, path: &[Segment<'_>], value: impl FnOnce(&mut Vec<u8>)) {
        self.begin(op.beginning(), path);
        self.out.extend_from_slice(br#","value":"#);
        value(&mut self.out);
        self.out.push(b'}');
    }

    /// Removes the existing value at `path`.
    pub fn remove(&mut self, path: &[Segment<'_>]) {
        self.begin(r#"{"op":"remove","path":""#, path);
        self.out.push(b'}');
    }

    /// Returns the patch as JSON, an empty array without operations.
    pub fn finish(mut self) -> Vec<u8> {
        if self.out.is_empty() {
            self.out.push(b'[');
        }
        self.out.push(b']');
        self.out
    }

    /// Appends the separator, `beginning`, the path and its closing quote.
    #[inline]
    fn begin(&mut self, beginning: &str, path: &[Segment<'_>]) {
        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(beginning.as_bytes());
        for step in path {
            self.out.push(b'/');
            match step {
                Segment::Key(key) => push_key(&mut self.out, key),
                Segment::Keys(keys) => self.out.extend_from_slice(keys.as_bytes()),
                Segment::Index(index) => push_number(&mut self.out, *index),
            }
        }
        self.out.push(b'"');
    }
}

/// Appends a key to a pointer within a JSON string, with `~0` for `~` and `~1` for `/`.
fn push_key(out: &mut Vec<u8>, key: &str) {
    let mut rest = key.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'~' | b'/')) {
        push_escaped(out, &rest[..at]);
        out.extend_from_slice(if rest[at] == b'~' { b"~0" } else { b"~1" });
        rest = &rest[at + 1..];
    }
    push_escaped(out, rest);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Op, Patch, Segment};

    fn parsed(patch: Patch) -> Value {
        serde_json::from_slice(&patch.finish()).unwrap()
    }

    #[test]
    fn operations_are_written_as_in_rfc_6902() {
        let mut patch = Patch::default();
        patch.set(Op::Replace, &[Segment::Key("spec"), Segment::Index(10)], "a\"b");
        patch.set_with(Op::Add, &[Segment::Key("metadata")], |out| {
            out.extend_from_slice(b"{}");
        });
        patch.remove(&[Segment::Key("status")]);
        assert_eq!(
            parsed(patch),
            json!([
                {"op": "replace", "path": "/spec/10", "value": "a\"b"},
                {"op": "add", "path": "/metadata", "value": {}},
                {"op": "remove", "path": "/status"},
            ])
        );
    }

    #[test]
    fn slashes_tildes_and_quotes_in_keys_are_escaped() {
        let mut patch = Patch::default();
        patch.remove(&[Segment::Key("a/b~1~c"), Segment::Key("\"\\\n"), Segment::Key("")]);
        assert_eq!(parsed(patch), json!([{"op": "remove", "path": "/a~1b~01~0c/\"\\\n/"}]));
    }

    #[test]
    fn patch_without_operations_is_an_empty_array() {
        let patch = Patch::default();
        assert!(patch.is_empty());
        assert_eq!(parsed(patch), json!([]));
    }
}
