//! Transport of connections to a registry, and trust in certificates.

use std::{io, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

/// Transport of connections to a registry.
pub enum RegistryTrust {
    /// HTTP without TLS.
    Plain,
    /// HTTP over TLS.
    Tls(TlsTrust),
}

/// The certificates of a TLS connection: trusted authorities, and that of the client.
///
/// ```
/// use image_swap_registry::{RegistryTrust, TlsTrust};
///
/// let mut tls = TlsTrust::system_and([]);
/// tls.skip_verify = true;
/// let trust = RegistryTrust::Tls(tls);
/// # assert!(matches!(trust, RegistryTrust::Tls(_)));
/// ```
pub struct TlsTrust {
    /// Authorities that may sign the registry's certificate.
    roots: RootCertStore,
    /// True if every certificate is accepted.
    pub skip_verify: bool,
    /// Client certificate and key in PEM; `None` if the client presents none.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl RegistryTrust {
    /// Returns the scheme of URLs and its default port.
    pub(crate) fn scheme(&self) -> (&'static str, u16) {
        match self {
            Self::Plain => ("http", 80),
            Self::Tls(_) => ("https", 443),
        }
    }
}

impl TlsTrust {
    /// Returns trust in the authorities of the system and of `pems`, like in container runtimes.
    /// Invalid certificates are skipped.
    pub fn system_and<'a>(pems: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut trust = Self::only(pems);
        trust.roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        trust
    }

    /// Returns trust in the authorities of `pems`. Invalid certificates are skipped.
    pub(crate) fn only<'a>(pems: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(pems.into_iter().flat_map(certificates));
        Self { roots, skip_verify: false, client: None }
    }

    /// Returns true if no authority is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Builds the TLS configuration of a connection.
    pub(crate) fn config(&self) -> io::Result<Arc<ClientConfig>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if self.skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(self.roots.clone())
        };
        let config = match &self.client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
                let chain = certificates(certificate).collect();
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
        };
        Ok(Arc::new(config))
    }
}

/// Returns the certificates in `pem`, without unreadable blocks.
fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

/// A verifier that accepts every certificate, for INSECURE. The server must still prove possession
/// of the certificate's key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
