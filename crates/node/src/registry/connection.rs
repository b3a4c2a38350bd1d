//! One request over one connection.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use super::error::Error;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    HeaderMap, Method, Request,
    client::conn::http1::handshake,
    header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use image_swap_core::registry::host_and_port;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// For one request.
const PATIENCE: Duration = Duration::from_secs(15);
/// More than an answer to any of our questions is.
const LARGEST: usize = 1 << 20;
/// What a manifest may be (OCI image specification, and Docker's before it).
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, */*";

/// The trust and transport of a connection to a registry.
#[derive(Clone)]
pub(super) enum Trust {
    /// Plain HTTP.
    Plain,
    /// TLS.
    Tls(Tls),
}

/// The certificates of a TLS connection.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// Certificates of authorities beside the system's, PEM.
    pub(super) authorities: Vec<Vec<u8>>,
    /// True if every certificate is accepted.
    pub(super) skip_verify: bool,
    /// Client certificate and key, PEM; `None` if none is presented.
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Asks `domain` for `path` (with its query).
pub(super) async fn ask(
    domain: &str,
    trust: &Trust,
    method: Method,
    path: &str,
    headers: &BTreeMap<String, String>,
    authorization: Option<&str>,
) -> Result<Answer, Error> {
    let unreachable = |source| Error::Unreachable { domain: domain.to_owned(), source };
    let asked = async {
        let default = if matches!(trust, Trust::Plain) { 80 } else { 443 };
        let (host, port) = host_and_port(domain, default);
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        let request = request(domain, method, path, headers, authorization)?;
        let Some(config) = config(trust).map_err(unreachable)? else {
            return exchange(domain, stream, request).await;
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| unreachable(io::Error::other(error)))?;
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(unreachable)?;
        exchange(domain, tls, request).await
    };
    let late = || unreachable(io::ErrorKind::TimedOut.into());
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(late()))
}

fn request(
    domain: &str,
    method: Method,
    path: &str,
    headers: &BTreeMap<String, String>,
    authorization: Option<&str>,
) -> Result<Request<Empty<Bytes>>, Error> {
    let cannot = |error: &dyn std::fmt::Display| Error::Cannot {
        domain: domain.to_owned(),
        why: error.to_string(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, domain)
        .header(ACCEPT, MANIFESTS)
        .body(Empty::new())
        .map_err(|error| cannot(&error))?;
    for (name, value) in headers {
        let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::from_str(value))
        else {
            return Err(cannot(&"a header of the host's own files is invalid"));
        };
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    if let Some(authorization) = authorization {
        // Not the error itself: it might show what was declared.
        let mut value = HeaderValue::from_str(authorization)
            .map_err(|_| cannot(&"the declared credential cannot stand in a header"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    Ok(request)
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    domain: &str,
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, Error> {
    let broken = |source| Error::Broken { domain: domain.to_owned(), source };
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let driven = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await.map_err(|error| Error::Cannot {
        domain: domain.to_owned(),
        why: format!("expected a short answer, found: {error}"),
    })?;
    driven.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
}

/// How to begin TLS; `None`: not at all.
fn config(trust: &Trust) -> io::Result<Option<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let Trust::Tls(tls) = trust else { return Ok(None) };
    let certificates = |pem: &[u8]| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
    };
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unseen(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        // Container runtimes trust these authorities beside the system's.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let declared = tls.authorities.iter().flat_map(|pem| certificates(pem));
        roots.add_parsable_certificates(declared);
        builder.with_root_certificates(roots)
    };
    Ok(Some(match &tls.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
            builder
                .with_client_auth_cert(certificates(certificate), key)
                .map_err(io::Error::other)?
        }
    }))
}

/// Takes certificates unseen, as INSECURE declares. That the other side has the
/// certificate's key is verified all the same.
#[derive(Debug)]
struct Unseen(Arc<CryptoProvider>);

impl ServerCertVerifier for Unseen {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
