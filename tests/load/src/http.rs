//! Clients of an admission server over TLS, each with a connection of its own.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    client::conn::{http1, http2},
    header::CONTENT_TYPE,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{LoadClient, Outcome, sample};

/// Number of connections of a load.
const CONNECTIONS: usize = 4;

/// A version of HTTP.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        })
    }
}

/// The sender of a connection.
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection that sends the review of [`sample`].
pub struct ReviewClient {
    sender: Sender,
    body: Bytes,
}

/// Opens four connections to a server, whose certificate must be signed by the authority in the
/// file `authority`.
///
/// # Errors
/// Returns an error if the server cannot be reached, or the file contains no certificate.
pub async fn connect(
    address: SocketAddr,
    authority: &Path,
    protocol: Protocol,
) -> Outcome<Vec<ReviewClient>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let sender = Sender::connect(address, authority, protocol).await?;
        clients.push(ReviewClient { sender, body: sample::review().into() });
    }
    Ok(clients)
}

impl Sender {
    /// Opens a connection with one protocol in ALPN.
    async fn connect(address: SocketAddr, authority: &Path, protocol: Protocol) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let io = TokioIo::new(stream);
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }
}

impl LoadClient for ReviewClient {
    async fn request(&mut self) -> Outcome<()> {
        let body = self.body.clone();
        let request = |uri| {
            let post = Request::post(uri).header(CONTENT_TYPE, "application/json");
            post.header("host", "webhook").body(Full::new(body))
        };
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request("/mutate?timeout=5s")?).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request("https://webhook/mutate?timeout=5s")?).await?
            }
        };
        if response.status() != StatusCode::OK {
            return Err(format!("expected 200, found {}", response.status()).into());
        }
        response.into_body().collect().await?;
        Ok(())
    }
}
