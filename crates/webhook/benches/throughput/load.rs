//! A load of four connections, each with one request after the other.

use std::{
    fmt,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

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
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use crate::{Outcome, sample};

const CONNECTIONS: usize = 4;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Protocol {
    Http1,
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

enum Client {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Connections to one server.
pub(crate) struct Load {
    clients: Vec<Client>,
    body: Bytes,
}

impl Load {
    pub(crate) async fn connect(
        address: SocketAddr,
        authority: &Path,
        protocol: Protocol,
    ) -> Outcome<Self> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(Client::connect(address, authority, protocol).await?);
        }
        Ok(Self { clients, body: sample::review().into() })
    }

    /// Sends requests for `time`, and returns the number of answers.
    pub(crate) async fn run(&mut self, time: Duration) -> Outcome<f64> {
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let body = self.body.clone();
            tasks.spawn(async move {
                let mut answers = 0_u32;
                while Instant::now() < end {
                    client.ask(body.clone()).await?;
                    answers += 1;
                }
                Outcome::Ok((client, answers))
            });
        }
        let mut sum = 0.0;
        while let Some(done) = tasks.join_next().await {
            let (client, answers) = done??;
            self.clients.push(client);
            sum += f64::from(answers);
        }
        Ok(sum)
    }
}

impl Client {
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

    async fn ask(&mut self, body: Bytes) -> Outcome<()> {
        let request = |uri| {
            let post = Request::post(uri).header(CONTENT_TYPE, "application/json");
            post.header("host", "webhook").body(Full::new(body))
        };
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request("/mutate?timeout=5s")?).await?
            }
            Self::Http2(sender) => {
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
