//! What arrived, in order.

use std::sync::{Arc, Mutex, PoisonError};

/// Who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// A public registry, whichever.
    Public,
    /// The company's registry.
    Mirror,
    /// A mirror of someone else's, to which no credential was declared.
    Second,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who was asked.
    pub server: Server,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The name by which TLS was begun.
    pub sni: Option<String>,
    /// The header `LabHost`.
    pub host: String,
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// What it was answered; 0 as long as it is not.
    pub status: u16,
}

impl Request {
    /// The URL, query aside.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }

    /// `HEAD https://… 200`
    pub fn line(&self) -> String {
        format!("{} {} {}", self.method, self.url(), self.status)
    }

    /// Whether it asks for content, not for the API root or a token.
    pub fn is_pull(&self) -> bool {
        self.path.contains("/manifests/") || self.path.contains("/blobs/")
    }
}

/// The record of one host's internet. Clones are the same record.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    requests: Vec<Request>,
    /// How many were forgotten before these: what is still being answered then
    /// has a number of its own all the same.
    forgotten: usize,
    /// Who was connected to, whether or not a request came of it.
    connections: Vec<Server>,
}

impl Log {
    /// All requests since the record was last cleared.
    pub fn requests(&self) -> Vec<Request> {
        self.with(|entries| entries.requests.clone())
    }

    /// How often a server was connected to, even in vain.
    pub fn connections(&self, server: Server) -> usize {
        self.with(|entries| entries.connections.iter().filter(|to| **to == server).count())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.with(|entries| {
            let forgotten = entries.forgotten + entries.requests.len();
            *entries = Entries { forgotten, ..Entries::default() };
        });
    }

    /// Every request on a line of its own, for what a failing test says.
    pub fn text(&self) -> String {
        self.requests().iter().map(|request| request.line() + "\n").collect()
    }

    pub(crate) fn connected(&self, server: Server) {
        self.with(|entries| entries.connections.push(server));
    }

    /// Notes a request and gives its number.
    pub(crate) fn arrived(&self, request: Request) -> usize {
        self.with(|entries| {
            entries.requests.push(request);
            entries.forgotten + entries.requests.len() - 1
        })
    }

    /// Notes what became of a request.
    pub(crate) fn answered(&self, number: usize, status: u16) {
        self.with(|entries| {
            let place = number.checked_sub(entries.forgotten);
            if let Some(request) = place.and_then(|place| entries.requests.get_mut(place)) {
                request.status = status;
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Entries) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
