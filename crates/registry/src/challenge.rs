//! Authentication challenges in the header `WWW-Authenticate`.
//!
//! Source: RFC 9110, 11.6.1; distribution, `docs/spec/auth/token.md`.

use hyper::{HeaderMap, Uri, header::WWW_AUTHENTICATE};

/// A challenge of a known authentication scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token of a service.
    Bearer(TokenService),
}

/// A token service, with the parameters of its challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenService {
    /// URL of the service.
    pub(crate) realm: String,
    /// Name of the registry at the service.
    pub(crate) service: String,
    /// Permissions that the token needs; empty if the challenge contains none.
    pub(crate) scope: String,
}

/// Returns the challenges of known schemes in `headers`.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter();
    lines.filter_map(|line| line.to_str().ok()).filter_map(parse).collect()
}

/// Returns the first token service of the challenges in `headers`; `None` if there is none.
pub(crate) fn token_service(headers: &HeaderMap) -> Option<TokenService> {
    challenges(headers).into_iter().find_map(|challenge| match challenge {
        Challenge::Bearer(service) => Some(service),
        Challenge::Basic => None,
    })
}

impl TokenService {
    /// Returns the URL of the service; `None` if the realm is not an absolute URL.
    pub(crate) fn url(&self) -> Option<Uri> {
        self.realm.parse().ok().filter(|url: &Uri| url.authority().is_some())
    }

    /// Returns path and query of a token request for `scope`; `None` if the service is not at
    /// `scheme://domain`.
    pub(crate) fn path_on(&self, scheme: &str, domain: &str, scope: &str) -> Option<String> {
        let url = self.url()?;
        let host = url.authority()?.as_str();
        if (url.scheme_str(), host) != (Some(scheme), domain) {
            return None;
        }
        let own = url.query().filter(|query| !query.is_empty());
        let own = own.map_or(String::new(), |query| [query, "&"].concat());
        let scope =
            if scope.is_empty() { String::new() } else { ["&scope=", &encode(scope)].concat() };
        Some(format!("{}?{own}service={}{scope}", url.path(), encode(&self.service)))
    }
}

/// Parses one header value; `None` if its scheme is unknown.
fn parse(line: &str) -> Option<Challenge> {
    let (scheme, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    let value = |name: &str| parameter(rest, name).unwrap_or_default();
    let (realm, service, scope) = (value("realm"), value("service"), value("scope"));
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then_some(Challenge::Bearer(TokenService { realm, service, scope }))
}

/// Returns the value of the parameter `name`, quoted or not; `None` if there is none.
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

/// Returns `text` with percent-encoding, for a query (RFC 3986, 2.1).
fn encode(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(line: &str) -> TokenService {
        let Some(Challenge::Bearer(service)) = parse(line) else { panic!("{line}") };
        service
    }

    #[test]
    fn challenges_of_registries_are_parsed() {
        let line =
            r#"Bearer realm="https://h.io/token",service="harbor, inc",scope="a:b:pull,push""#;
        let bearer = TokenService {
            realm: "https://h.io/token".into(),
            service: "harbor, inc".into(),
            scope: "a:b:pull,push".into(),
        };
        assert_eq!(parse(line), Some(Challenge::Bearer(bearer)));
        assert_eq!(parse("basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("Basic"), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
    }

    #[test]
    fn token_request_keeps_query_of_realm() {
        for (realm, path) in [
            ("https://h.io/token", "/token?service=a%20b&scope=repository%3Ax%3Apull"),
            ("https://h.io/token?x=y&z", "/token?x=y&z&service=a%20b&scope=repository%3Ax%3Apull"),
            ("https://h.io/t?", "/t?service=a%20b&scope=repository%3Ax%3Apull"),
        ] {
            let service = service(&format!("Bearer realm=\"{realm}\",service=\"a b\""));
            let found = service.path_on("https", "h.io", "repository:x:pull");
            assert_eq!(found.as_deref(), Some(path));
        }
    }

    // guarantee: 6a
    #[test]
    fn token_service_of_another_host_is_rejected() {
        let path = |realm: &str| {
            let challenge = format!(r#"Bearer realm="{realm}",service="harbor-registry",scope="""#);
            service(&challenge).path_on("https", "h.example.org", "")
        };
        assert_eq!(
            path("https://h.example.org/service/token").as_deref(),
            Some("/service/token?service=harbor-registry")
        );
        assert_eq!(
            path("https://h.example.org/t?a=b").as_deref(),
            Some("/t?a=b&service=harbor-registry")
        );
        for other in [
            "https://h.example.org.evil/service/token",
            "https://h.example.org@evil/service/token",
            "https://h.example.org:8443/service/token",
            "http://h.example.org/service/token",
            "https://auth.example.org/token",
            "",
        ] {
            assert_eq!(path(other), None, "{other}");
        }
    }
}
