//! CA certificates: one or several, in PEM (RFC 7468).

use image_swap_text::base64;
use x509_cert::{Certificate, der::Decode};

/// Seconds since 1970-01-01 00:00 UTC. The core has no clock: callers pass the present time.
pub type UnixTime = u64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const CERTIFICATE: &str = "CERTIFICATE";
const CERTIFICATE_END: &str = "CERTIFICATE-----";

/// Certificates in their declared text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    pem: String,
    not_after: Vec<UnixTime>,
}

impl Certificates {
    /// Reads `pem`; text around the certificates is allowed, as OpenSSL writes it.
    ///
    /// # Errors
    /// Returns the reason, without any of the text, which may hold a private key.
    pub(crate) fn parse(pem: &str) -> Result<Self, String> {
        let mut not_after = Vec::new();
        let mut rest = pem;
        while let Some(begin) = rest.find(BEGIN) {
            let number = not_after.len() + 1;
            let block = &rest[begin + BEGIN.len()..];
            let (label, block) = block
                .split_once(DASHES)
                .ok_or_else(|| format!("block {number}: expected `-----` after the label"))?;
            if label != CERTIFICATE {
                return Err(format!(
                    "block {number}: expected a CERTIFICATE, found another block that begins with `-----BEGIN`"
                ));
            }
            let (body, after) = block.split_once(END).ok_or_else(|| {
                format!("certificate {number}: `-----END CERTIFICATE-----` is missing")
            })?;
            rest = after.strip_prefix(CERTIFICATE_END).ok_or_else(|| {
                format!("certificate {number}: `-----END CERTIFICATE-----` is missing")
            })?;
            not_after.push(expiry(body).map_err(|found| format!("certificate {number}: {found}"))?);
        }
        if not_after.is_empty() {
            return Err("`-----BEGIN CERTIFICATE-----` is missing".to_owned());
        }
        Ok(Self { pem: pem.to_owned(), not_after })
    }

    /// Returns true if there is no certificate.
    pub const fn is_empty(&self) -> bool {
        self.not_after.is_empty()
    }

    /// Returns the declared text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the end of validity of each certificate, in the order of the text.
    pub fn not_after(&self) -> &[UnixTime] {
        &self.not_after
    }
}

fn expiry(body: &str) -> Result<UnixTime, String> {
    let encoded: String = body.split_whitespace().collect();
    let der = base64::decode(encoded).ok_or("invalid base64")?;
    let certificate = Certificate::from_der(&der).map_err(|_| "not an X.509 certificate")?;
    let validity = certificate.tbs_certificate().validity();
    Ok(validity.not_after.to_unix_duration().as_secs())
}
