//! The images, in a real registry that all hosts share.

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

/// Below this the registry keeps what public registries have: `upstream/HOST/REPOSITORY`.
pub const UPSTREAM: &str = "upstream";

/// A real registry with images for mirrors and public registries. Clones share it.
#[derive(Clone, Debug)]
pub struct Content(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    runtime: Runtime,
}

impl Content {
    /// Starts the registry, and what serves all that stands before it.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn start(parts: &Parts) -> Result<Self, Error> {
        let registry = Registry::start(parts, &RegistryOptions::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(Error::io("start threads"))?;
        Ok(Self(Arc::new(Inner { registry, runtime })))
    }

    /// Puts an image into the registry.
    ///
    /// # Errors
    /// As [`Registry::push`].
    pub fn push(&self, repository: &str, tag: &str, image: &Image) -> Result<(), Error> {
        self.0.registry.push(repository, tag, image).map(drop)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        self.0.runtime.handle()
    }

    /// What the registry answers to someone who may see everything.
    pub(crate) async fn fetch(self, method: String, path: String, headers: HeaderMap) -> Answer {
        self.ask(&method, &path, &headers).await.unwrap_or_else(|| status(502))
    }

    async fn ask(&self, method: &str, path: &str, headers: &HeaderMap) -> Option<Answer> {
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
