//! One connection to a registry, for one request.

use std::io;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;

use crate::{address::host_and_port, error::Error, trust::RegistryTrust};

/// An HTTP/1.1 connection to a registry.
pub(crate) struct Connection {
    domain: String,
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
    /// Certificate of the registry, DER; `None` over plain HTTP.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to `domain`.
    pub(crate) async fn open(domain: &str, trust: &RegistryTrust) -> Result<Self, Error> {
        let stream = connect(domain, trust).await?;
        let RegistryTrust::Tls(tls) = trust else {
            return Self::new(domain, stream, None).await;
        };
        let unreachable = |source| Error::Unreachable { domain: domain.to_owned(), source };
        let config = tls.config().map_err(unreachable)?;
        let (host, _) = host_and_port(domain, 0);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Error::Unresolved {
            domain: domain.to_owned(),
            source: io::Error::other(error),
        })?;
        let stream = TlsConnector::from(config).connect(name, stream).await.map_err(unreachable)?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = chain.first().map(|certificate| certificate.to_vec());
        Self::new(domain, stream, certificate).await
    }

    async fn new<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        domain: &str,
        stream: S,
        certificate: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        let domain = domain.to_owned();
        match handshake(TokioIo::new(stream)).await {
            Ok((sender, connection)) => {
                let driver = tokio::spawn(connection).abort_handle();
                Ok(Self { domain, sender, driver, certificate })
            }
            Err(source) => Err(Error::Broken { domain, source }),
        }
    }

    /// Sends `request`, and returns the response without its body.
    pub(crate) async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, Error> {
        let response = self.sender.send_request(request).await;
        response.map_err(|source| Error::Broken { domain: self.domain.clone(), source })
    }
}

/// Opens a TCP connection to `domain`.
pub(crate) async fn connect(domain: &str, trust: &RegistryTrust) -> Result<TcpStream, Error> {
    let (_, default) = trust.scheme();
    let addresses = lookup_host(host_and_port(domain, default)).await;
    let addresses: Vec<_> = addresses
        .map_err(|source| Error::Unresolved { domain: domain.to_owned(), source })?
        .collect();
    let stream = TcpStream::connect(&*addresses).await;
    stream.map_err(|source| Error::Unreachable { domain: domain.to_owned(), source })
}
