//! Quoting, for the languages that files are written in.

/// What stands in place of a credential.
pub(super) const REDACTED: &str = "<redacted>";

/// The first line of every file: whose it is.
pub const MARKER: &str =
    "# Written by image-swap from the declared registry; changes are overwritten.\n";

/// `text` as a basic string of TOML, a double-quoted scalar of YAML and a string
/// of JSON: all three read JSON's escapes.
pub(super) fn quoted(text: &str) -> String {
    // JSON leaves DEL as it is; TOML has no place for it.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Texts, quoted and with commas.
pub(super) fn list(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.map(|text| quoted(&text)).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns user name and password as a mapping `auth` of YAML, indented by `indent`.
pub(super) fn auth((username, password): (&str, &str), indent: &str) -> String {
    let (username, password) = (quoted(username), quoted(password));
    format!("{indent}auth:\n{indent}  username: {username}\n{indent}  password: {password}\n")
}
