//! Service of one connection, from the handshake to its end.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, Version,
    body::Incoming,
    header::{CONNECTION, HeaderValue},
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::graceful::GracefulConnection,
};
use tokio::{
    io::AsyncBufReadExt as _,
    net::TcpStream,
    sync::oneshot,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, io::InspectReader};
use tracing::debug;

use crate::{
    activity::{Activity, Expired, InFlightRequest},
    connections::ConnectionSlot,
    limits::{FIELD, HANDSHAKES, HTTP1, HTTP2, Limits},
    memory::Purpose,
    metrics::ServerMetrics,
    phase::{Phase, PhaseView},
    reply::Reply,
    tls::H2,
    turns::HandshakeTurns,
    wire::Wire,
};

/// Largest read buffer of an HTTP/1.1 connection, in bytes: one TLS record.
const READ_BUFFER: usize = 16 * 1024;
/// Flow-control window of an HTTP/2 stream, and of a connection, in bytes. Its bytes are charged
/// as `INPUT`.
const WINDOW: u32 = 64 * 1024;
/// Bytes of an answer that an HTTP/2 stream buffers.
const SEND_BUFFER: usize = 16 * 1024;

/// A handler of requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. An error is an answer, too. Memory that the request occupies is charged
    /// to `work`.
    fn handle<'a>(
        &'a self,
        request: Request<Incoming>,
        work: &'a mut InFlightRequest,
    ) -> PendingReply<'a>;
}

/// The future of an answer.
pub type PendingReply<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// An HTTP connection of any version.
type HttpConnection =
    Pin<Box<dyn GracefulConnection<Error = hyper::Error, Output = hyper::Result<()>> + Send>>;

/// The state that all connections of a listener share.
pub(crate) struct ConnectionServer {
    handler: Box<dyn Handler>,
    /// TLS acceptor, and counters of its errors; `None` for a plain port.
    tls: Option<(TlsAcceptor, Arc<ServerMetrics>)>,
    limits: Limits,
    /// Phase of the listener's connections.
    pub(crate) phase: PhaseView,
    handshakes: Arc<HandshakeTurns>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl ConnectionServer {
    pub(crate) fn new(
        handler: Box<dyn Handler>,
        tls: Option<(TlsAcceptor, Arc<ServerMetrics>)>,
        limits: Limits,
        phase: PhaseView,
    ) -> Arc<Self> {
        let mut http1 = http1::Builder::new();
        http1
            // A client that has shut down its sending side still reads.
            .half_close(true)
            // The timeout of hyper would also run while the connection is idle: see `Activity`.
            .header_read_timeout(None)
            .max_header_size(limits.header_bytes as usize)
            .max_buf_size(READ_BUFFER.max(limits.header_bytes as usize));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(limits.header_bytes)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        Arc::new(Self {
            handler,
            tls,
            limits,
            phase,
            handshakes: HandshakeTurns::new(HANDSHAKES),
            http1,
            http2,
        })
    }

    /// Serves `stream` until it ends, or until [`Phase::Over`].
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, slot: ConnectionSlot) {
        let over = self.phase.reached(Phase::Over);
        // Answers are written as a whole, so Nagle's algorithm would only delay them.
        let _ = stream.set_nodelay(true);
        let wire = Wire::new(stream, Arc::clone(&slot.activity), self.tls.is_some());
        tokio::select! {
            () = self.serve_tls(wire, slot) => {}
            () = over => {}
        }
    }

