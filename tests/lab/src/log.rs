//! The record of requests, in the order of arrival.

use std::sync::{Arc, Mutex, PoisonError};

/// The server of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// Any public registry.
    Public,
    /// The company's registry.
    Mirror,
    /// The second mirror, for which no credential is declared.
    Second,
}

/// One recorded request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Server that received the request.
    pub server: Server,
    /// Scheme of the connection: `http` or `https`.
    pub scheme: &'static str,
    /// Server name in the TLS handshake; `None` without TLS or without a name.
    pub sni: Option<String>,
    /// Header `Host`.
    pub host: String,
    /// HTTP method, such as `GET`.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Query without the question mark; empty if there is none.
    pub query: String,
    /// Header `Authorization`; `None` for an anonymous request.
    pub authorization: Option<String>,
    /// HTTP status of the answer; 0 before there is one.
    pub status: u16,
}

impl Request {
    /// Returns the URL without the query.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }

    /// Returns method, URL and status: `HEAD https://… 200`.
    pub fn line(&self) -> String {
        format!("{} {} {}", self.method, self.url(), self.status)
    }

    /// Returns true for a request of a manifest or a blob.
    pub fn is_pull(&self) -> bool {
        self.path.contains("/manifests/") || self.path.contains("/blobs/")
    }
}

/// A handle of the record of one host's requests.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Entries>>);

/// The content of a record.
#[derive(Debug, Default)]
struct Entries {
    requests: Vec<Request>,
    /// Number of requests that were cleared. Requests in progress keep their numbers.
    cleared: usize,
    /// Servers of accepted connections, with or without a request.
    connections: Vec<Server>,
}

impl Log {
    /// Returns all requests since the record was last cleared.
    pub fn requests(&self) -> Vec<Request> {
        self.with(|entries| entries.requests.clone())
    }

    /// Returns the number of connections to `server`, including those without a request.
    pub fn connections(&self, server: Server) -> usize {
        self.with(|entries| entries.connections.iter().filter(|to| **to == server).count())
    }

    /// Removes all requests and connections.
    pub fn clear(&self) {
        self.with(|entries| {
            let cleared = entries.cleared + entries.requests.len();
            *entries = Entries { cleared, ..Entries::default() };
        });
    }

    /// Returns one line for each request, for the message of a failing test.
    pub fn text(&self) -> String {
        self.requests().iter().map(|request| request.line() + "\n").collect()
    }

    /// Records a connection.
    pub(crate) fn connected(&self, server: Server) {
        self.with(|entries| entries.connections.push(server));
    }

    /// Records a request, and returns its number.
    pub(crate) fn arrived(&self, request: Request) -> usize {
        self.with(|entries| {
            entries.requests.push(request);
            entries.cleared + entries.requests.len() - 1
        })
    }

    /// Records the status of the answer to the request `number`.
    pub(crate) fn answered(&self, number: usize, status: u16) {
        self.with(|entries| {
            let place = number.checked_sub(entries.cleared);
            if let Some(request) = place.and_then(|place| entries.requests.get_mut(place)) {
                request.status = status;
            }
        });
    }

    /// Calls `access` with the locked content.
    fn with<T>(&self, access: impl FnOnce(&mut Entries) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
