//! A registry that serves every reference with the same digest.

use std::{convert::Infallible, path::Path, sync::Arc, time::SystemTime};

use http_body_util::Empty;
use hyper::{
    Request, Response, body::Incoming, header::HeaderValue, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use image_swap_serve::pki::{CertificateInForce, LocalAuthority};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Outcome;

/// The digest of every manifest.
pub const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Serves at `listener` as `name`, with a certificate of the authority in `directory`, until its
/// task ends.
///
/// # Errors
/// Returns an error if no certificate can be issued, or no connection can be accepted.
pub async fn serve(directory: &Path, name: &str, listener: TcpListener) -> Outcome<()> {
    let authority = LocalAuthority::open(directory, SystemTime::now())?;
    let certificate = CertificateInForce::default();
    certificate.replace(authority.issue(&[name.to_owned()], SystemTime::now())?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    let tls = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await?;
        let tls = tls.clone();
        tokio::spawn(async move {
            // The error of a client that closes its connection is ignored.
            let _ = connection(stream, tls).await;
        });
    }
}

/// Serves one connection.
async fn connection(stream: TcpStream, tls: TlsAcceptor) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let mut http1 = http1::Builder::new();
    http1.header_read_timeout(None);
    http1.serve_connection(TokioIo::new(stream), service_fn(answer)).await?;
    Ok(())
}

/// Answers one request: the API is there, and every manifest exists.
async fn answer(request: Request<Incoming>) -> Result<Response<Empty<&'static [u8]>>, Infallible> {
    let mut response = Response::new(Empty::new());
    if request.uri().path().contains("/manifests/") {
        let digest = HeaderValue::from_static(DIGEST);
        response.headers_mut().insert("docker-content-digest", digest);
    }
    Ok(response)
}
