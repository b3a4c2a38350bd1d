//! Quoting of texts in configuration languages.

/// Replacement of a redacted credential.
pub(super) const REDACTED: &str = "<redacted>";

/// First line of every file, which identifies it as image-swap's.
pub const MARKER: &str =
    "# Written by image-swap from the declared registry; changes are overwritten.\n";

/// Returns `text` as a basic string of TOML, a double-quoted scalar of YAML and a string of
/// JSON. All three languages decode JSON's escapes.
pub(super) fn quoted(text: &str) -> String {
    // JSON does not escape DEL; TOML requires it.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Returns the quoted texts, separated by commas.
pub(super) fn list(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.map(|text| quoted(&text)).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns user name and password as a mapping `auth` of YAML, indented by `indent`.
pub(super) fn auth((username, password): (&str, &str), indent: &str) -> String {
    let (username, password) = (quoted(username), quoted(password));
    format!("{indent}auth:\n{indent}  username: {username}\n{indent}  password: {password}\n")
}
