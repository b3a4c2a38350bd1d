//! Certificates with the lives of the pure core, made and read by `image_swap_serve::pki`.

use std::ops::Range;

use image_swap_core::{
    control::certificates::{AUTHORITY_LIFE, LEAF_LIFE, Validity},
    declaration::UnixTime,
};
use image_swap_serve::pki;
pub(crate) use image_swap_serve::pki::{Pair, blocks, fits, is_pair};

/// Common name of all authorities.
const NAME: &str = "image-swap authority";

/// Makes an authority.
pub(crate) fn authority(now: UnixTime) -> Result<Pair, pki::MakeError> {
    Pair::authority(NAME, span(now, AUTHORITY_LIFE))
}

/// Issues a certificate for `names`, signed by `authority`.
pub(crate) fn leaf(
    authority: &Pair,
    names: &[String],
    now: UnixTime,
) -> Result<Pair, pki::MakeError> {
    authority.issue(NAME, names, span(now, LEAF_LIFE))
}

fn span(now: UnixTime, life: UnixTime) -> Range<u64> {
    let Validity { not_before, not_after } = Validity::of(now, life);
    not_before..not_after
}

/// Returns the validity of the first certificate in `pem`; `None` if there is none.
pub(crate) fn validity(pem: &str) -> Option<Validity> {
    pki::validity(pem).map(of)
}

/// Returns the validity of the certificate `der`; `None` if it is not a certificate.
pub(crate) fn validity_of(der: &[u8]) -> Option<Validity> {
    pki::validity_of(der).ok().map(of)
}

const fn of(valid: Range<u64>) -> Validity {
    Validity { not_before: valid.start, not_after: valid.end }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_700_000_000;

    #[test]
    fn created_certificates_are_read_back() {
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
}
