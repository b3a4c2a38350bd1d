//! Names of a self-signed certificate, the URL that it covers, and an example request.

use std::{net::SocketAddr, path::Path};

/// Returns the URL of a server at `address`. The self-signed certificate covers its host.
pub fn url(address: SocketAddr) -> String {
    let ip = address.ip();
    let server = if ip.is_unspecified() || ip.is_loopback() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    };
    format!("https://{server}/mutate")
}

/// Returns a `curl` command, for a POSIX shell, that sends an example review to the server at
/// `address`. The file `authority` contains the CA to trust.
pub fn curl_example(authority: &Path, address: SocketAddr) -> String {
    format!(
        "curl --cacert {} --data @examples/admission-review.json \
         --header 'content-type: application/json' {}",
        quoted(&authority.to_string_lossy()),
        url(address)
    )
}

/// Returns `path` as one word of a POSIX shell.
fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', r"'\''"))
}

/// Returns the names of a self-signed certificate: those of the loopback interface, the address
/// `listen` unless it is unspecified, and `more`. Each name occurs once.
pub fn names(listen: SocketAddr, more: &[String]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.ip().is_unspecified() {
        names.push(listen.ip().to_string());
    }
    names.extend_from_slice(more);
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_line(authority: &str, address: &str) -> String {
        curl_example(Path::new(authority), address.parse().unwrap())
    }

    #[test]
    fn server_on_all_addresses_has_localhost_url() {
        assert_eq!(
            mk_line("/state/ca.crt", "0.0.0.0:8443"),
            "curl --cacert /state/ca.crt --data @examples/admission-review.json \
             --header 'content-type: application/json' https://localhost:8443/mutate"
        );
    }

    #[test]
    fn server_on_one_address_has_its_url() {
        let line = mk_line("/state/ca.crt", "[fd00::1]:443");
        assert!(line.ends_with(" https://[fd00::1]:443/mutate"), "{line}");
    }

    #[test]
    fn path_with_quotes_stays_one_word() {
        let line = mk_line("/it's here/ca.crt", "127.0.0.1:1");
        assert!(line.starts_with(r"curl --cacert '/it'\''s here/ca.crt' --data"), "{line}");
    }

    #[test]
    fn listen_address_is_named_once() {
        let more = ["webhook.example".to_owned(), "localhost".to_owned()];
        let listen = |ip: &str| names(ip.parse().unwrap(), &more);
        let local = ["localhost", "127.0.0.1", "::1"];
        assert_eq!(listen("0.0.0.0:1"), [&local[..], &["webhook.example"]].concat());
        assert_eq!(listen("127.0.0.1:1"), [&local[..], &["webhook.example"]].concat());
        assert_eq!(listen("10.0.0.7:1"), [&local[..], &["10.0.0.7", "webhook.example"]].concat());
    }
}
