//! `WWW-Authenticate`: what a registry wants to be shown.
//!
//! Source: RFC 9110, 11.6.1; distribution, `docs/spec/auth/token.md`.

/// One challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from a service.
    Bearer {
        /// The URL of the service.
        realm: String,
        /// Its name of the registry.
        service: String,
        /// What the token has to be for.
        scope: String,
    },
}

impl Challenge {
    /// Reads the value of one header; `None`: a scheme that nothing is known of.
    pub fn read(line: &str) -> Option<Self> {
        let (scheme, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |name: &str| parameter(rest, name).unwrap_or_default();
        Some(Self::Bearer {
            realm: value("realm"),
            service: value("service"),
            scope: value("scope"),
        })
    }
}

/// The value of `name="value"` among parameters with commas between.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',', '\t']);
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value.to_owned());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_as_registries_write_it() {
        let line =
            r#"Bearer realm="https://h.io/token",service="harbor, inc",scope="a:b:pull,push""#;
        let bearer = Challenge::Bearer {
            realm: "https://h.io/token".into(),
            service: "harbor, inc".into(),
            scope: "a:b:pull,push".into(),
        };
        assert_eq!(Challenge::read(line), Some(bearer));
        assert_eq!(Challenge::read("basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::read("Basic"), Some(Challenge::Basic));
        assert_eq!(Challenge::read("Negotiate"), None);
    }
}
