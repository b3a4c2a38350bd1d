//! Texts of every kind, with positions: JSON and YAML, JSON Patches, base64, and messages without
//! credentials. The crate knows nothing of images and does no I/O.
//!
//! - [`json`] reads JSON on demand and writes strings, numbers and JSON Patches.
//! - [`yaml`] reads YAML and JSON into a tree that knows the bytes of every node.
//! - [`position`], [`base64`] and [`redact`] serve all of them.
//! - The features `toml`, `jsonc` and `diff`, for files of hosts, add byte-exact edits of TOML and
//!   JSON, encodings with a byte order mark, and unified diffs.
//!
//! # Checks that the JSON reader leaves out
//!
//! [`json::JsonReader`] validates the objects and arrays that its caller enters, and the values that
//! its caller takes. Of a value that it skips, brackets balance in number and strings end. It does
//! not check:
//!
//! - commas, colons, words, numbers and the kind of each bracket inside a skipped value;
//! - escapes, control characters and UTF-8 in a skipped string;
//! - escapes, control characters and UTF-8 in a member's name, and in a string that is read for a
//!   comparison: an invalid one equals no valid one;
//! - duplicate names: each member is passed on;
//! - depth.
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
