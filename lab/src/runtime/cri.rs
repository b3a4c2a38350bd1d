//! The Container Runtime Interface, as far as pulling takes it.
//!
//! gRPC is HTTP/2 with a length before each message and the outcome in the
//! trailers; the two messages that are sent have a field or two. Source:
//! `k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::UnixStream, runtime::Handle};

/// A CRI socket.
#[derive(Clone, Debug)]
pub struct Cri {
    runtime: Handle,
    socket: PathBuf,
}

/// What came instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// gRPC's status code; none if nobody answered.
    pub code: Option<u16>,
    /// What the runtime says, or why nobody was reached.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "status {code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Refusal {}

impl Cri {
    pub(crate) fn at(runtime: &Handle, socket: &Path) -> Self {
        Self { runtime: runtime.clone(), socket: socket.to_owned() }
    }

    /// The runtime's version.
    ///
    /// # Errors
    /// It does not answer, or has no CRI.
    pub fn version(&self) -> Result<String, Refusal> {
        let answer = self.call("RuntimeService/Version", &[])?;
        Ok(text(&answer, 3))
    }

    /// Pulls an image and gives the runtime's name for it.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn pull(&self, image: &str) -> Result<String, Refusal> {
        // PullImageRequest { image = 1: ImageSpec { image = 1 } }
        let request = field(1, &field(1, image.as_bytes()));
        Ok(text(&self.call("ImageService/PullImage", &request)?, 1))
    }

    fn call(&self, method: &str, message: &[u8]) -> Result<Bytes, Refusal> {
        self.runtime.block_on(self.exchange(method, message))
    }

    async fn exchange(&self, method: &str, message: &[u8]) -> Result<Bytes, Refusal> {
        let unreachable = |error: &dyn fmt::Display| Refusal {
            code: None,
            message: format!("{}: {error}", self.socket.display()),
        };
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| unreachable(&error))?;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(|error| unreachable(&error))?;
        tokio::spawn(connection);
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
        body.put_slice(message);
        let request = hyper::Request::post(format!("http://localhost/runtime.v1.{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(Full::new(body.freeze()))
            .map_err(|error| unreachable(&error))?;
        let (head, body) =
            sender.send_request(request).await.map_err(|error| unreachable(&error))?.into_parts();
        let body = body.collect().await.map_err(|error| unreachable(&error))?;
        // An error without a message stands in the headers alone.
        let trailers = body.trailers().cloned().unwrap_or(head.headers);
        let said = |name: &str| {
            trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        };
        match said("grpc-status").parse() {
            Ok(0) => Ok(body.to_bytes().slice(5..)),
            Ok(code) => Err(Refusal { code: Some(code), message: said("grpc-message").to_owned() }),
            Err(_) => Err(unreachable(&"an answer that is no gRPC")),
        }
    }
}

/// A field that is bytes, a text or a message (protobuf, wire type 2).
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        bytes.push(if length == 0 { low } else { low | 0x80 });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// The text of field `number` of a message whose fields are all texts.
fn text(message: &[u8], number: u8) -> String {
    let mut rest = message;
    while let [key, length, after @ ..] = rest {
        let (mut length, mut after) = (usize::from(*length), after);
        if let ([high, later @ ..], true) = (after, length > 0x7f) {
            length = (length & 0x7f) | usize::from(*high) << 7;
            after = later;
        }
        let (content, next) = after.split_at(length.min(after.len()));
        if *key == number << 3 | 2 {
            return String::from_utf8_lossy(content).into_owned();
        }
        rest = next;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::{field, text};

    #[test]
    fn a_field_is_read_as_it_is_written() {
        for long in [0, 1, 127, 128, 300, 5000] {
            let value = "x".repeat(long);
            let message = [field(1, b"other"), field(3, value.as_bytes())].concat();
            assert_eq!(text(&message, 3), value, "{long}");
        }
    }
}