    /// Serves a connection after its handshake, if the port has TLS.
    async fn serve_tls(self: &Arc<Self>, mut wire: Wire, slot: ConnectionSlot) {
        let Some((tls, metrics)) = &self.tls else {
            slot.activity.handshake_done();
            return self.http1(Either::Left(wire), slot).await;
        };
        let handshake = async {
            // TLS state is allocated after the client's first bytes.
            wire.readable().await?;
            // Boxed, so that the task does not keep room for the handshake.
            Box::pin(self.run_handshake(tls.accept(wire), &slot.activity)).await
        };
        let handshake = timeout(self.limits.handshake, handshake);
        let handshake = tokio::select! {
            done = handshake => done,
            () = slot.activity.evicted() => return,
        };
        match handshake {
            Ok(Ok(stream)) => {
                let mut stream = Box::new(stream);
                slot.activity.handshake_done();
                // The protocol is that of ALPN. hyper's detection by the first bytes has no time
                // limit.
                if stream.get_ref().1.alpn_protocol() == Some(H2) {
                    self.http2(stream, slot).await;
                } else if self.begins(&mut stream, &slot.activity).await {
                    self.http1(Either::Right(stream), slot).await;
                }
            }
            Ok(Err(error)) => {
                metrics.handshake_failed();
                debug!(%error, "TLS handshake failed");
            }
            Err(_) => {
                metrics.handshake_failed();
                debug!("TLS handshake took too long");
            }
        }
    }

