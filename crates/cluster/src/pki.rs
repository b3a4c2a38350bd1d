//! Authorities and certificates: made, and read back.

use image_swap_core::{
    cluster::certificates::{AUTHORITY_LIFE, AuthorityId, LEAF_LIFE, Validity},
    declaration::UnixTime,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// A certificate and its key, both PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A new authority.
pub(crate) fn authority(now: UnixTime) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = authority_params();
    live(&mut params, Validity::of(now, AUTHORITY_LIFE));
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: tidy(&certificate.pem()), key: key.serialize_pem() })
}

/// A certificate for `names`, signed by `authority`.
pub(crate) fn leaf(
    authority: &Pair,
    names: &[String],
    now: UnixTime,
) -> Result<Pair, rcgen::Error> {
    let signer = KeyPair::from_pem(&authority.key)?;
    // All authorities are called the same; the key's identifier tells them apart.
    let issuer = Issuer::new(authority_params(), signer);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named("image-swap");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    live(&mut params, Validity::of(now, LEAF_LIFE));
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { certificate: tidy(&certificate.pem()), key: key.serialize_pem() })
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("image-swap authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn live(params: &mut CertificateParams, validity: Validity) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + std::time::Duration::from_secs(validity.not_before);
    params.not_after = epoch + std::time::Duration::from_secs(validity.not_after);
}

/// The certificates in `pem`, each a block of its own, written always the same.
pub(crate) fn blocks(pem: &str) -> Vec<AuthorityId> {
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

fn tidy(pem: &str) -> String {
    blocks(pem).concat()
}

/// When the first certificate in `pem` is valid; `None` if it is none.
pub(crate) fn validity(pem: &str) -> Option<Validity> {
    Some(of(&parsed(pem)?))
}

/// When the certificate `der` is valid; `None` if it is none.
pub(crate) fn validity_of(der: &[u8]) -> Option<Validity> {
    Some(of(&Certificate::from_der(der).ok()?))
}

fn of(certificate: &Certificate) -> Validity {
    let validity = certificate.tbs_certificate().validity();
    Validity {
        not_before: validity.not_before.to_unix_duration().as_secs(),
        not_after: validity.not_after.to_unix_duration().as_secs(),
    }
}

/// Whether the first certificate in `pem` names all of `names`, and `key` is its key.
pub(crate) fn fits(pem: &str, key: &str, names: &[String]) -> bool {
    let are_named = parsed(pem)
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

/// Whether `key` is the key of the first certificate in `pem`.
pub(crate) fn is_pair(pem: &str, key: &str) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok(key) = PrivateKeyDer::from_pem_slice(key.as_bytes()) else { return false };
    let provider = rustls::crypto::ring::default_provider();
    CertifiedKey::from_der(vec![certificate], key, &provider).is_ok()
}

fn parsed(pem: &str) -> Option<Certificate> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    Certificate::from_der(&der).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_700_000_000;

    #[test]
    fn what_was_made_is_read_back() {
        let names = ["a.ns.svc".to_owned(), "a".to_owned()];
        let authority = authority(NOW).unwrap();
        assert_eq!(validity(&authority.certificate), Some(Validity::of(NOW, AUTHORITY_LIFE)));
        assert!(is_pair(&authority.certificate, &authority.key));
        let leaf = leaf(&authority, &names, NOW).unwrap();
        assert_eq!(validity(&leaf.certificate), Some(Validity::of(NOW, LEAF_LIFE)));
        assert!(fits(&leaf.certificate, &leaf.key, &names));
        assert!(!fits(&leaf.certificate, &leaf.key, &["b".to_owned()]));
        assert!(!fits(&leaf.certificate, &authority.key, &names));
    }

    #[test]
    fn blocks_are_told_apart_however_they_are_written() {
        let (one, other) = (authority(NOW).unwrap(), authority(NOW).unwrap());
        let both =
            format!("# a\r\n{}\n\n{}", one.certificate.replace('\n', "\r\n"), other.certificate);
        assert_eq!(blocks(&both), [one.certificate, other.certificate]);
        assert!(blocks("nothing").is_empty());
    }
}
