//! gRPC over a Unix socket: one `POST` for each call.
//!
//! Source: grpc/grpc, `doc/PROTOCOL-HTTP2.md`.

use std::path::Path;

use super::error::Error;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request,
    client::conn::http2::{SendRequest, handshake},
    header::{CONTENT_TYPE, HeaderValue, TE},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode;
use prost::Message;
use tokio::net::UnixStream;

/// Bytes before each message: one that is 1 if it is compressed, and four with its length.
const PREFIX: usize = 5;

/// A connection to a runtime.
#[derive(Debug)]
pub(super) struct Channel {
    sender: SendRequest<Full<Bytes>>,
    /// The id of the runtime's process; `None` if it is invisible, as in another namespace.
    pub(super) peer: Option<u32>,
}

impl Channel {
    pub(super) async fn open(socket: &Path) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable { socket: socket.to_owned(), source };
        let stream = UnixStream::connect(socket).await.map_err(unreachable)?;
        // 0: it lives in namespaces that are not seen from here.
        let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let peer = peer.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|source| Error::Broken { method: "connect", source })?;
        // Calls in flight receive the error that ends the connection.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, peer })
    }

    /// Calls `method`, as in `/runtime.v1.RuntimeService/Version`.
    pub(super) async fn call<A: Message + Default>(
        &mut self,
        method: &'static str,
        input: &impl Message,
    ) -> Result<A, Error> {
        let garbled = |found: String| Error::Garbled { method, found };
        let broken = |source| Error::Broken { method, source };
        let request = Request::post(["http://localhost", method].concat())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"))
            .header(TE, HeaderValue::from_static("trailers"))
            .body(Full::new(frame(input)))
            .map_err(|error| garbled(error.to_string()))?;
        self.sender.ready().await.map_err(broken)?;
        let (head, body) = self.sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = body.collect().await.map_err(broken)?;
        // A call without an answer has its status in the headers.
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = [&trailers, &head.headers].into_iter().find_map(status);
        let (code, message) =
            status.ok_or_else(|| garbled(format!("HTTP {} and no gRPC status", head.status)))?;
        if code != 0 {
            return Err(Error::Refused { method, code, message });
        }
        let bytes = body.to_bytes();
        let message = bytes.get(PREFIX..).filter(|_| bytes[0] == 0);
        let message = message.ok_or_else(|| garbled("no message, or a compressed one".into()))?;
        A::decode(message).map_err(|error| garbled(error.to_string()))
    }
}

fn frame(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    // The requests of image-swap are a few hundred bytes long.
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

/// Returns the gRPC code and the percent-decoded message; `None` without a valid code.
fn status(headers: &HeaderMap) -> Option<(u32, String)> {
    let code = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let message = headers.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
    Some((code, percent_decode(message).decode_utf8_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_a_status_are_percent_encoded() {
        let mut headers = HeaderMap::new();
        assert_eq!(status(&headers), None);
        headers.insert("grpc-status", HeaderValue::from_static("12"));
        assert_eq!(status(&headers), Some((12, String::new())));
        headers.insert("grpc-message", HeaderValue::from_static("a%20b%C3%A9 100%"));
        assert_eq!(status(&headers), Some((12, "a b\u{e9} 100%".to_owned())));
    }
}
