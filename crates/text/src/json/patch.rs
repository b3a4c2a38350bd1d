//! JSON Patches (RFC 6902), whose paths are JSON Pointers (RFC 6901).

use super::write::{push_escaped, push_number, push_plain, push_string};

/// A part of a JSON Pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// The name of a member, which is escaped when it is written.
    Key(&'a str),
    /// Names of members below one another with slashes between them. None needs an escape.
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
    /// Returns the beginning of an operation, up to its path: one copy in place of three.
    const fn beginning(self) -> &'static str {
        match self {
            Self::Add => r#"{"op":"add","path":""#,
            Self::Replace => r#"{"op":"replace","path":""#,
        }
    }
}

/// A patch, written as operations are added.
#[derive(Debug, Default)]
pub struct Patch {
    out: Vec<u8>,
}

impl Patch {
    /// Returns an empty patch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// True if there is no operation: an empty patch is best not sent.
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Sets `path` to the string `value`.
    pub fn set(&mut self, op: Op, path: &[Segment<'_>], value: &str) {
        self.set_with(op, path, |out| push_string(out, value));
    }

    /// Sets `path` to the string `value`. The caller guarantees that nothing in it needs an escape.
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

    /// Returns the patch as JSON.
    pub fn finish(mut self) -> Vec<u8> {
        if self.out.is_empty() {
            self.out.push(b'[');
        }
        self.out.push(b']');
        self.out
    }

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

/// Appends a key to a pointer within a JSON string: `~` is `~0` and `/` is `~1`.
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
    fn each_operation_is_written_as_the_rfc_has_it() {
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
    fn a_patch_without_operations_is_an_empty_array() {
        let patch = Patch::default();
        assert!(patch.is_empty());
        assert_eq!(parsed(patch), json!([]));
    }
}
