//! Names of a self-made certificate, and an example request to its server.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// A request that works when pasted into a shell.
#[derive(Clone, Debug)]
pub struct CurlExample {
    /// The file with the authority to trust.
    pub authority: PathBuf,
    /// The address of the server.
    pub address: SocketAddr,
}

impl fmt::Display for CurlExample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "curl --cacert {} --data @examples/admission-review.json \
             --header 'content-type: application/json' https://",
            Quoted(&self.authority)
        )?;
        let ip = self.address.ip();
        if ip.is_unspecified() || ip.is_loopback() {
            write!(f, "localhost:{}", self.address.port())?;
        } else {
            write!(f, "{}", self.address)?;
        }
        f.write_str("/mutate")
    }
}

/// A path as one word of a POSIX shell.
struct Quoted<'a>(&'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        if !path.is_empty() && path.chars().all(plain) {
            f.write_str(&path)
        } else {
            write!(f, "'{}'", path.replace('\'', r"'\''"))
        }
    }
}

/// Returns the names of a self-made certificate: those of this machine, the address that the
/// server listens on unless that means all, and `more`.
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
        CurlExample { authority: authority.into(), address: address.parse().unwrap() }.to_string()
    }

    #[test]
    fn a_server_on_all_addresses_is_asked_by_the_name_of_this_machine() {
        assert_eq!(
            mk_line("/state/ca.crt", "0.0.0.0:8443"),
            "curl --cacert /state/ca.crt --data @examples/admission-review.json \
             --header 'content-type: application/json' https://localhost:8443/mutate"
        );
    }

    #[test]
    fn a_server_on_one_address_is_asked_there() {
        let line = mk_line("/state/ca.crt", "[fd00::1]:443");
        assert!(line.ends_with(" https://[fd00::1]:443/mutate"), "{line}");
    }

    #[test]
    fn a_path_with_blanks_and_quotes_stays_one_word() {
        let line = mk_line("/it's here/ca.crt", "127.0.0.1:1");
        assert!(line.starts_with(r"curl --cacert '/it'\''s here/ca.crt' --data"), "{line}");
    }

    #[test]
    fn the_address_listened_on_is_a_name_once() {
        let more = ["webhook.example".to_owned(), "localhost".to_owned()];
        let listen = |ip: &str| names(ip.parse().unwrap(), &more);
        let local = ["localhost", "127.0.0.1", "::1"];
        assert_eq!(listen("0.0.0.0:1"), [&local[..], &["webhook.example"]].concat());
        assert_eq!(listen("127.0.0.1:1"), [&local[..], &["webhook.example"]].concat());
        assert_eq!(listen("10.0.0.7:1"), [&local[..], &["10.0.0.7", "webhook.example"]].concat());
    }
}
