//! Settings of host files for a target host.

use std::{collections::BTreeMap, fmt};

/// Settings for one target host that files of the host hold: they add to what is declared.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// Host, with a port if the rules name one.
    pub host: String,
    /// Certificates of authorities, PEM.
    pub authorities: Vec<Vec<u8>>,
    /// Client certificate and key, PEM; `None` if the runtime presents none.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
    /// True if the certificate of the host is not verified.
    pub skip_verify: bool,
    /// Headers of every request, by name.
    pub headers: BTreeMap<String, String>,
    /// True if users of the host bring credentials, as with docker and podman.
    pub users_log_in: bool,
}

/// Without keys and headers: they may be credentials.
impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contact")
            .field("host", &self.host)
            .field("authorities", &self.authorities.len())
            .field("client", &self.client.is_some())
            .field("skip_verify", &self.skip_verify)
            .field("headers", &self.headers.keys())
            .finish_non_exhaustive()
    }
}
