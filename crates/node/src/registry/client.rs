//! The questions.

use std::collections::BTreeMap;

use super::{
    connection::{Answer, Tls, Trust, ask},
    error::Error,
};
use hyper::{HeaderMap, Method, Uri, header::WWW_AUTHENTICATE};
use image_swap_core::{
    declaration::{Declaration, Registry},
    registry::Challenge,
};
use tokio::runtime;

use crate::Contact;

/// A registry, and what was declared of it. Questions block.
pub struct Client {
    domain: String,
    trust: Trust,
    /// Headers of every request, of the host's own files.
    headers: BTreeMap<String, String>,
    /// `Basic …`, where a credential was declared and may be sent.
    basic: Option<String>,
    runtime: runtime::Runtime,
}

/// How a registry wants to be authenticated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schemes {
    /// Not at all.
    Open,
    /// By name and password with every request, whatever else it takes.
    Basic,
    /// By a token alone.
    Tokens,
}

/// The result of a request to a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// The registry serves the client.
    Yes,
    /// The registry requires a credential, or refuses the one that was sent.
    Unauthorized,
    /// The answer is inconclusive: the reason.
    Unknown(String),
}

/// What a registry has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A manifest with this digest.
    Has(String),
    /// Nothing.
    HasNot,
    /// It does not say: in words.
    Untold(String),
}

impl Client {
    /// The registry at `domain`, with what `declaration` says of it.
    ///
    /// # Errors
    /// The machine refuses to wait for sockets.
    pub fn new(
        declaration: &Declaration,
        domain: &str,
        header_over_http: bool,
    ) -> std::io::Result<Self> {
        let contact = Contact { host: domain.to_owned(), ..Contact::default() };
        Self::of(declaration, contact, header_over_http)
    }

