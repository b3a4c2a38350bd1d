//! The serving certificate: parsing, checks, and replacement while connections are open.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    InconsistentKeys,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use x509_cert::{
    Certificate as X509,
    der::Decode as _,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

use crate::pki::pair::{Pair, validity_of};

/// A certificate chain and the private key of its first certificate.
///
/// `Debug` prints neither.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    expires: u64,
}

/// The error of a certificate and key that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain is not PEM.
    #[error("certificate: invalid PEM: {0}")]
    ChainPem(rustls::pki_types::pem::Error),
    /// The chain contains no certificate.
    #[error("certificate: expected at least one `BEGIN CERTIFICATE` block, found none")]
    NoCertificate,
    /// The first certificate is not X.509.
    #[error("certificate: the first block is not X.509: {0}")]
    X509(x509_cert::der::Error),
    /// There is no private key.
    #[error(
        "private key: expected one unencrypted PEM block (PKCS#8, SEC1 or PKCS#1), found none: {0}"
    )]
    KeyPem(rustls::pki_types::pem::Error),
    /// The key's type is not supported.
    #[error("private key: expected ECDSA P-256 or P-384, Ed25519 or RSA, found another: {0}")]
    KeyType(rustls::Error),
    /// Certificate and key are valid, but the key is that of another certificate.
    #[error(
        "certificate and private key: expected a pair, found the key of another certificate; \
         are both files of the same issue?"
    )]
    Mismatch,
}

impl Certificate {
    /// Parses a chain (leaf first) and a private key, both PEM.
    ///
    /// # Errors
    /// Returns an error if either cannot be parsed, or the key is that of another certificate. The
    /// message contains nothing of the key.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(CertificateError::ChainPem)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateError::KeyPem)?;
        Self::from_der(chain, key)
    }

    /// Returns the certificate of a chain and a private key in DER.
    pub(super) fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        let expires = validity_of(leaf).map_err(CertificateError::X509)?.end;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::Mismatch
            }
            other => CertificateError::KeyType(other),
        })?;
        Ok(Self { key: Arc::new(key), expires })
    }

    /// Returns the time of expiry, in seconds since 1970.
    pub const fn expires(&self) -> u64 {
        self.expires
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl Pair {
    /// Returns the certificate in the form that handshakes use.
    pub(super) fn to_serve(&self) -> Result<Certificate, CertificateError> {
        Certificate::from_pem(self.certificate.as_bytes(), self.key.as_bytes())
    }
}

/// Returns true if the first certificate in `pem` contains all of `names`, and `key` is its key.
pub fn fits(pem: &str, key: &str, names: &[String]) -> bool {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    let are_named = certificate
        .and_then(|der| X509::from_der(&der).ok())
        .and_then(|it| it.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten())
        .is_some_and(|(_, alternatives)| {
            let is_named = |name: &String| {
                let same = |it: &GeneralName| matches!(it, GeneralName::DnsName(dns) if dns.as_str() == name);
                alternatives.0.iter().any(same)
            };
            names.iter().all(is_named)
        });
    are_named && is_pair(pem, key)
}

/// Returns true if `key` is the key of the first certificate in `pem`.
pub fn is_pair(pem: &str, key: &str) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else { return false };
    Certificate::from_der(vec![certificate], key).is_ok()
}

/// A handle of the certificate that handshakes present, cheap to clone.
///
/// A replacement does not block. Open connections are kept, and the next handshake presents the new
/// certificate.
#[derive(Clone, Debug, Default)]
pub struct CertificateInForce(Arc<ArcSwapOption<Certificate>>);

impl CertificateInForce {
    /// Puts `certificate` in force.
    pub fn replace(&self, certificate: Certificate) {
        self.0.store(Some(Arc::new(certificate)));
    }

    /// Returns the certificate in force; `None` before the first [`Self::replace`]. Handshakes fail
    /// without a certificate.
    pub fn current(&self) -> Option<Arc<Certificate>> {
        self.0.load_full()
    }
}

impl ResolvesServerCert for CertificateInForce {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load().as_ref().map(|certificate| Arc::clone(&certificate.key))
    }
}
