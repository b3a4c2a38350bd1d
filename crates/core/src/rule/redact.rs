//! Sources, targets and lines of rules, without credentials.

use std::borrow::Cow;

use image_swap_text::redact::{has_userinfo, may_hold_secret, without_userinfo};

/// Returns a source or a target for a message: `…` if it may contain a credential.
pub fn rule_text(text: &str) -> Cow<'_, str> {
    let is_url_with_secret = text.contains("://") && may_hold_secret(text);
    if is_url_with_secret || has_userinfo(text) {
        return Cow::Borrowed("…");
    }
    without_userinfo(text)
}

/// Returns true if a line of a map or of a list may contain a credential, so that it is not
/// shown. Signs are an `@` that begins no digest, a comment directly after a text with one, or
/// a target that may contain one.
pub fn line_may_hold_secret(line: &str) -> bool {
    // A `#` after white space always begins a comment.
    let before = |(at, _): (usize, &str)| &line[..at];
    let ends_code = |code: &&str| code.is_empty() || code.ends_with(char::is_whitespace);
    let code = line.match_indices('#').map(before).find(ends_code).unwrap_or(line);
    let is_exposed = |item: &str| {
        let mut parts = item.rsplit("::").map(str::trim);
        let target = parts.next().filter(|target| item.contains("::") || target.contains("://"));
        target.is_some_and(may_hold_secret)
            || parts.any(|source| source.contains("://") && may_hold_secret(source))
    };
    has_userinfo(code) || code.split('#').next().unwrap_or_default().split(',').any(is_exposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    // guarantee: 6b
    #[test]
    fn lines_with_credentials_are_not_shown() {
        for line in [
            "docker.io::https://robot:Sup3rSecret#9@harbor.example.org/d",
            "docker.io::https://robot:Sup3rSecret#9",
            "gcr.io::h.io/g,docker.io::https://u:p w@h.io/d",
            "docker.io::u:p\"w@h.io/d",
            "https://robot:Sup3rSecret::@h.io/d",
            "docker.io::https://u:p::w@h.io/d",
        ] {
            assert!(line_may_hold_secret(line), "{line}");
        }
        for line in [
            "docker.io::h.io/d # joe@example.org knows",
            "# joe@example.org: https://u:p",
            "[EXACT]nginx:1.25::h.io/n:1@sha256:00,quay.io::http://h.io:5000/q",
            "docker.io:h.io/d",
            "noswap_wildcards::a,b",
        ] {
            assert!(!line_may_hold_secret(line), "{line}");
        }
    }
}
