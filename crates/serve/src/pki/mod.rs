//! Certificates: made, read, and served.

mod authority;
mod certificate;

use std::{ops::Range, time::Duration};

pub use rcgen::Error as MakeError;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_cert::{
    Certificate as X509,
    der::{self, Decode as _},
    ext::pkix::{SubjectAltName, name::GeneralName},
};

pub use self::{
    authority::{AuthorityError, LocalAuthority, renew},
    certificate::{Certificate, CertificateError, CertificateInForce},
};

/// A certificate and its private key, both PEM.
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Pair {
    /// Makes an authority called `name`, valid for a span of seconds since 1970.
    ///
    /// # Errors
    /// If the key cannot be made.
    pub fn authority(name: &str, valid: Range<u64>) -> Result<Self, MakeError> {
        let key = KeyPair::generate()?;
        let mut params = authority_params(name);
        limit(&mut params, valid);
        Ok(Self::of(&params.self_signed(&key)?, &key))
    }

    /// Issues a certificate for `names`, DNS names or IP addresses. This pair is the authority
    /// called `issuer`.
    ///
    /// # Errors
    /// If a name is neither, or the key of the authority cannot be used.
    pub fn issue(
        &self,
        issuer: &str,
        names: &[String],
        valid: Range<u64>,
    ) -> Result<Self, MakeError> {
        // Authorities may share a name; the identifier of the key tells them apart.
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

/// Returns the parameters of an authority. They depend on its name alone, so that an issuer
/// is known without parsing its certificate.
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

/// Returns the certificates in `pem`, each a block in one form.
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

/// Returns the seconds since 1970 in which the first certificate in `pem` is valid; `None`
/// if there is no certificate.
pub fn validity(pem: &str) -> Option<Range<u64>> {
    validity_of(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?).ok()
}

/// Returns the seconds since 1970 in which the certificate `der` is valid.
///
/// # Errors
/// If `der` is not an X.509 certificate.
pub fn validity_of(der: &[u8]) -> Result<Range<u64>, der::Error> {
    let certificate = X509::from_der(der)?;
    let validity = certificate.tbs_certificate().validity();
    let [start, end] =
        [validity.not_before, validity.not_after].map(|time| time.to_unix_duration().as_secs());
    Ok(start..end)
}

/// True if the first certificate in `pem` names all of `names`, and `key` is its key.
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

/// True if `key` is the key of the first certificate in `pem`.
pub fn is_pair(pem: &str, key: &str) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else { return false };
    Certificate::from_der(vec![certificate], key).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_however_they_are_written() {
        let [one, other] = [(); 2].map(|()| Pair::authority("a", 0..9).unwrap().certificate);
        let both = format!("# a\r\n{}\n\n{other}", one.replace('\n', "\r\n"));
        assert_eq!(blocks(&both), [one, other]);
        assert!(blocks("nothing").is_empty());
    }
}
