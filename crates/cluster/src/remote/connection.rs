//! Connections to another cluster: TLS with HTTP/2, or HTTP/1.1 if the server has only that.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Request, Response, Uri,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
    header::{HOST, HeaderValue},
    http::uri::{Authority, PathAndQuery, Scheme},
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::legacy::connect::HttpConnector,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kube::client::Body;
use rustls::{ClientConfig, client::Resumption, pki_types::ServerName};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::{BoxError, Service as _, ServiceExt as _};

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

/// HTTP client of one server. All requests share one connection over HTTP/2. Over HTTP/1.1 each
/// request has a connection of its own, and one connection is kept for the next request.
///
/// The pool of hyper-util, for any number of servers, would allocate another 8 KiB for each request.
pub(super) struct RemoteTransport {
    connector: RemoteConnector,
    authority: Authority,
    kept: Arc<KeptConnection>,
    /// Held while a connection is being opened.
    opening: AsyncMutex<()>,
    /// Number of connections so far.
    opened: AtomicUsize,
}

/// Connection for the next request; `None` before the first one.
#[derive(Default)]
struct KeptConnection(Mutex<Option<RemoteSender>>);

impl KeptConnection {
    fn put(&self, sender: RemoteSender) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
    }

    /// Returns the connection unless it is closed. Other requests share it if it has HTTP/2.
    fn take(&self) -> Option<RemoteSender> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(RemoteSender::Http2(sender)) if sender.is_ready() => {
                Some(RemoteSender::Http2(sender.clone()))
            }
            _ => kept.take().filter(RemoteSender::is_ready),
        }
    }
}

/// Sends requests over one connection.
enum RemoteSender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl RemoteTransport {
    /// Returns the client of the server at `authority`. No connection is opened.
    pub(super) fn new(
        mut tls: ClientConfig,
        server_name: Option<ServerName<'static>>,
        authority: Authority,
        limits: &RemoteLimits,
    ) -> Self {
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
        Self {
            connector: RemoteConnector { tcp, tls, server_name, limits: *limits },
            authority,
            kept: Arc::default(),
            opening: AsyncMutex::default(),
            opened: AtomicUsize::default(),
        }
    }

    /// Returns the number of connections so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Sends `request`, whose URL is a path, and returns the head of the response. A request that a
    /// closed connection did not send is sent over another one.
    ///
    /// # Errors
    /// No connection, or no response.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, BoxError> {
        loop {
            let (sender, is_new) = match self.kept.take() {
                Some(sender) => (sender, false),
                None => Box::pin(self.open()).await?,
            };
            self.address(&mut request, &sender)?;
            let sent = match sender {
                RemoteSender::Http2(mut sender) => sender.try_send_request(request).await,
                RemoteSender::Http1(sender) => Box::pin(self.send_alone(sender, request)).await,
            };
            let mut error = match sent {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(error.into_error().into()),
            }
        }
    }

    /// Sends `request` over HTTP/1.1, and keeps the connection for the time after the response.
    async fn send_alone(
        &self,
        mut sender: http1::SendRequest<Body>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let response = sender.try_send_request(request).await?;
        let kept = Arc::downgrade(&self.kept);
        tokio::spawn(async move {
            if sender.ready().await.is_ok()
                && let Some(kept) = kept.upgrade()
            {
                kept.put(RemoteSender::Http1(sender));
            }
        });
        Ok(response)
    }

    /// Returns a connection, and true if it is new.
    ///
    /// # Errors
    /// The server does not answer, or the handshake fails.
    async fn open(&self) -> Result<(RemoteSender, bool), BoxError> {
        let _opening = self.opening.lock().await;
        // Another request may have opened one.
        if let Some(sender) = self.kept.take() {
            return Ok((sender, false));
        }
        let stream = self.connector.connect(&self.authority).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        let sender = if stream.has_http2() {
            let sender = begin_http2(stream).await?;
            self.kept.put(RemoteSender::Http2(sender.clone()));
            RemoteSender::Http2(sender)
        } else {
            RemoteSender::Http1(begin_http1(stream).await?)
        };
        Ok((sender, true))
    }

    /// Completes the URL of `request` as the protocol of `sender` has it.
    ///
    /// # Errors
    /// The host of the server is not one of a URL.
    fn address(&self, request: &mut Request<Body>, sender: &RemoteSender) -> Result<(), BoxError> {
        let path = std::mem::take(request.uri_mut()).into_parts().path_and_query;
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut parts = hyper::http::uri::Parts::default();
        parts.path_and_query = Some(path);
        match sender {
            RemoteSender::Http2(_) => {
                parts.scheme = Some(Scheme::HTTPS);
                parts.authority = Some(self.authority.clone());
            }
            RemoteSender::Http1(_) => {
                let host = HeaderValue::from_str(self.authority.as_str())?;
                request.headers_mut().insert(HOST, host);
            }
        }
        *request.uri_mut() = Uri::from_parts(parts)?;
        Ok(())
    }
}

impl RemoteSender {
    /// Returns true if the connection is open, and takes a request.
    fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }
}

/// Begins HTTP/2 over `stream`, with a task that ends with the connection.
async fn begin_http2(stream: RemoteStream) -> hyper::Result<http2::SendRequest<Body>> {
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEAD_MAX)
        .max_send_buf_size(SEND_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .keep_alive_interval(PROBE)
        .keep_alive_timeout(PROBE_TIMEOUT)
        .handshake(stream)
        .await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Begins HTTP/1.1 over `stream`, with a task that ends with the connection.
async fn begin_http1(stream: RemoteStream) -> hyper::Result<http1::SendRequest<Body>> {
    let (sender, connection) =
        http1::Builder::new().max_buf_size(HTTP1_MAX).handshake(stream).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Opens connections to one server.
struct RemoteConnector {
    tcp: HttpConnector,
    tls: TlsConnector,
    /// Name in the certificate; `None` if it is the host of the URL.
    server_name: Option<ServerName<'static>>,
    limits: RemoteLimits,
}

impl RemoteConnector {
    /// Connects to the server at `authority`.
    ///
    /// # Errors
    /// The server does not answer in time, or the TLS handshake fails.
    async fn connect(&self, authority: &Authority) -> Result<RemoteStream, BoxError> {
        let name = if let Some(name) = &self.server_name {
            name.clone()
        } else {
            let host = authority.host().trim_start_matches('[').trim_end_matches(']');
            ServerName::try_from(host.to_owned())?
        };
        let mut url = hyper::http::uri::Parts::default();
        url.scheme = Some(Scheme::HTTPS);
        url.authority = Some(authority.clone());
        url.path_and_query = Some(PathAndQuery::from_static("/"));
        let url = Uri::from_parts(url)?;
        let handshake = async {
            let mut connector = self.tcp.clone();
            let tcp = connector.ready().await?.call(url).await?.into_inner();
            let tcp = MeteredStream::new(tcp, self.limits.response);
            Ok::<_, BoxError>(self.tls.connect(name, tcp).await?)
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let stream = timeout(self.limits.connect, handshake).await.map_err(late)??;
        Ok(RemoteStream(Box::pin(TokioIo::new(stream))))
    }
}

/// Connection over TLS. Boxed: the tasks of a connection move it several times.
pub(super) struct RemoteStream(Pin<Box<TokioIo<TlsStream<MeteredStream>>>>);

impl RemoteStream {
    /// Returns true if the server chose HTTP/2.
    fn has_http2(&self) -> bool {
        self.0.inner().get_ref().1.alpn_protocol() == Some(PROTOCOLS[0])
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(context)
    }
}
