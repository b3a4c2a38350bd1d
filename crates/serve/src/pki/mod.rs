//! Certificates: creation, parsing, and use in handshakes.

mod authority;
mod certificate;
mod pair;

pub use self::{
    authority::{AuthorityError, LocalAuthority, renew},
    certificate::{Certificate, CertificateError, CertificateInForce, fits, is_pair},
    pair::{MakeError, Pair, blocks, validity, validity_of},
};