    /// Returns a client that adds the settings of `contact` to those of `declaration`, as the
    /// runtime of a node does.
    ///
    /// # Errors
    /// If the machine refuses to wait for sockets.
    pub fn of(
        declaration: &Declaration,
        contact: Contact,
        header_over_http: bool,
    ) -> std::io::Result<Self> {
        let Contact { host, authorities, client, skip_verify, mut headers, users_log_in } = contact;
        let domain = host.as_str();
        let mirrors = declaration.mirrors();
        let registry = declaration.registry.as_ref().filter(|found| found.covers(domain));
        let plain = mirrors.scheme(domain) == "http";
        let declared = registry.map(|registry| registry.ca.pem().as_bytes().to_vec());
        let tls = Tls {
            authorities: authorities.into_iter().chain(declared).collect(),
            skip_verify: skip_verify || registry.is_some_and(|registry| registry.insecure),
            client,
        };
        let trust = if plain { Trust::Plain } else { Trust::Tls(tls) };
        let sends = (!plain || header_over_http) && !users_log_in;
        let basic = registry.filter(|_| sends).and_then(basic);
        let is_authorization = |name: &str| name.eq_ignore_ascii_case("authorization");
        let kept = headers.extract_if(.., |name, _| is_authorization(name)).next();
        let basic = basic.or(kept.map(|(_, value)| value));
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { domain: host, trust, headers, basic, runtime })
    }

    /// What it wants to be shown before it answers anything.
    ///
    /// # Errors
    /// Nobody answers as a registry does.
    pub fn schemes(&self) -> Result<Schemes, Error> {
        let answer = self.ask(Method::GET, "/v2/", None)?;
        let found = challenges(&answer.headers);
        match answer.status {
            200 => Ok(Schemes::Open),
            401 if found.contains(&Challenge::Basic) => Ok(Schemes::Basic),
            // Harbor takes both, and says so of tokens alone: see what it does.
            401 if !found.is_empty() => match &self.basic {
                Some(basic) => match self.ask(Method::GET, "/v2/", Some(basic))?.status {
                    200 => Ok(Schemes::Basic),
                    _ => Ok(Schemes::Tokens),
                },
                None => Ok(Schemes::Tokens),
            },
            status => Err(self.unexpected("/v2/", status)),
        }
    }

    /// Finds out whether the registry serves this client, by the root of its API. Some token
    /// services give anonymous clients a token for a repository only: `repository` is one.
    ///
    /// # Errors
    /// If it cannot be reached, its certificate is not trusted, or it fails.
    pub fn serves(&self, repository: &str) -> Result<Serves, Error> {
        let answer = self.ask(Method::GET, "/v2/", self.basic.as_deref())?;
        match answer.status {
            200..=299 => Ok(Serves::Yes),
            401 => {
                let bearer =
                    challenges(&answer.headers).into_iter().find_map(|found| match found {
                        Challenge::Bearer { realm, service, .. } => Some((realm, service)),
                        Challenge::Basic => None,
                    });
                let Some((realm, service)) = bearer else { return Ok(Serves::Unauthorized) };
                if !self.is_own(&realm) {
                    return Ok(Serves::Unknown(format!(
                        "it gives tokens at {realm}, where its credential is not sent"
                    )));
                }
                let scope = format!("repository:{repository}:pull");
                let scopes: &[&str] = if self.basic.is_some() { &[""] } else { &["", &scope] };
                for scope in scopes {
                    if self.token(&realm, &service, scope)?.is_ok() {
                        return Ok(Serves::Yes);
                    }
                }
                Ok(Serves::Unauthorized)
            }
            403 => Ok(Serves::Unauthorized),
            status @ 500.. => Err(self.unexpected("/v2/", status)),
            status => Ok(Serves::Unknown(format!("it answers {status} to /v2/"))),
        }
    }

    /// Returns what it has as `repository`, under a tag or a digest.
    ///
    /// # Errors
    /// Nobody answers as a registry does.
    pub fn manifest(&self, repository: &str, identifier: &str) -> Result<Place, Error> {
        let path = format!("/v2/{repository}/manifests/{identifier}");
        let mut answer = self.ask(Method::HEAD, &path, self.basic.as_deref())?;
        if answer.status == 401 {
            let bearer = challenges(&answer.headers).into_iter().find_map(|found| match found {
                Challenge::Bearer { realm, service, scope } => Some((realm, service, scope)),
                Challenge::Basic => None,
            });
            let Some((realm, service, scope)) = bearer else {
                return Ok(Place::Untold("the declared credential is refused".to_owned()));
            };
            let scope =
                if scope.is_empty() { format!("repository:{repository}:pull") } else { scope };
            match self.token(&realm, &service, &scope)? {
                Ok(token) => {
                    answer = self.ask(Method::HEAD, &path, Some(&["Bearer ", &token].concat()))?;
                }
                Err(why) => return Ok(Place::Untold(why)),
            }
        }
        let digest = answer.headers.get("docker-content-digest").and_then(|it| it.to_str().ok());
        Ok(match (answer.status, digest) {
            (200, Some(digest)) => Place::Has(digest.to_owned()),
            (200, None) => Place::Untold("it does not tell the digest".to_owned()),
            (404, _) => Place::HasNot,
            (401 | 403, _) => Place::Untold(format!("it answers {}", answer.status)),
            (status, _) => return Err(self.unexpected(&path, status)),
        })
    }

    /// A token, or why there is none.
    fn token(
        &self,
        realm: &str,
        service: &str,
        scope: &str,
    ) -> Result<Result<String, String>, Error> {
        let uri: Option<Uri> = realm.parse().ok();
        let Some(uri) = uri.filter(|uri| uri.authority().is_some()) else {
            return Ok(Err(format!("its token service is no URL: {realm}")));
        };
        if !self.is_own(realm) {
            return Ok(Err(format!(
                "its tokens are given at {realm}, which nothing is declared for"
            )));
        }
        let path = token_path(&uri, service, scope);
        let answer = self.ask(Method::GET, &path, self.basic.as_deref())?;
        let token: Option<Token> = serde_json::from_slice(&answer.body).ok();
        let token = token.and_then(|found| found.token.or(found.access_token));
        Ok(token.ok_or_else(|| format!("its token service answers {}", answer.status)))
    }

    /// True if the URL `realm` is of this registry.
    fn is_own(&self, realm: &str) -> bool {
        let scheme = if matches!(self.trust, Trust::Plain) { "http" } else { "https" };
        let uri: Option<Uri> = realm.parse().ok();
        uri.is_some_and(|uri| {
            let domain = uri.authority().map(hyper::http::uri::Authority::as_str);
            domain == Some(&self.domain) && uri.scheme_str() == Some(scheme)
        })
    }

    fn ask(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
    ) -> Result<Answer, Error> {
        let asked = ask(&self.domain, &self.trust, method, path, &self.headers, authorization);
        self.runtime.block_on(asked)
    }

    fn unexpected(&self, path: &str, status: u16) -> Error {
        Error::Unexpected { domain: self.domain.clone(), path: path.to_owned(), status }
    }
}

#[derive(serde::Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn basic(registry: &Registry) -> Option<String> {
    Some(["Basic ", &registry.basic()?].concat())
}

/// The challenges of an answer that we know something about.
fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter();
    lines.filter_map(|line| line.to_str().ok()).filter_map(Challenge::read).collect()
}

/// What is asked for at a token service: a realm may have a query of its own.
fn token_path(realm: &Uri, service: &str, scope: &str) -> String {
    let own = realm.query().filter(|query| !query.is_empty());
    let own = own.map_or(String::new(), |query| [query, "&"].concat());
    let path = realm.path();
    let scope =
        if scope.is_empty() { String::new() } else { ["&scope=", &encoded(scope)].concat() };
    format!("{path}?{own}service={}{scope}", encoded(service))
}

/// For a query.
fn encoded(text: &str) -> String {
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

    #[test]
    fn the_query_of_a_realm_is_part_of_what_is_asked() {
        for (realm, asked) in [
            ("https://h.io/token", "/token?service=a%20b&scope=repository%3Ax%3Apull"),
            ("https://h.io/token?x=y&z", "/token?x=y&z&service=a%20b&scope=repository%3Ax%3Apull"),
            ("https://h.io/t?", "/t?service=a%20b&scope=repository%3Ax%3Apull"),
        ] {
            assert_eq!(token_path(&realm.parse().unwrap(), "a b", "repository:x:pull"), asked);
        }
    }
}
