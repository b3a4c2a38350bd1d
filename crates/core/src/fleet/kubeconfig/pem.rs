//! Certificates and keys: PEM (RFC 7468) inside base64.

use image_swap_text::base64;

use super::error::KubeconfigProblem;
use crate::declaration::Certificates;

const BEGIN: &str = "-----BEGIN ";
/// Labels of private keys: PKCS #8, PKCS #1 and SEC 1.
const KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
/// Label of the curve, which `openssl ecparam` writes before the key.
const CURVE: &str = "EC PARAMETERS";

/// Decodes one or several certificates.
pub(super) fn certificates(encoded: &str) -> Result<Vec<u8>, KubeconfigProblem> {
    let text = decode(encoded)?;
    Certificates::parse(&text).map_err(KubeconfigProblem::Pem)?;
    Ok(text.into_bytes())
}

/// Decodes one private key.
pub(super) fn key(encoded: &str) -> Result<Vec<u8>, KubeconfigProblem> {
    let text = decode(encoded)?;
    let wrong = |reason: &str| KubeconfigProblem::Pem(reason.to_owned());
    let mut keys = 0;
    let mut rest = text.as_str();
    while let Some(begin) = rest.find(BEGIN) {
        let block = &rest[begin + BEGIN.len()..];
        let (label, block) =
            block.split_once("-----").ok_or_else(|| wrong("incomplete first line of a block"))?;
        let (body, after) = block
            .split_once(&*format!("-----END {label}-----"))
            .ok_or_else(|| wrong("the last line of a block is missing"))?;
        rest = after;
        if KEYS.contains(&label) {
            let body: String = body.split_whitespace().collect();
            let der = base64::decode(body).filter(|der| der.first() == Some(&0x30));
            der.ok_or_else(|| wrong("the key is encrypted or not base64"))?;
            keys += 1;
        } else if label != CURVE {
            return Err(wrong("expected a private key that is not encrypted"));
        }
    }
    if keys == 1 { Ok(text.into_bytes()) } else { Err(wrong("expected exactly one private key")) }
}

/// Decodes base64, in which line breaks are allowed, to a text.
fn decode(encoded: &str) -> Result<String, KubeconfigProblem> {
    let joined: String = encoded.split_ascii_whitespace().collect();
    let bytes = base64::decode(joined).ok_or(KubeconfigProblem::Base64)?;
    String::from_utf8(bytes).map_err(|_| KubeconfigProblem::Pem("invalid UTF-8".to_owned()))
}
