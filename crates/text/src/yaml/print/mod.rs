//! Block YAML of JSON values. Every reader takes its scalars for what they are.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use serde_json::Value;

/// Returns `value` as a document of block YAML, with the keys in their order.
///
/// ```
/// use image_swap_text::yaml::print;
///
/// let value = serde_json::json!({ "files": [{ "path": "/a", "permissions": "0600" }] });
/// assert_eq!(print(&value), "files:\n  - path: /a\n    permissions: \"0600\"\n");
/// ```
pub fn print(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                out.push_str(&scalar(key));
                out.push(':');
                append(value, 0, &mut out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push('-');
                append_item(item, 0, &mut out);
            }
        }
        other => {
            let _ = writeln!(out, "{other}");
        }
    }
    out
}

/// Appends `value` behind a key or a hyphen, whose column is `indent`.
fn append(value: &Value, indent: usize, out: &mut String) {
    let blank = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            for (key, value) in fields {
                let _ = write!(out, "{blank}  {}:", scalar(key));
                append(value, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                let _ = write!(out, "{blank}  -");
                append_item(item, indent + 2, out);
            }
        }
        Value::String(text) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.lines() {
                let _ =
                    if line.is_empty() { writeln!(out) } else { writeln!(out, "{blank}  {line}") };
            }
        }
        Value::String(text) => {
            let _ = writeln!(out, " {}", scalar(text));
        }
        other => {
            let _ = writeln!(out, " {other}");
        }
    }
}

/// Appends `item` behind a hyphen in the column `indent`. The first field is on the same line.
fn append_item(item: &Value, indent: usize, out: &mut String) {
    let Value::Object(fields) = item else { return append(item, indent, out) };
    if fields.is_empty() {
        out.push_str(" {}\n");
    }
    for (number, (key, value)) in fields.iter().enumerate() {
        let start = if number == 0 { " ".to_owned() } else { " ".repeat(indent + 2) };
        let _ = write!(out, "{start}{}:", scalar(key));
        append(value, indent + 2, out);
    }
}

/// Returns true if `text` has lines that a literal block keeps.
fn is_block(text: &str) -> bool {
    let is_kept = |it: char| it == '\n' || (' '..='~').contains(&it);
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && !text.trim_end_matches('\n').is_empty()
        && text.chars().all(is_kept)
}

/// Returns `text` as a scalar: plain if every reader takes it for a string, else quoted.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 12] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"];
    let is_plain = text.starts_with(|it: char| it.is_ascii_alphabetic() || it == '/')
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-/".contains(&it))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}
