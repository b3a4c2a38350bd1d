//! HTTP/1.1 servers, with or without TLS, that record every request.

use std::{convert::Infallible, future::Future, net::TcpListener, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{HeaderMap, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use image_swap_testbed::{Error, Identity};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{Acceptor, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::LazyConfigAcceptor;

use crate::log::{Log, Request, Server};

/// A complete answer.
pub(crate) type Answer = Response<Full<Bytes>>;
/// The future of an answer.
pub(crate) type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The handler of a server's requests.
pub(crate) trait ReverseProxy: Send + Sync + 'static {
    /// Answers a request with these headers.
    fn answer(&self, request: Request, headers: HeaderMap) -> PendingAnswer;
}

/// The transport of a listener: plain HTTP, or TLS.
#[derive(Clone)]
pub(crate) enum Transport {
    Plain,
    Tls(Arc<ServerConfig>),
}

/// A running listener. Its drop closes the listener and all connections before it returns.
#[derive(Debug)]
pub(crate) struct Serving {
    runtime: Handle,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        let _ = self.runtime.block_on(&mut self.task);
    }
}

/// Serves `listener`, which may be in another network namespace.
pub(crate) fn serve(
    runtime: &Handle,
    listener: TcpListener,
    transport: Transport,
    server: Server,
    log: &Log,
    proxy: Arc<dyn ReverseProxy>,
) -> Result<Serving, Error> {
    listener.set_nonblocking(true).map_err(Error::io("prepare a listener"))?;
    let _entered = runtime.enter();
    let listener =
        tokio::net::TcpListener::from_std(listener).map_err(Error::io("watch a listener"))?;
    let log = log.clone();
    let task = runtime.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            log.connected(server);
            let (log, proxy) = (log.clone(), Arc::clone(&proxy));
            let connection = Connection { server, sni: None, scheme: "http", log, proxy };
            connections.spawn(connection.serve(stream, transport.clone()));
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Serving { runtime: runtime.clone(), task })
}

/// Returns the TLS side of a server with this certificate.
pub(crate) fn tls(identity: &Identity) -> Result<Transport, Error> {
    tls_for(identity, None)
}

/// Returns the TLS side of a server with this certificate. With `clients`, an authority in PEM,
/// it serves only clients with a certificate of that authority.
pub(crate) fn tls_for(identity: &Identity, clients: Option<&str>) -> Result<Transport, Error> {
    let unusable = |error: &dyn std::fmt::Display| {
        Error::unavailable(format!("TLS with a generated certificate: {error}"), "report it")
    };
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .map_err(|error| unusable(&error))?;
    let key =
        PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|error| unusable(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_slice(authority.as_bytes())
                .map_err(|error| unusable(&error))?;
            roots.add(authority).map_err(|error| unusable(&error))?;
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| unusable(&error))?
        }
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_client_cert_verifier(verifier).with_single_cert(vec![certificate], key)
        })
        .map_err(|error| unusable(&error))?;
    Ok(Transport::Tls(Arc::new(config)))
}

/// Returns an answer with `status` and a body without errors.
pub(crate) fn status(status: u16) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{\"errors\":[]}")));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// An accepted connection.
struct Connection {
    server: Server,
    sni: Option<String>,
    scheme: &'static str,
    log: Log,
    proxy: Arc<dyn ReverseProxy>,
}

impl Connection {
    /// Serves the connection until it ends.
    async fn serve(mut self, stream: TcpStream, transport: Transport) {
        match transport {
            Transport::Plain => self.http(stream).await,
            Transport::Tls(config) => {
                // A client that rejects the certificate is recorded as a connection only.
                let Ok(start) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
                    return;
                };
                self.sni = start.client_hello().server_name().map(str::to_owned);
                self.scheme = "https";
                if let Ok(stream) = start.into_stream(config).await {
                    self.http(stream).await;
                }
            }
        }
    }

    /// Serves HTTP/1.1 on `stream` until it ends.
    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| self.answer(request));
        // Errors of a client that disconnects are ignored.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    /// Answers a request, and records both.
    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<Answer, Infallible> {
        let (head, _) = request.into_parts();
        let text = |name| {
            let value = head.headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let request = Request {
            server: self.server,
            scheme: self.scheme,
            sni: self.sni.clone(),
            host: text(header::HOST).unwrap_or_default(),
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            authorization: text(header::AUTHORIZATION),
            status: 0,
        };
        let number = self.log.arrived(request.clone());
        let answer = self.proxy.answer(request, head.headers.clone()).await;
        self.log.answered(number, answer.status().as_u16());
        Ok(answer)
    }
}
