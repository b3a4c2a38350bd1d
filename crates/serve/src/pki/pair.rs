//! Certificates with their keys in PEM.

use std::{ops::Range, time::Duration};

pub use rcgen::Error as MakeError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_cert::{
    Certificate as X509,
    der::{self, Decode as _},
};

/// A certificate and its private key, both PEM.
pub struct Pair {
    /// Certificate in PEM.
    pub certificate: String,
    /// Private key in PEM.
    pub key: String,
}

impl Pair {
    /// Creates an authority called `name`. `valid` is its validity in seconds since 1970.
    ///
    /// # Errors
    /// Returns an error if the key cannot be created.
    pub fn authority(name: &str, valid: Range<u64>) -> Result<Self, MakeError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(name);
        limit(&mut params, valid);
        Ok(Self::of(&params.self_signed(&key)?, &key))
    }

    /// Issues a certificate for `names`, DNS names or IP addresses, by this authority. `issuer` is
    /// the authority's name.
    ///
    /// # Errors
    /// Returns an error if a name is neither, or the key of the authority is unusable.
    pub fn issue(
        &self,
        issuer: &str,
        names: &[String],
        valid: Range<u64>,
    ) -> Result<Self, MakeError> {
        // Authorities may have the same name. The identifier of the key distinguishes them.
        let issuer = Issuer::new(authority_params(issuer), KeyPair::from_pem(&self.key)?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = named("image-swap");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        limit(&mut params, valid);
        Ok(Self::of(&params.signed_by(&key, &issuer)?, &key))
    }

    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self { certificate: blocks(&certificate.pem()).concat(), key: key.serialize_pem() }
    }
}

/// Returns the parameters of an authority. They depend only on its name, so the certificate of an
/// issuer need not be parsed.
fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn limit(params: &mut CertificateParams, valid: Range<u64>) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(valid.start);
    params.not_after = epoch + Duration::from_secs(valid.end);
}

/// Returns the certificates in `pem`, each as a PEM block in a canonical form.
pub fn blocks(pem: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let bodies = pem.split(BEGIN).skip(1).filter_map(|rest| rest.split_once(END));
    bodies
        .map(|(body, _)| {
            let lines: Vec<&str> = body.split_whitespace().collect();
            format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
        })
        .collect()
}

/// Returns the validity of the first certificate in `pem`, in seconds since 1970; `None` if there
/// is no certificate.
pub fn validity(pem: &str) -> Option<Range<u64>> {
    validity_of(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?).ok()
}

/// Returns the validity of the certificate `der`, in seconds since 1970.
///
/// # Errors
/// Returns an error if `der` is not an X.509 certificate.
pub fn validity_of(der: &[u8]) -> Result<Range<u64>, der::Error> {
    let certificate = X509::from_der(der)?;
    let validity = certificate.tbs_certificate().validity();
    let [start, end] =
        [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_recognised_in_any_split() {
        let [one, other] = [(); 2].map(|()| Pair::authority("a", 0..9).unwrap().certificate);
        let both = format!("# a\r\n{}\n\n{other}", one.replace('\n', "\r\n"));
        assert_eq!(blocks(&both), [one, other]);
        assert!(blocks("nothing").is_empty());
    }
}
