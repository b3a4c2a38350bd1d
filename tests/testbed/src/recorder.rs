//! A server under the names of public registries, which only records the requested names.

use std::{
    io::{self, Read},
    net::{IpAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{error::Error, port::loopback};

/// The default ports of registries: HTTPS and HTTP.
const PORTS: [u16; 2] = [443, 80];
/// The longest time for a client to send the requested name.
const PATIENCE: Duration = Duration::from_secs(2);

/// A recorder of the requested name in each TLS hello (RFC 6066, section 3) or HTTP request.
///
/// It then closes the connection. It listens on a loopback address of its own until the
/// process ends.
#[derive(Clone, Debug)]
pub struct Recorder {
    address: IpAddr,
    names: Vec<String>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Listens for `names`.
    ///
    /// # Errors
    /// The ports cannot be opened: they require root.
    pub fn start(names: &[&str]) -> Result<Self, Error> {
        let address = loopback();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let recorder = Self { address: address.into(), names, calls: Arc::default() };
        for port in PORTS {
            let socket = TcpListener::bind((address, port))
                .map_err(Error::io(format!("listen at {address}:{port}")))?;
            let recorder = recorder.clone();
            thread::spawn(move || {
                for stream in socket.incoming().flatten() {
                    recorder.note(stream);
                }
            });
        }
        Ok(recorder)
    }

    /// Returns each name with its address, for a node's `/etc/hosts`.
    pub fn hosts(&self) -> Vec<(String, IpAddr)> {
        self.names.iter().map(|name| (name.clone(), self.address)).collect()
    }

    /// Returns the requested names, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, stream: TcpStream) {
        let received = hello(stream).unwrap_or_default();
        let is_in =
            |name: &&String| received.windows(name.len()).any(|part| part == name.as_bytes());
        let name = self.names.iter().find(is_in).cloned();
        let name = name.unwrap_or_else(|| "nobody by name".to_owned());
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }
}

/// Reads the first bytes that a client sends.
fn hello(mut stream: TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut received = vec![0; 4096];
    let length = stream.read(&mut received)?;
    received.truncate(length);
    Ok(received)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::wait::{Wait, until};

    #[test]
    fn requested_name_is_recorded() {
        // Ports below 1024 require root; the test passes without.
        let Ok(recorder) = Recorder::start(&["quay.io", "ghcr.io"]) else { return };
        let mut caller = TcpStream::connect((recorder.address, 80)).unwrap();
        caller.write_all(b"GET /v2/ HTTP/1.1\r\nHost: ghcr.io\r\n\r\n").unwrap();
        let calls = until("the call", PATIENCE, || match recorder.calls() {
            calls if calls.is_empty() => Err(Wait::NotYet("no call".into())),
            calls => Ok(calls),
        });
        assert_eq!(calls.unwrap(), ["ghcr.io"]);
        assert_eq!(recorder.hosts()[0], ("quay.io".to_owned(), recorder.address));
    }
}
