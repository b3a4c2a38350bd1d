//! Host and port of a declared domain.

/// Splits `domain` into its host, without the brackets of IPv6, and its port. A domain without a
/// valid port has the port `default`.
pub(crate) fn host_and_port(domain: &str, default: u16) -> (&str, u16) {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(default)),
        _ => (domain, default),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domain_is_split_into_host_and_port() {
        for (domain, host, port) in [
            ("h.example.org", "h.example.org", 443),
            ("h.example.org:8443", "h.example.org", 8443),
            ("[::1]:5000", "::1", 5000),
            ("[::1]", "::1", 443),
        ] {
            assert_eq!(host_and_port(domain, 443), (host, port));
        }
    }
}
