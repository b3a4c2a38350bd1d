//! The TLS side of the listener.

use std::sync::Arc;

use rustls::{ServerConfig, server::NoServerSessionStorage};
use tokio_rustls::TlsAcceptor;

use crate::pki::CertificateInForce;

/// HTTP/2 in ALPN. API servers speak HTTP/1.1 to Services, and HTTP/2 to URLs on localhost.
pub(crate) const H2: &[u8] = b"h2";

/// Answers handshakes with whatever certificate is in force.
///
/// # Errors
/// If the crypto provider lacks what its own defaults need: never, in fact.
pub(crate) fn acceptor(certificate: CertificateInForce) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // No resumption: API servers keep connections and never resume, tickets
    // would only cost them bytes, and a resumed session shows no certificate,
    // so a client would not notice that it was replaced.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}
