//! Redaction of user names and passwords in texts: `user:password@host`.

use std::borrow::Cow;

/// Returns `text` with `…@` in place of everything that may be `user:password@`. The `@` of a
/// digest is kept.
///
/// ```
/// use image_swap_text::redact::without_userinfo;
///
/// assert_eq!(without_userinfo("https://robot:s3cret@h.io/d"), "https://…@h.io/d");
/// assert_eq!(without_userinfo("h.io/d@sha256:00"), "h.io/d@sha256:00");
/// ```
pub fn without_userinfo(text: &str) -> Cow<'_, str> {
    let mut shown = String::new();
    let mut done = 0;
    for (at, _) in text.match_indices('@') {
        if at < done || is_digest(&text[at + 1..]) {
            continue;
        }
        let before = &text[done..at];
        let item = before.rfind([',', '"', ' ', '\n']).map_or(0, |i| i + 1);
        let start = secret(before, item).unwrap_or(item);
        shown.push_str(&before[..start]);
        shown.push('…');
        done = at;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(&text[done..]);
    Cow::Owned(shown)
}

/// Returns the start of the secret in `text`, which ends before an `@`.
///
/// A password may contain a slash or a colon, so the secret begins after the scheme or a `::`. A
/// password may contain a comma, too: if the last item, from `item` on, has neither mark, the
/// secret begins in an earlier item.
fn secret(text: &str, item: usize) -> Option<usize> {
    let marks = ["://", "::"].iter();
    let marks = marks.filter_map(|mark| text[item..].rfind(mark).map(|i| item + i + mark.len()));
    marks.max().or_else(|| {
        let before = text[..item].trim_end().strip_suffix(',')?;
        secret(before, before.rfind([',', '"', '\n']).map_or(0, |i| i + 1))
    })
}

/// Returns the `user:password` of a URL or an address; `None` if it has none.
pub fn userinfo(text: &str) -> Option<&str> {
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let rest = &text[start..];
    let mut marks = rest.match_indices('@').map(|(at, _)| at);
    let end = marks.rfind(|at| !is_digest(&rest[at + 1..]))?;
    Some(&rest[..end]).filter(|found| !found.is_empty())
}

/// Returns true if `text` contains an `@` other than that of a digest.
pub fn has_userinfo(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| !is_digest(&text[at + 1..]))
}

/// Returns true if `target`, a URL or an address, may contain a user name or a password.
///
/// Marks of these are an `@` that does not begin a digest, and a colon in the host that does not
/// begin a port.
pub fn may_hold_secret(target: &str) -> bool {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    // `[::1]` has its colons inside brackets.
    let host = host.rsplit(']').next().unwrap_or_default();
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    has_userinfo(target) || host.split_once(':').is_some_and(|(_, port)| !is_port(port))
}

/// Returns true if `after`, the text after an `@`, begins with the algorithm of a digest.
pub fn is_digest(after: &str) -> bool {
    ["sha256:", "sha384:", "sha512:"].iter().any(|algorithm| after.starts_with(algorithm))
}

#[cfg(test)]
mod tests {
    use super::*;

    // guarantee: 6b
    #[test]
    fn user_and_password_are_not_shown() {
        for (text, shown) in [
            (
                "docker.io::https://u:p@h.io/d,gcr.io::h.io/g",
                "docker.io::https://…@h.io/d,gcr.io::h.io/g",
            ),
            ("docker.io::u:p/w@h.io/d", "docker.io::…@h.io/d"),
            ("a::h/x@sha256:00", "a::h/x@sha256:00"),
            ("u@h, v@h", "…@h, …@h"),
            ("a::https://u:p,w@h/x,b::h", "a::https://…@h/x,b::h"),
            ("a::u:p, ,w@h/x", "a::…@h/x"),
            ("a::h/d,b::u:p@h", "a::h/d,b::…@h"),
            ("a::h/d\nu:p@h", "a::h/d\n…@h"),
            ("plain", "plain"),
        ] {
            assert_eq!(without_userinfo(text), shown);
        }
    }

    // guarantee: 6b
    #[test]
    fn partial_credential_is_recognised() {
        for text in [
            "https://robot:Sup3rSecret",
            "robot:Sup3r/Secret",
            "https://robot:123456",
            "robot:",
            "token@h.io/d",
            "https://[::1]:pw/d",
            "h.io/d@sha256",
        ] {
            assert!(may_hold_secret(text), "{text}");
        }
        for text in [
            "https://h.io:5000/d",
            "h.io/d:1",
            "h.io/d@sha256:00",
            "[::1]:5000/d",
            "oci://h.io/d",
            "nohost/d",
            "",
        ] {
            assert!(!may_hold_secret(text), "{text}");
        }
    }

    // guarantee: 6b
    #[test]
    fn password_may_hold_any_character() {
        for (text, found) in [
            ("https://u:p/w \"x\"@h.io/d", Some("u:p/w \"x\"")),
            ("u:p@w@h.io/d", Some("u:p@w")),
            ("u:p@h.io/d@sha256:00", Some("u:p")),
            ("h.io/d@sha256:00", None),
            ("@h.io/d", None),
            ("h.io/d", None),
        ] {
            assert_eq!(userinfo(text), found, "{text}");
        }
    }
}
