//! What stands before the images: public registries, and mirrors of every kind.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Response, header};
use image_swap_testbed::Credentials;

use crate::{
    content::{Content, UPSTREAM},
    log::Request,
    server::{Answer, Answering, ReverseProxy, Serving, status},
};

/// Whom a mirror serves.
#[derive(Clone, Debug, Default)]
pub enum Access {
    /// Everyone.
    #[default]
    Anonymous,
    /// Who sends name and password with every request.
    Basic(Credentials),
    /// Who shows a token; name and password are for its token service alone.
    Bearer(Credentials),
}

/// What is done with those who are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answers {
    /// It serves its images.
    #[default]
    Serves,
    /// It knows no image.
    Missing,
    /// It answers everything with this status.
    Status(u16),
}

/// Running servers; they end when the value is dropped.
#[derive(Debug)]
pub struct RegistryServer {
    pub(crate) answers: State,
    pub(crate) _serving: Vec<Serving>,
}

impl RegistryServer {
    /// From now on it does that.
    pub fn set(&self, answers: Answers) {
        self.answers.set(answers);
    }
}

/// What is done from now on, for who says so and for who does it.
#[derive(Clone, Debug, Default)]
pub(crate) struct State(Arc<Mutex<Answers>>);

impl State {
    fn get(&self) -> Answers {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, answers: Answers) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// The answer to a request, `path` being where the content has what is asked for.
    fn answer(
        &self,
        content: &Content,
        request: Request,
        path: String,
        headers: HeaderMap,
    ) -> Answering {
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

/// The token that the token service gives.
const TOKEN: &str = "a-token-of-the-lab";
/// Where the token service is.
const SERVICE: &str = "/service/token";

impl ReverseProxy for MirrorProxy {
    fn answer(&self, request: Request, headers: HeaderMap) -> Answering {
        if let Some(refusal) = self.refusal(&request) {
            return Box::pin(async { refusal });
        }
        let path = request.path.clone();
        self.answers.answer(&self.content, request, path, headers)
    }
}

impl MirrorProxy {
    /// The answer to who is not let through, and to who asks for a token.
    fn refusal(&self, request: &Request) -> Option<Answer> {
        let shown = request.authorization.as_deref();
        match &self.access {
            Access::Anonymous => None,
            Access::Basic(credentials) if shown == Some(&basic(credentials)) => None,
            Access::Basic(_) => Some(challenge("Basic realm=\"lab\"")),
            Access::Bearer(credentials) if request.path == SERVICE => Some(
                // As most token services, it has no OAuth endpoint for POST.
                if request.method != "GET" {
                    status(404)
                } else if shown == Some(&basic(credentials)) {
                    json(&format!("{{\"token\":\"{TOKEN}\",\"expires_in\":300}}"))
                } else {
                    status(401)
                },
            ),
            Access::Bearer(_) if shown == Some(&format!("Bearer {TOKEN}")) => None,
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

/// The public registries. What they have is in the one registry of all.
pub(crate) struct PublicProxy {
    pub(crate) content: Content,
    pub(crate) answers: State,
}

impl ReverseProxy for PublicProxy {
    fn answer(&self, request: Request, headers: HeaderMap) -> Answering {
        let host = if request.host == "registry-1.docker.io" { "docker.io" } else { &request.host };
        let path = match request.path.strip_prefix("/v2/") {
            None | Some("") => request.path.clone(),
            Some(rest) => format!("/v2/{UPSTREAM}/{host}/{rest}"),
        };
        self.answers.answer(&self.content, request, path, headers)
    }
}

/// What who is this user sends.
fn basic(credentials: &Credentials) -> String {
    let Credentials { username, password } = credentials;
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// What may be done with what is at `path`: `repository:NAME:pull`.
fn scope(path: &str) -> String {
    let name = path.strip_prefix("/v2/").unwrap_or_default();
    let end = ["/manifests/", "/blobs/"].iter().find_map(|part| name.find(part));
    end.map_or_else(String::new, |end| format!("repository:{}:pull", &name[..end]))
}

fn challenge(how: &str) -> Answer {
    let mut answer = status(401);
    if let Ok(value) = header::HeaderValue::from_str(how) {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
    answer
}

fn json(text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
