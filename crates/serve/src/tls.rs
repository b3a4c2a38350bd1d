//! The TLS side of the listener.

use std::sync::Arc;

use rustls::{ServerConfig, server::NoServerSessionStorage};
use tokio_rustls::TlsAcceptor;

use crate::pki::CertificateInForce;

/// HTTP/2 in ALPN. API servers use HTTP/1.1 for Services, and HTTP/2 for URLs on localhost.
pub(crate) const H2: &[u8] = b"h2";

/// Returns an acceptor that answers handshakes with the certificate in force.
///
/// # Errors
/// Returns an error if the crypto provider lacks an algorithm of its own defaults, which does not
/// happen.
pub(crate) fn acceptor(certificate: CertificateInForce) -> Result<TlsAcceptor, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    // Sessions are not resumed. API servers keep connections and never resume, so tickets would
    // only cost bytes. A resumed session presents no certificate, so its client would not notice a
    // replacement.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}
