//! Reverse proxies in front of the lab's registry: public registries and mirrors.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Response, header};
use image_swap_testbed::Credentials;

use crate::{
    content::{Content, UPSTREAM},
    log::Request,
    server::{Answer, PendingAnswer, ReverseProxy, Serving, status},
};

/// The authentication that a mirror requires.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// No authentication.
    #[default]
    Anonymous,
    /// User name and password with every request.
    Basic(Credentials),
    /// A token of the mirror's token service, which requires user name and password.
    Bearer(Credentials),
}

/// The answers of a server to authenticated requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// Images of the registry.
    #[default]
    Serves,
    /// The status 404 for every manifest and blob.
    Missing,
    /// The given status for every request.
    Status(u16),
}

/// A running server on one or more ports. It ends when the value drops.
#[derive(Debug)]
pub struct RegistryServer {
    pub(crate) answers: State,
    pub(crate) _serving: Vec<Serving>,
}

impl RegistryServer {
    /// Sets the answers to later requests.
    pub fn set(&self, answers: Answers) {
        self.answers.set(answers);
    }
}

/// A handle of the current [`Answers`], which tests set and proxies read.
#[derive(Clone, Debug, Default)]
pub(crate) struct State(Arc<Mutex<Answers>>);

impl State {
    fn get(&self) -> Answers {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, answers: Answers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// Answers a request. `path` is its path in the lab's registry.
    fn answer(
        &self,
        content: &Content,
        request: Request,
        path: String,
        headers: HeaderMap,
    ) -> PendingAnswer {
        match self.get() {
            Answers::Status(code) => Box::pin(async move { status(code) }),
            Answers::Missing if request.is_pull() => Box::pin(async { status(404) }),
            _ => Box::pin(content.clone().fetch(request.method, path, headers)),
        }
    }
}

/// The proxy of a mirror.
pub(crate) struct MirrorProxy {
    pub(crate) content: Content,
    pub(crate) access: Access,
    pub(crate) answers: State,
}

/// Token that the token service issues.
const TOKEN: &str = "a-token-of-the-lab";
/// Path of the token service.
const SERVICE: &str = "/service/token";

impl ReverseProxy for MirrorProxy {
    fn answer(&self, request: Request, headers: HeaderMap) -> PendingAnswer {
        if let Some(answer) = self.auth_answer(&request) {
            return Box::pin(async { answer });
        }
        let path = request.path.clone();
        self.answers.answer(&self.content, request, path, headers)
    }
}

impl MirrorProxy {
    /// Returns the answer to an unauthenticated request or a token request; `None` if the request
    /// is for the registry.
    fn auth_answer(&self, request: &Request) -> Option<Answer> {
        let presented = request.authorization.as_deref();
        match &self.access {
            Access::Anonymous => None,
            Access::Basic(credentials) if presented == Some(&basic(credentials)) => None,
            Access::Basic(_) => Some(challenge("Basic realm=\"lab\"")),
            Access::Bearer(credentials) if request.path == SERVICE => Some(
                // Most token services have no OAuth endpoint for POST.
                if request.method != "GET" {
                    status(404)
                } else if presented == Some(&basic(credentials)) {
                    json(&format!("{{\"token\":\"{TOKEN}\",\"expires_in\":300}}"))
                } else {
                    status(401)
                },
            ),
            Access::Bearer(_) if presented == Some(&format!("Bearer {TOKEN}")) => None,
            Access::Bearer(_) => {
                let Request { scheme, host, .. } = request;
                Some(challenge(&format!(
                    "Bearer realm=\"{scheme}://{host}{SERVICE}\",service=\"lab\",scope=\"{}\"",
                    scope(&request.path)
                )))
            }
        }
    }
}

/// The proxy of all public registries. Their images are below [`UPSTREAM`] in the lab's registry.
pub(crate) struct PublicProxy {
    pub(crate) content: Content,
    pub(crate) answers: State,
}

impl ReverseProxy for PublicProxy {
    fn answer(&self, request: Request, headers: HeaderMap) -> PendingAnswer {
        let host = if request.host == "registry-1.docker.io" { "docker.io" } else { &request.host };
        let path = match request.path.strip_prefix("/v2/") {
            None | Some("") => request.path.clone(),
            Some(rest) => format!("/v2/{UPSTREAM}/{host}/{rest}"),
        };
        self.answers.answer(&self.content, request, path, headers)
    }
}

/// Returns the `Authorization` header of a user.
fn basic(credentials: &Credentials) -> String {
    let Credentials { username, password } = credentials;
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Returns the token scope of a request for `path`, `repository:NAME:pull`; empty if it is not a
/// pull.
fn scope(path: &str) -> String {
    let name = path.strip_prefix("/v2/").unwrap_or_default();
    let end = ["/manifests/", "/blobs/"].iter().find_map(|part| name.find(part));
    end.map_or_else(String::new, |end| format!("repository:{}:pull", &name[..end]))
}

/// Returns a 401 with `challenge` in `WWW-Authenticate`.
fn challenge(challenge: &str) -> Answer {
    let mut answer = status(401);
    if let Ok(value) = header::HeaderValue::from_str(challenge) {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    answer
}

/// Returns a 200 with a JSON body.
fn json(text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
