//! The registry that stores all images of the lab. Hosts share it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{HeaderMap, header};
use hyper_util::rt::TokioIo;
use image_swap_testbed::{Error, Image, Parts, Registry, RegistryOptions};
use tokio::{
    net::TcpStream,
    runtime::{Handle, Runtime},
};

use crate::server::{Answer, status};

/// Prefix of repositories of public registries: `upstream/HOST/REPOSITORY`.
pub const UPSTREAM: &str = "upstream";

/// A handle of a real registry, whose images mirrors and public registries serve.
#[derive(Clone, Debug)]
pub struct Content(Arc<Inner>);

/// The state that handles share.
#[derive(Debug)]
struct Inner {
    registry: Registry,
    runtime: Runtime,
}

impl Content {
    /// Starts the registry, and the runtime of the servers in front of it.
    ///
    /// # Errors
    /// Returns the errors of [`Registry::start`], and an error if no thread can be started.
    pub fn start(parts: &Parts) -> Result<Self, Error> {
        let registry = Registry::start(parts, &RegistryOptions::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(Error::io("start threads"))?;
        Ok(Self(Arc::new(Inner { registry, runtime })))
    }

    /// Pushes an image to the registry.
    ///
    /// # Errors
    /// Returns the errors of [`Registry::push`].
    pub fn push(&self, repository: &str, tag: &str, image: &Image) -> Result<(), Error> {
        self.0.registry.push(repository, tag, image).map(drop)
    }

    /// Returns the runtime of the servers in front of the registry.
    pub(crate) fn runtime(&self) -> &Handle {
        self.0.runtime.handle()
    }

    /// Returns the registry's answer to a request; 502 if it does not answer.
    pub(crate) async fn fetch(self, method: String, path: String, headers: HeaderMap) -> Answer {
        self.send(&method, &path, &headers).await.unwrap_or_else(|| status(502))
    }

    /// Sends a request with the `Accept` lines of `headers`; `None` if it fails.
    async fn send(&self, method: &str, path: &str, headers: &HeaderMap) -> Option<Answer> {
        let address = self.0.registry.address();
        let stream = TcpStream::connect(&address).await.ok()?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &address)
            .body(Empty::<Bytes>::new())
            .ok()?;
        for accepted in headers.get_all(header::ACCEPT) {
            request.headers_mut().append(header::ACCEPT, accepted.clone());
        }
        let (mut head, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        head.headers.remove(header::CONNECTION);
        Some(Answer::from_parts(head, Full::new(body)))
    }
}