    /// Runs a handshake.
    ///
    /// Addresses take turns with the costly step, which ends with the server's first bytes. A turn
    /// ends after all other ready work, so that a review waits for only a few of them.
    async fn run_handshake<T>(&self, handshake: impl Future<Output = T>, activity: &Activity) -> T {
        let mut handshake = pin!(handshake);
        while !activity.has_written() {
            activity.queue(true);
            let turn = self.handshakes.take(activity.peer).await;
            activity.queue(false);
            let step = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await;
            if activity.has_written() {
                yield_now().await;
            }
            drop(turn);
            if let Poll::Ready(done) = step {
                return done;
            }
            if !activity.has_written() {
                // The step has registered this task's waker, and nothing has been awaited since.
                let mut is_woken = false;
                poll_fn(|_| {
                    let is_second = std::mem::replace(&mut is_woken, true);
                    if is_second { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        }
        handshake.await
    }

    /// Waits for the first bytes of `stream`, which needs no buffers before. Returns false if the
    /// connection has to be closed.
    async fn begins(&self, stream: &mut TlsStream<Wire>, activity: &Activity) -> bool {
        let leaving = async {
            self.phase.reached(Phase::Draining).await;
            sleep(self.limits.linger).await;
        };
        tokio::select! {
            biased;
            bytes = stream.fill_buf() => {
                let begins = bytes.is_ok_and(|bytes| !bytes.is_empty());
                if begins {
                    activity.read(0);
                }
                begins
            }
            () = leaving => false,
            _ = activity.expired(&self.limits) => false,
            () = activity.evicted() => false,
        }
    }

    /// Waits for room, and charges `bytes` for HTTP. Returns the state of the connection; `None` if
    /// it has to give way.
    async fn occupy(slot: &ConnectionSlot, bytes: usize) -> Option<Arc<Activity>> {
        let (activity, memory) = (&slot.activity, &slot.activity.memory);
        if !memory.has_room(Purpose::Input) {
            activity.wait(true);
            let room = tokio::select! {
                biased;
                () = memory.room(Purpose::Input) => true,
                () = activity.evicted() => false,
            };
            activity.wait(false);
            if !room {
                return None;
            }
        }
        activity.occupy(bytes);
        Some(Arc::clone(activity))
    }

    /// Serves HTTP/1.1.
    async fn http1(
        self: &Arc<Self>,
        stream: Either<Wire, Box<TlsStream<Wire>>>,
        slot: ConnectionSlot,
    ) {
        let Some(activity) = Self::occupy(&slot, HTTP1).await else { return };
        // Only HTTP/1.1 bytes outside a request begin the next one. In HTTP/2 they may be a ping.
        let reading = Arc::clone(&activity);
        let io = TokioIo::new(InspectReader::new(stream, move |bytes: &[u8]| {
            if !bytes.is_empty() {
                reading.read(bytes.len());
            }
        }));
        let connection = self.http1.serve_connection(io, self.service(slot));
        // HTTP/1.1 has no message that forbids further requests. A client may send one until it has
        // received an answer with `Connection: close`.
        self.supervise(Box::pin(connection), &activity, (Phase::Draining, self.limits.linger))
            .await;
    }

    /// Serves HTTP/2.
    async fn http2(self: &Arc<Self>, stream: Box<TlsStream<Wire>>, slot: ConnectionSlot) {
        let Some(activity) = Self::occupy(&slot, HTTP2).await else { return };
        let connection = self.http2.serve_connection(TokioIo::new(stream), self.service(slot));
        // API servers keep connections after a change of Endpoints. They connect again after
        // GOAWAY, also to this server while it accepts.
        let ending = if self.phase.is_serving() { Phase::Leaving } else { Phase::Draining };
        self.supervise(Box::pin(connection), &activity, (ending, Duration::ZERO)).await;
    }

    /// Returns the service of a connection. Its drop releases `slot`.
    fn service(
        self: &Arc<Self>,
        slot: ConnectionSlot,
    ) -> impl HttpService<
        Incoming,
        ResBody = Full<Bytes>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + use<>,
    > + use<> {
        let shared = Arc::new((Arc::clone(self), slot));
        service_fn(move |request| {
            let shared = Arc::clone(&shared);
            // The head is charged now, before the next one is read, and not when its task runs.
            let work = begin(&request, &shared.1.activity);
            async move {
                let (server, _slot) = &*shared;
                Ok(server.answer(request, work).await.map(Full::new))
            }
        })
    }

    /// Answers a request, and counts it.
    async fn answer(&self, request: Request<Incoming>, mut work: InFlightRequest) -> Reply {
        let is_http1 = request.version() < Version::HTTP_2;
        let metrics = self.tls.as_ref().map(|(_, metrics)| metrics);
        let in_flight = metrics.map(|metrics| metrics.request());
        let mut reply = self.handler.handle(request, &mut work).await;
        if let Some(metrics) = metrics {
            metrics.answer(reply.status());
        }
        drop(in_flight);
        if is_http1 && !self.phase.is_serving() {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply.map(|answer| work.answer(answer))
    }

    /// Runs `connection` until it ends. A time `linger` after `phase` it is shut down gracefully.
    ///
    /// The connection has a task of its own, so that received bytes do not poll the rare events
    /// here.
    async fn supervise(
        &self,
        connection: HttpConnection,
        activity: &Activity,
        (phase, linger): (Phase, Duration),
    ) {
        let (end, ending) = oneshot::channel();
        // The drop of this value ends the connection's task.
        let mut running = JoinSet::new();
        running.spawn(run(connection, ending));
        let leaving = async {
            self.phase.reached(phase).await;
            sleep(linger).await;
        };
        let grace = tokio::select! {
            biased;
            _ = running.join_next() => return,
            () = leaving => None,
            expired = activity.expired(&self.limits) => match expired {
                Expired::Silent => Some(self.limits.header),
                Expired::Unread => return debug!("closing connection: client does not read"),
            },
            // Another client waits for the memory.
            () = activity.evicted() => Some(Duration::ZERO),
        };
        // The receiver is dropped if the connection has just ended.
        let _ = end.send(());
        let patience = async {
            match grace {
                Some(grace) => sleep(grace).await,
                // Requests in flight may finish until `Phase::Over`. Without a request, HTTP/2
                // waits for the client's answer to GOAWAY, which a failed client never sends.
                None => activity.quiet(self.limits.goaway).await,
            }
        };
        tokio::select! {
            biased;
            _ = running.join_next() => {}
            () = patience => debug!("closing connection: client did not respond to GOAWAY in time"),
            () = activity.evicted() => debug!("closing connection: its memory is needed"),
        }
    }
}

/// Begins the work of `request` and charges its head.
fn begin(request: &Request<Incoming>, activity: &Arc<Activity>) -> InFlightRequest {
    let head = head_length(request);
    if request.version() < Version::HTTP_2 {
        return activity.request(Some(head));
    }
    let mut work = activity.request(None);
    // Each field is in the block of its frame and in the map, which grows by doubling.
    work.charge(2 * (head + FIELD * request.headers().len()));
    work
}

/// Returns the length of a request's head in HTTP/1.1, without optional blanks, in bytes.
fn head_length(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    request.method().as_str().len() + path + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>()
}

/// Runs `connection` until it ends, and shuts it down gracefully after a message to `ending`.
async fn run(mut connection: HttpConnection, ending: oneshot::Receiver<()>) {
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = ending => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
