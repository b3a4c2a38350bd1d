//! Writing JSON Patches (RFC 6902) whose paths are JSON Pointers (RFC 6901).

use crate::json::{self, push_string};

/// One step of a JSON Pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A member of an object, by its name as it is: escaping is done here.
    Key(&'a str),
    /// Members below one another, by names that nothing in needs to be escaped,
    /// with slashes between them.
    Keys(&'static str),
    /// An item of an array, counted from 0.
    Index(usize),
}

/// What is done at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a member, whether it is there or not.
    Add,
    /// Sets what must be there.
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

/// A patch, written as it grows.
#[derive(Debug, Default)]
pub struct Patch {
    out: Vec<u8>,
}

impl Patch {
    /// An empty patch with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// Whether nothing has been written: an empty patch is best not sent.
    pub const fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// Sets `path` to the string `value`.
    pub fn set(&mut self, op: Op, path: &[Step<'_>], value: &str) {
        self.set_with(op, path, |out| push_string(out, value));
    }

    /// Sets `path` to a string in which nothing has to be escaped, and which is not looked
    /// at for it.
    pub(crate) fn set_plain(&mut self, op: Op, path: &[Step<'_>], value: &str) {
        self.set_with(op, path, |out| json::push_plain(out, value));
    }

    /// Sets `path` to what `value` writes, which must be one JSON value.
    pub fn set_with(&mut self, op: Op, path: &[Step<'_>], value: impl FnOnce(&mut Vec<u8>)) {
        self.begin(op.beginning(), path);
        self.out.extend_from_slice(br#","value":"#);
        value(&mut self.out);
        self.out.push(b'}');
    }

    /// Removes `path`, which must be there.
    pub fn remove(&mut self, path: &[Step<'_>]) {
        self.begin(r#"{"op":"remove","path":""#, path);
        self.out.push(b'}');
    }

    /// The patch as JSON.
    pub fn finish(mut self) -> Vec<u8> {
        if self.out.is_empty() {
            self.out.push(b'[');
        }
        self.out.push(b']');
        self.out
    }

    #[inline]
    fn begin(&mut self, beginning: &str, path: &[Step<'_>]) {
        self.out.push(if self.out.is_empty() { b'[' } else { b',' });
        self.out.extend_from_slice(beginning.as_bytes());
        for step in path {
            self.out.push(b'/');
            match step {
                Step::Key(key) => push_key(&mut self.out, key),
                Step::Keys(keys) => self.out.extend_from_slice(keys.as_bytes()),
                Step::Index(index) => json::push_number(&mut self.out, *index),
            }
        }
        self.out.push(b'"');
    }
}

/// A key within a pointer within a JSON string: `~` is `~0` and `/` is `~1`.
fn push_key(out: &mut Vec<u8>, key: &str) {
    let mut rest = key.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'~' | b'/')) {
        json::push_escaped(out, &rest[..at]);
        out.extend_from_slice(if rest[at] == b'~' { b"~0" } else { b"~1" });
        rest = &rest[at + 1..];
    }
    json::push_escaped(out, rest);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Op, Patch, Step};

    fn parsed(patch: Patch) -> Value {
        serde_json::from_slice(&patch.finish()).unwrap()
    }

    #[test]
    fn each_operation_is_written_as_the_rfc_has_it() {
        let mut patch = Patch::default();
        patch.set(Op::Replace, &[Step::Key("spec"), Step::Index(10)], "a\"b");
        patch.set_with(Op::Add, &[Step::Key("metadata")], |out| out.extend_from_slice(b"{}"));
        patch.remove(&[Step::Key("status")]);
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
        patch.remove(&[Step::Key("a/b~1~c"), Step::Key("\"\\\n"), Step::Key("")]);
        assert_eq!(parsed(patch), json!([{"op": "remove", "path": "/a~1b~01~0c/\"\\\n/"}]));
    }

    #[test]
    fn a_patch_without_operations_is_an_empty_array() {
        let patch = Patch::default();
        assert!(patch.is_empty());
        assert_eq!(parsed(patch), json!([]));
    }
}
