//! YAML whose texts of several lines are literal blocks, for people who review it in Git.

use std::fmt::Write as _;

use crate::render::quote::quoted;

/// A value to print.
#[derive(Clone, Debug)]
pub(super) enum Yaml {
    /// A text.
    Text(String),
    /// A boolean.
    Bool(bool),
    /// A sequence, not empty.
    List(Vec<Self>),
    /// A mapping, not empty, in its order.
    Map(Vec<(String, Self)>),
}

/// Returns a mapping.
pub(super) fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Yaml)>) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Returns true if `text` can be a literal block: printable lines of ASCII, each with an end, the
/// first of them not indented.
pub(super) fn is_literal(text: &str) -> bool {
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\t', '\n'])
        && text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~'))
}

impl Yaml {
    /// Returns a text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Prints the value as a document.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Text(_) | Self::Bool(_) => self.inline(&mut out, 0),
            _ => self.block(&mut out, 0),
        }
        out
    }

    /// Prints the entries of a list or mapping, each on lines indented by `indent`, except for the
    /// first line.
    fn block(&self, out: &mut String, indent: usize) {
        match self {
            Self::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    margin(out, number, indent);
                    out.push_str("- ");
                    match item {
                        Self::Text(_) | Self::Bool(_) => item.inline(out, indent),
                        _ => item.block(out, indent + 2),
                    }
                }
            }
            Self::Map(entries) => {
                for (number, (key, value)) in entries.iter().enumerate() {
                    margin(out, number, indent);
                    let is_plain =
                        |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
                    let key = if key.bytes().all(is_plain) { key.clone() } else { quoted(key) };
                    let _ = write!(out, "{key}:");
                    match value {
                        Self::Text(_) | Self::Bool(_) => {
                            out.push(' ');
                            value.inline(out, indent);
                        }
                        Self::List(_) => {
                            let _ = write!(out, "\n{:indent$}", "");
                            value.block(out, indent);
                        }
                        Self::Map(_) => {
                            let indent = indent + 2;
                            let _ = write!(out, "\n{:indent$}", "");
                            value.block(out, indent);
                        }
                    }
                }
            }
            Self::Text(_) | Self::Bool(_) => self.inline(out, indent),
        }
    }

    /// Prints a scalar after its key, whose line is indented by `indent`.
    fn inline(&self, out: &mut String, indent: usize) {
        match self {
            Self::Bool(value) => {
                let _ = writeln!(out, "{value}");
            }
            Self::Text(text) if is_literal(text) && text.len() > 1 => {
                let indent = indent + 2;
                out.push_str("|\n");
                for line in text.lines() {
                    let indent = if line.is_empty() { 0 } else { indent };
                    let _ = writeln!(out, "{:indent$}{line}", "");
                }
            }
            Self::Text(text) if is_plain(text) => {
                let _ = writeln!(out, "{text}");
            }
            Self::Text(text) => {
                let _ = writeln!(out, "{}", quoted(text));
            }
            Self::List(_) | Self::Map(_) => self.block(out, indent),
        }
    }
}

/// Indents the entry `number` of a list or mapping. The caller has indented the first one.
fn margin(out: &mut String, number: usize, indent: usize) {
    if number > 0 {
        let _ = write!(out, "{:indent$}", "");
    }
}

/// Returns true if YAML reads `text` without quotes as this text.
fn is_plain(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'/');
    let is_word = |word: &&str| text.eq_ignore_ascii_case(word);
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    first && text.bytes().all(is_inner) && !words.iter().any(|word| is_word(&word))
}
