//! A name server for pods.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::error::Error;

/// The port of DNS (RFC 1035, section 4.2).
const PORT: u16 = 53;
/// The length of a header (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
/// The type of an IPv4 address record.
const A: [u8; 2] = [0, 1];
/// The answer code for a name that does not exist.
const NAME_ERROR: u8 = 3;

/// A server that answers for a fixed list of names and denies all others. It listens
/// until it is dropped.
#[derive(Debug)]
pub(super) struct NameServer {
    address: Ipv4Addr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Listens on UDP port 53 of `address`.
    pub(super) fn start(address: Ipv4Addr, names: &[(String, IpAddr)]) -> Result<Self, Error> {
        let socket = UdpSocket::bind((address, PORT))
            .map_err(Error::io(format!("listen at {address}:{PORT}")))?;
        let names = names.iter().filter_map(|(name, address)| match address {
            IpAddr::V4(address) => Some((name.to_ascii_lowercase(), *address)),
            IpAddr::V6(_) => None,
        });
        let names: BTreeMap<String, Ipv4Addr> = names.collect();
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                if let Some(answer) = answer(&buffer[..length], &names) {
                    // A client that is gone needs no answer.
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Ok(Self { address, ended, thread: Some(thread) })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // One more packet ends the wait for the next one.
        let wake = UdpSocket::bind((self.address, 0));
        let sent = wake.and_then(|socket| socket.send_to(&[0], (self.address, PORT)));
        if sent.is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Returns the answer to a query of one question, or `None` if it is malformed.
fn answer(query: &[u8], names: &BTreeMap<String, Ipv4Addr>) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let kind = query.get(end..end + 2)?;
    let question = query.get(HEADER..end + 4)?;
    let address = names.get(&name);
    let records = match address {
        Some(address) if kind == A => address.octets().to_vec(),
        _ => Vec::new(),
    };
    let code = if address.is_some() { 0 } else { NAME_ERROR };
    let mut answer = query.get(..2)?.to_vec();
    // A response, authoritative; recursion as the query has it, and available.
    answer.push(0x84 | (query.get(2)? & 1));
    answer.push(0x80 | code);
    answer.extend([0, 1, 0, u8::from(!records.is_empty()), 0, 0, 0, 0]);
    answer.extend(question);
    if !records.is_empty() {
        // A pointer to the name in the question, type A, class IN, 5 s, four bytes.
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        answer.extend(records);
    }
    Some(answer)
}

/// Reads the name of the first question, in lower case, and returns it with its end.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        // Pointers do not occur in a question.
        let label = query.get(at..at + length).filter(|_| length < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&std::str::from_utf8(label).ok()?.to_ascii_lowercase());
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use super::answer;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut query = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            query.push(u8::try_from(label.len()).unwrap());
            query.extend(label.bytes());
        }
        query.extend([0, 0, kind, 0, 1]);
        query
    }

    #[test]
    fn known_name_has_an_address() {
        let names = BTreeMap::from([("harbor.example.org".to_owned(), Ipv4Addr::new(10, 1, 2, 3))]);
        let found = answer(&query("Harbor.example.org", 1), &names).unwrap();
        assert_eq!(found[..4], [7, 7, 0x85, 0x80]);
        assert!(found.ends_with(&[0, 4, 10, 1, 2, 3]));
        // No IPv6 address is not the same as no such name.
        let found = answer(&query("harbor.example.org", 28), &names).unwrap();
        assert_eq!((found[3], found[7]), (0x80, 0));
    }

    #[test]
    fn unknown_name_is_denied() {
        let found = answer(&query("nginx.org", 1), &BTreeMap::new()).unwrap();
        assert_eq!((found[3], found[7]), (0x83, 0));
        assert_eq!(answer(&[0; 5], &BTreeMap::new()), None);
    }
}
