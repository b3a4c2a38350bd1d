//! Connections to a registry, each for one request.

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

/// An HTTP/1.1 connection to a registry, closed when the value drops.
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

/// A transport of HTTP: TCP, or TLS.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Transport for S {}

impl Connection {
    /// Connects to `domain` by TCP and, unless `trust` is plain, TLS.
    pub(crate) async fn open(domain: &str, trust: &RegistryTrust) -> Result<Self, Error> {
        let domain = domain.to_owned();
        let stream = connect(&domain, trust).await?;
        let (stream, certificate): (Box<dyn Transport>, _) = match trust {
            RegistryTrust::Plain => (Box::new(stream), None),
            RegistryTrust::Tls(tls) => {
                let unreachable = |source| Error::Unreachable { domain: domain.clone(), source };
                let connector = TlsConnector::from(tls.config().map_err(unreachable)?);
                let (host, _) = host_and_port(&domain, 0);
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other);
                let name =
                    name.map_err(|source| Error::Unresolved { domain: domain.clone(), source })?;
                let stream = connector.connect(name, stream).await.map_err(unreachable)?;
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let certificate = chain.first().map(|certificate| certificate.to_vec());
                (Box::new(stream), certificate)
            }
        };
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
