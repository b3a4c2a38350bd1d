//! Texts in JSON, YAML and TOML with positions, JSON Patches, base64, and redaction of credentials.
//! The crate is independent of images and does no I/O.
//!
//! - [`json`] reads JSON on demand and writes strings, numbers and JSON Patches.
//! - [`yaml`] reads YAML and JSON into a tree that knows the bytes of every node.
//! - [`position`], [`base64`] and [`redact`] are used with all formats.
//! - The features `toml`, `jsonc` and `diff`, for files of hosts, add byte-exact edits of TOML and
//!   JSON, encodings with a byte order mark, and unified diffs.
//!
//! # Checks that the JSON reader leaves out
//!
//! [`json::JsonReader`] validates the objects and arrays that its caller enters, and the values
//! that its caller takes. In a skipped value it checks only that the numbers of opening and closing
//! brackets are equal, and that strings end. The reader does not check:
//!
//! - commas, colons, words, numbers and the kind of each bracket inside a skipped value
//! - escapes, control characters and UTF-8 in a skipped string
//! - escapes, control characters and UTF-8 in a member's name, and in a string that is read for a
//!   comparison, where an invalid string equals no valid one
//! - duplicate names, which are all passed to the caller
//! - depth
//!
//! Every valid JSON text is read correctly. Other texts need a program that validates them first.

pub mod base64;
#[cfg(feature = "diff")]
pub mod diff;
#[cfg(feature = "jsonc")]
pub mod encoding;
pub mod json;
pub mod position;
pub mod redact;
#[cfg(feature = "toml")]
pub mod toml;
pub mod yaml;
