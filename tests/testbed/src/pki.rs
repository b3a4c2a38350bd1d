//! Certificates for the servers, and for tests that need some.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::{error::Error, janitor::RunDir};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: String,
    /// The private key, PEM (PKCS#8).
    pub key: String,
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// The system provides no random numbers.
    pub fn new(name: &str) -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Returns the authority's own certificate, PEM, which clients trust.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// Returns the authority's private key, PEM (PKCS#8), for another issuer.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Issues a certificate for a server reached under `names` (DNS names, IP addresses).
    ///
    /// # Errors
    /// A name is not valid in a certificate.
    pub fn server(&self, names: &[&str]) -> Result<Identity, Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let common = names.first().cloned().unwrap_or_default();
        let params = CertificateParams::new(names)?;
        self.issue(params, &common, None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a certificate for a client. Kubernetes reads the user from the common name, and the
    /// group from the organisation.
    ///
    /// # Errors
    /// A name is not valid in a certificate.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity, Error> {
        let params = CertificateParams::default();
        self.issue(params, user, group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Issues a certificate for a client that expires after `life`, to the second.
    ///
    /// # Errors
    /// A name is not valid in a certificate.
    pub fn expiring_client(
        &self,
        user: &str,
        group: Option<&str>,
        life: Duration,
    ) -> Result<Identity, Error> {
        let mut params = CertificateParams::default();
        params.not_after = (SystemTime::now() + life).into();
        self.issue(params, user, group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(
        &self,
        mut params: CertificateParams,
        common: &str,
        organisation: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity, Error> {
        params.distinguished_name.push(DnType::CommonName, common);
        if let Some(organisation) = organisation {
            params.distinguished_name.push(DnType::OrganizationName, organisation);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

impl Identity {
    /// Creates a certificate for a server that is signed only by the server itself.
    ///
    /// # Errors
    /// A name is not valid in a certificate.
    pub fn self_signed(names: &[&str]) -> Result<Self, Error> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.self_signed(&key)?.pem();
        Ok(Self { certificate, key: key.serialize_pem() })
    }

    /// Writes `NAME.crt` and `NAME.key`, and returns their paths.
    pub(crate) fn write(&self, dir: &RunDir, name: &str) -> Result<(PathBuf, PathBuf), Error> {
        let certificate = dir.write(&format!("{name}.crt"), &self.certificate)?;
        let key = dir.write(&format!("{name}.key"), &self.key)?;
        Ok((certificate, key))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(certificate and key)")
    }
}
