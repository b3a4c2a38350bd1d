//! The registry's certificate.

use std::{io, sync::Arc};

use image_swap_core::{cluster::certificates::Validity, status::RegistryOutcome};
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{EXPIRED, Found, UNREACHABLE, UNRESOLVED, UNTRUSTED};
use crate::pki;

/// Trust in the declared authorities, else in the system's; `None`: there are none.
pub(super) fn trust(pem: &str) -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    if pem.trim().is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        let declared = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        roots.add_parsable_certificates(declared);
    }
    if roots.is_empty() {
        return None;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Some(Arc::new(builder.ok()?.with_root_certificates(roots).with_no_client_auth()))
}

/// Verifies the certificate of `host`; says when it is valid.
pub(super) async fn handshake(
    trust: &Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<(TlsStream<TcpStream>, Option<Validity>), Found> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| (UNRESOLVED, error.to_string()))?;
    let tls = TlsConnector::from(Arc::clone(trust)).connect(name, stream).await;
    let tls = tls.map_err(|error| (outcome(&error), error.to_string()))?;
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let validity = chain.first().and_then(|certificate| pki::validity_of(certificate));
    Ok((tls, validity))
}

fn outcome(error: &io::Error) -> RegistryOutcome {
    let inner = error.get_ref().and_then(|it| it.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => EXPIRED,
        Some(rustls::Error::InvalidCertificate(_)) => UNTRUSTED,
        _ => UNREACHABLE,
    }
}
