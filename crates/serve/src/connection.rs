//! One connection, from the handshake to its end.

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

/// Size to which the buffer of an HTTP/1.1 connection may grow: a TLS record.
const READ_BUFFER: usize = 16 * 1024;
/// HTTP/2 flow control: bytes that one stream, and one connection, may send ahead. It is
/// charged as `INPUT`.
const WINDOW: u32 = 64 * 1024;
/// Bytes of an answer that an HTTP/2 stream takes ahead.
const SEND_BUFFER: usize = 16 * 1024;

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers a request. Failures are answers, too.
    fn handle<'a>(
        &'a self,
        request: Request<Incoming>,
        work: &'a mut InFlightRequest,
    ) -> PendingReply<'a>;
}

/// An answer in progress.
pub type PendingReply<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

type HttpConnection =
    Pin<Box<dyn GracefulConnection<Error = hyper::Error, Output = hyper::Result<()>> + Send>>;

/// The parts that all connections of a listener share.
pub(crate) struct ConnectionServer {
    handler: Box<dyn Handler>,
    /// TLS, and the counter of its failures; `None` for a plain port.
    tls: Option<(TlsAcceptor, Arc<ServerMetrics>)>,
    limits: Limits,
    /// The phase of its connections.
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
            // A client that is done sending still reads.
            .half_close(true)
            // The timeout of hyper would run while the connection is idle, too: see `Activity`.
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

    /// Serves `stream` until it ends, or everything does.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, slot: ConnectionSlot) {
        let over = self.phase.reached(Phase::Over);
        // Answers are written whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let wire = Wire::new(stream, Arc::clone(&slot.activity), self.tls.is_some());
        tokio::select! {
            () = self.serve_tls(wire, slot) => {}
            () = over => {}
        }
    }

    async fn serve_tls(self: &Arc<Self>, mut wire: Wire, slot: ConnectionSlot) {
        let Some((tls, metrics)) = &self.tls else {
            slot.activity.greeted();
            return self.http1(Either::Left(wire), slot).await;
        };
        let handshake = async {
            // A client that sends nothing costs no TLS state.
            wire.readable().await?;
            // In the heap, so that the task does not keep room for it.
            Box::pin(self.shake_hands(tls.accept(wire), &slot.activity)).await
        };
        let handshake = timeout(self.limits.handshake, handshake);
        let handshake = tokio::select! {
            done = handshake => done,
            () = slot.activity.evicted() => return,
        };
        match handshake {
            Ok(Ok(stream)) => {
                let mut stream = Box::new(stream);
                slot.activity.greeted();
                // By ALPN, not by the first bytes: waiting for those has no time limit.
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

    /// Runs a handshake. Addresses take turns with its costly step, which ends with the
    /// server's first bytes. A turn ends after all other work that is ready, so that no
    /// review waits for more than a few of them.
    async fn shake_hands<T>(&self, handshake: impl Future<Output = T>, activity: &Activity) -> T {
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
                // The step has registered this task, and nothing was awaited since.
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

    /// Waits for the first bytes of `stream`. Until then it needs no buffers. Returns false
    /// if it has to be closed first.
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

    /// Charges `bytes` for HTTP, once there is room. Returns the state of the connection;
    /// `None` if it has to give way instead.
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

    async fn http1(
        self: &Arc<Self>,
        stream: Either<Wire, Box<TlsStream<Wire>>>,
        slot: ConnectionSlot,
    ) {
        let Some(activity) = Self::occupy(&slot, HTTP1).await else { return };
        // Of HTTP/1.1 alone, where bytes outside a request begin the next one. In HTTP/2 they
        // may as well be a ping.
        let reading = Arc::clone(&activity);
        let io = TokioIo::new(InspectReader::new(stream, move |bytes: &[u8]| {
            if !bytes.is_empty() {
                reading.read(bytes.len());
            }
        }));
        let connection = self.http1.serve_connection(io, self.service(slot));
        // HTTP/1.1 has no message against further requests. Until the client has had an answer
        // with `Connection: close`, one may come.
        self.supervise(Box::pin(connection), &activity, (Phase::Draining, self.limits.linger))
            .await;
    }

    async fn http2(self: &Arc<Self>, stream: Box<TlsStream<Wire>>, slot: ConnectionSlot) {
        let Some(activity) = Self::occupy(&slot, HTTP2).await else { return };
        let connection = self.http2.serve_connection(TokioIo::new(stream), self.service(slot));
        // API servers keep their connections, whatever Endpoints contain, and connect again
        // after GOAWAY: to this server, too, as long as it accepts.
        let ending = if self.phase.is_serving() { Phase::Leaving } else { Phase::Draining };
        self.supervise(Box::pin(connection), &activity, (ending, Duration::ZERO)).await;
    }

    /// Answers the requests of the connection that has `slot`, which is free again
    /// when the connection is gone.
    fn service(
        self: &Arc<Self>,
        slot: ConnectionSlot,
    ) -> impl HttpService<
        Incoming,
        ResBody = Full<Bytes>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + use<>,
    > + use<> {
        let conversation = Arc::new((Arc::clone(self), slot));
        service_fn(move |request| {
            let conversation = Arc::clone(&conversation);
            // Before the next head is read, not when the task of this one runs.
            let work = begin(&request, &conversation.1.activity);
            async move {
                let (server, _slot) = &*conversation;
                Ok(server.answer(request, work).await.map(Full::new))
            }
        })
    }

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

    /// Runs `connection` until it ends, and shuts it down gracefully when its time is up:
    /// `linger` after `phase` has come.
    ///
    /// The connection has a task of its own, so that bytes do not wake the rare events here.
    async fn supervise(
        &self,
        connection: HttpConnection,
        activity: &Activity,
        (phase, linger): (Phase, Duration),
    ) {
        let (end, ending) = oneshot::channel();
        // Cut when this drops.
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
                Expired::Deaf => return debug!("closing connection: client does not read"),
            },
            // Another client waits for the memory.
            () = activity.evicted() => Some(Duration::ZERO),
        };
        // The receiver is gone if the connection has just ended.
        let _ = end.send(());
        let patience = async {
            match grace {
                Some(grace) => sleep(grace).await,
                // Requests in flight are finished, however long they take: `Phase::Over` cuts.
                // But a client that is gone sends nothing, and HTTP/2 would wait for its
                // answer to GOAWAY.
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
    // A field is kept in the block of its frame and in the map, which grows by doubling.
    work.charge(2 * (head + FIELD * request.headers().len()));
    work
}

/// Returns the bytes of a request's head as HTTP/1.1 writes it, without superfluous blanks.
fn head_length(request: &Request<Incoming>) -> usize {
    let fields = request.headers().iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    request.method().as_str().len() + path + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>()
}

/// Runs `connection` until it ends, and shuts it down gracefully once `ending` comes.
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
