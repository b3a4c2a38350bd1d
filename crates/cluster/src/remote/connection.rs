//! Connections to another cluster: TLS with HTTP/2, or HTTP/1.1 if the server has only that.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kube::client::Body;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::{BoxError, Service};

use super::{limits::RemoteLimits, meter::MeteredStream};

/// Protocols in the order of preference.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// Time without a byte from the server after which a connection with requests is probed, as by
/// client-go. The server has [`PROBE_TIMEOUT`] to respond.
const PROBE: Duration = Duration::from_secs(30);
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a response that arrive before they are read: the receive windows of a stream and of a
/// connection. A watch that is read slowly leaves room for other responses.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// Bytes of the longest head of a response.
const HEAD_MAX: u32 = 16 << 10;
/// Bytes of the longest head of a response over HTTP/1.1, and of its read buffer.
const HTTP1_MAX: usize = 64 << 10;
/// Bytes of a request that wait for the server.
const SEND_MAX: usize = 64 << 10;
/// Streams that a server may force a client to reset.
const RESETS_MAX: usize = 32;
/// Connections over HTTP/1.1 that are kept without a request.
const IDLE_MAX: usize = 1;

/// HTTP client of one server.
pub(super) type RemoteTransport = Client<RemoteConnector, Body>;

/// Returns an HTTP client, which counts its connections in `opened`. All requests share one
/// connection over HTTP/2.
pub(super) fn transport(
    mut tls: ClientConfig,
    server_name: Option<ServerName<'static>>,
    limits: &RemoteLimits,
    opened: Arc<AtomicUsize>,
) -> RemoteTransport {
    tls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // A connection lasts for days, and the default reserves memory for the sessions of 32 servers.
    tls.resumption = Resumption::disabled();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // A dead server is noticed without a request, and while a request is being sent.
    tcp.set_keepalive(Some(PROBE));
    tcp.set_keepalive_interval(Some(PROBE_TIMEOUT));
    tcp.set_tcp_user_timeout(Some(limits.idle));
    let tls = TlsConnector::from(Arc::new(tls));
    let connector = RemoteConnector { tcp, tls, server_name, limits: *limits, opened };
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        // The pool would replace a connection whose only request is an old watch.
        .pool_idle_timeout(None)
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(HTTP1_MAX)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(HEAD_MAX)
        .http2_max_send_buf_size(SEND_MAX)
        .http2_max_local_error_reset_streams(RESETS_MAX)
        .http2_keep_alive_interval(PROBE)
        .http2_keep_alive_timeout(PROBE_TIMEOUT)
        .build(connector)
}

/// Opens connections to one server.
#[derive(Clone)]
pub(super) struct RemoteConnector {
    tcp: HttpConnector,
    tls: TlsConnector,
    /// Name in the certificate; `None` if it is the host of the URL.
    server_name: Option<ServerName<'static>>,
    limits: RemoteLimits,
    /// Number of connections so far.
    opened: Arc<AtomicUsize>,
}

impl Service<Uri> for RemoteConnector {
    type Response = RemoteStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<RemoteStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let (tls, limits, opened) = (self.tls.clone(), self.limits, Arc::clone(&self.opened));
        let name = if let Some(name) = &self.server_name {
            Ok(name.clone())
        } else {
            let host = url.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(host.to_owned())
        };
        let connected = self.tcp.call(url);
        Box::pin(async move {
            let handshake = async {
                let name = name?;
                let tcp = MeteredStream::new(connected.await?.into_inner(), limits.response);
                Ok::<_, BoxError>(tls.connect(name, tcp).await?)
            };
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let stream = timeout(limits.connect, handshake).await.map_err(late)??;
            opened.fetch_add(1, Ordering::Relaxed);
            Ok(RemoteStream(Box::pin(TokioIo::new(stream))))
        })
    }
}

/// Connection over TLS. Boxed: the tasks of a connection move it several times.
pub(super) struct RemoteStream(Pin<Box<TokioIo<TlsStream<MeteredStream>>>>);

impl Connection for RemoteStream {
    fn connected(&self) -> Connected {
        let protocol = self.0.inner().get_ref().1.alpn_protocol();
        if protocol == Some(PROTOCOLS[0]) {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for RemoteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(context, buffer)
    }
}

impl Write for RemoteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
