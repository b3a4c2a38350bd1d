//! Redacts the credentials in texts of a host.

use image_swap_text::redact::without_userinfo;

/// The replacement of a credential.
const REDACTED: &str = "<redacted>";

/// Keys whose values are credentials, in whatever runtime's file.
const KEYS: [&str; 10] = [
    "authorization",
    "password",
    "username",
    "auth",
    "identitytoken",
    "identity_token",
    "registrytoken",
    "token",
    "secret",
    "proxy-authorization",
];

/// The lines of a text, fit to be shown.
pub(super) struct Redacted(Vec<String>);

impl Redacted {
    /// Splits `text` into lines without credentials and without any occurrence of `secrets`.
    /// Returns `None` if credentials cannot be located line by line.
    pub(super) fn new(text: &str, secrets: &[String]) -> Option<Self> {
        if text.contains("PRIVATE KEY") {
            return None;
        }
        let mut in_header = false;
        let lines = text.split('\n').map(|line| {
            let line = line.trim_end_matches('\r');
            if let Some(table) = table(line) {
                in_header = is_header(table);
            }
            let mut line =
                if in_header || line.split_once('=').is_some_and(|(key, _)| is_header(key)) {
                    without_value(line)?
                } else {
                    without_values(line)?
                };
            for secret in secrets.iter().filter(|secret| secret.len() >= 4) {
                line = line.replace(secret.as_str(), REDACTED);
            }
            Some(without_userinfo(&line).into_owned())
        });
        lines.collect::<Option<Vec<String>>>().map(Self)
    }

    /// Returns the line with this index, counted from 0; empty if there is none.
    pub(super) fn line(&self, line: usize) -> &str {
        self.0.get(line).map_or("", String::as_str)
    }
}

/// Returns the name of the table whose header is `line`.
fn table(line: &str) -> Option<&str> {
    let inner = line.trim_start().strip_prefix('[')?;
    Some(inner.rsplit_once(']').map_or(inner, |(name, _)| name))
}

/// Returns true if `keys`, with dots between them, lead into the headers of requests. Their names
/// may be any, and their values credentials.
fn is_header(keys: &str) -> bool {
    keys.split('.').any(|key| key.trim().trim_matches(['"', '\'']) == "header")
}

/// Returns `line` without its value; `None` if the value continues in the next line.
fn without_value(line: &str) -> Option<String> {
    let Some((key, value)) = line.split_once('=') else { return Some(line.to_owned()) };
    let value = value.trim();
    let ends = match value.chars().next() {
        Some('{') => value.contains('}'),
        _ => value_length(value).is_some(),
    };
    ends.then(|| [key.trim_end(), " = ", REDACTED].concat())
}

/// Redacts the values of [`KEYS`] in `line`; returns `None` if one continues in the next line.
fn without_values(line: &str) -> Option<String> {
    let lower = line.to_ascii_lowercase();
    let mut shown = String::new();
    let mut done = 0;
    while let Some((start, key)) = next_key(&lower, done) {
        let after = start + key;
        let rest = &line[after..];
        let skipped = rest.len() - rest.trim_start_matches(['"', '\'', ' ', '\t']).len();
        let rest = &rest[skipped..];
        let Some(value) = rest.strip_prefix(['=', ':']) else {
            shown.push_str(&line[done..after]);
            done = after;
            continue;
        };
        let blanks = value.len() - value.trim_start().len();
        let from = after + skipped + 1 + blanks;
        let length = value_length(&line[from..])?;
        shown.push_str(&line[done..from]);
        if length > 0 {
            shown.push_str(REDACTED);
        }
        done = from + length;
    }
    shown.push_str(&line[done..]);
    Some(shown)
}

/// Finds the next of [`KEYS`] in `line` as a whole word, starting at byte `from`.
fn next_key(line: &str, from: usize) -> Option<(usize, usize)> {
    let is_word = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    let bytes = line.as_bytes();
    let found = KEYS
        .iter()
        .flat_map(|key| line[from..].match_indices(key).map(move |(at, _)| (from + at, key.len())));
    let found = found.filter(|&(at, length)| {
        let before = at.checked_sub(1).is_some_and(|before| is_word(bytes[before]));
        let after = bytes.get(at + length).is_some_and(|&c| is_word(c));
        !before && !after
    });
    found.min()
}

/// Returns the length in bytes of the value at the start of `text`; `None` if it continues in the
/// next line. A table or mapping has length 0, because its own keys are redacted.
fn value_length(text: &str) -> Option<usize> {
    if ["\"\"\"", "'''", "|", ">"].iter().any(|start| text.starts_with(start)) {
        return None;
    }
    let end = match text.chars().next() {
        None | Some('{' | '#') => return Some(0),
        Some('[') => text.find(']').map(|at| at + 1)?,
        Some(quote @ ('"' | '\'')) => {
            let mut escaped = false;
            let end = text[1..].find(|c| {
                let ends = c == quote && !escaped;
                escaped = c == '\\' && quote == '"' && !escaped;
                ends
            });
            let end = end.map_or(text.len(), |at| at + 2);
            // YAML doubles a quote within quotes: the value continues after it.
            if text[end..].starts_with(quote) { end + value_length(&text[end..])? } else { end }
        }
        Some(_) => text.find([',', '}', '#']).unwrap_or(text.len()),
    };
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(line: &str, expected: &str) {
        assert_eq!(Redacted::new(line, &["s3cr3t".to_owned()]).unwrap().line(0), expected);
    }

    // guarantee: 6b
    #[test]
    fn values_of_credentials_are_not_shown() {
        shows("  Authorization = \"Basic cm9i\\\"b3Q=\" # c", "  Authorization = <redacted> # c");
        shows("Authorization = [\"Basic a\", 'b']", "Authorization = <redacted>");
        shows(
            "auth = { username = 'u', password = \"p\" }",
            "auth = { username = <redacted>, password = <redacted> }",
        );
        shows("      password: 'it''s'", "      password: <redacted>");
        shows(
            "{\"auths\":{\"h.io\":{\"auth\":\"cm9ib3Q=\"}}}",
            "{\"auths\":{\"h.io\":{\"auth\":<redacted>}}}",
        );
        shows("  password: plain", "  password: <redacted>");
        shows("server = \"https://u:p@h.io\"", "server = \"https://…@h.io\"");
        shows("comment s3cr3t", "comment <redacted>");
    }

    // guarantee: 6b
    #[test]
    fn values_of_headers_are_redacted() {
        shows("header = { x-team = \"abc\" }", "header = <redacted>");
        shows(
            "host.\"https://h.io\".header.x-team = [\"abc\"]",
            "host.\"https://h.io\".header.x-team = <redacted>",
        );
        let text = "[host.\"https://h.io\".header] # c\n  x-team = \"abc\"\n[host.\"https://k.io\"]\nca = \"c\"";
        let redacted = Redacted::new(text, &[]).unwrap();
        assert_eq!(redacted.line(1), "  x-team = <redacted>");
        assert_eq!(redacted.line(3), "ca = \"c\"");
        assert!(Redacted::new("[header]\nx = [\n 'abc']", &[]).is_none());
    }

    #[test]
    fn other_values_are_shown() {
        for line in
            ["[plugins.cri.registry.configs.\"h\".auth]", "oauth = 1", "auth:", "ca = \"ca.crt\""]
        {
            shows(line, line);
        }
    }

    // guarantee: 6b
    #[test]
    fn multi_line_values_hide_the_whole_text() {
        for text in [
            "password = \"\"\"\na\"\"\"",
            "password: |\n  a",
            "auth = [\n 'a']",
            "-----BEGIN PRIVATE KEY-----",
        ] {
            assert!(Redacted::new(text, &[]).is_none(), "{text}");
        }
    }
}
