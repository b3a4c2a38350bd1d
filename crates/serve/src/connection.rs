//! One connection, from handshake to farewell.

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
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::oneshot,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::io::InspectReader;
use tracing::debug;

use crate::{
    activity::{Activity, Expired, Work},
    connections::Place,
    limits::{FIELD, HANDSHAKES, HTTP1, HTTP2, Limits},
    memory::Purpose,
    metrics::ServerMetrics,
    phase::{Phase, PhaseView},
    reply::Reply,
    tls::H2,
    turns::Turns,
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
    fn handle(
        &self,
        request: Request<Incoming>,
        work: &mut Work,
    ) -> impl Future<Output = Reply> + Send;
}

/// What all connections of a listener share.
pub(crate) struct Host<H> {
    handler: H,
    /// TLS, and the counter of its failures; `None` for a plain port.
    tls: Option<(TlsAcceptor, Arc<ServerMetrics>)>,
    limits: Limits,
    phase: PhaseView,
    handshakes: Arc<Turns>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl<H: Handler> Host<H> {
    pub(crate) fn new(
        handler: H,
        tls: Option<(TlsAcceptor, Arc<ServerMetrics>)>,
        limits: Limits,
        phase: PhaseView,
    ) -> Arc<Self> {
        let mut http1 = http1::Builder::new();
        http1
            // A client that is done sending still reads.
            .half_close(true)
            // It would run while the connection is idle, too: see `Activity`.
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
            handshakes: Turns::new(HANDSHAKES),
            http1,
            http2,
        })
    }

    /// The phase that its connections live in.
    pub(crate) const fn phase(&self) -> &PhaseView {
        &self.phase
    }

    /// Serves `stream` until it ends, or everything does.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, place: Place) {
        let over = self.phase.reached(Phase::Over);
        // Answers are written whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let wire = Wire::new(stream, Arc::clone(&place.activity), self.tls.is_some());
        tokio::select! {
            () = self.converse(wire, place) => {}
            () = over => {}
        }
    }

    async fn converse(self: &Arc<Self>, mut wire: Wire, place: Place) {
        let Some((tls, metrics)) = &self.tls else {
            place.activity.greeted();
            return self.http1(wire, place).await;
        };
        let handshake = async {
            // A client that sends nothing costs no TLS state.
            wire.readable().await?;
            // In the heap, so that the task does not keep room for it.
            Box::pin(self.shake_hands(tls.accept(wire), &place.activity)).await
        };
        let handshake = timeout(self.limits.handshake, handshake);
        let handshake = tokio::select! {
            done = handshake => done,
            () = place.activity.evicted() => return,
        };
        match handshake {
            Ok(Ok(stream)) => {
                let mut stream = Box::new(stream);
                place.activity.greeted();
                // By ALPN, not by the first bytes: waiting for those has no time limit.
                if stream.get_ref().1.alpn_protocol() == Some(H2) {
                    self.http2(stream, place).await;
                } else if self.begins(&mut stream, &place.activity).await {
                    self.http1(stream, place).await;
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
            let turn = self.handshakes.take(activity.peer()).await;
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

    /// Charges `bytes` for HTTP, once there is room. Returns false if the connection has to
    /// give way instead.
    async fn occupy(activity: &Activity, bytes: usize) -> bool {
        let memory = activity.memory();
        if !memory.has_room(Purpose::Input) {
            activity.wait(true);
            let room = tokio::select! {
                biased;
                () = memory.room(Purpose::Input) => true,
                () = activity.evicted() => false,
            };
            activity.wait(false);
            if !room {
                return false;
            }
        }
        activity.occupy(bytes);
        true
    }

    async fn http1<S>(self: &Arc<Self>, stream: S, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::clone(&place.activity);
        if !Self::occupy(&activity, HTTP1).await {
            return;
        }
        // Of HTTP/1.1 alone, where bytes outside a request begin the next one. In HTTP/2 they
        // may as well be a ping.
        let reading = Arc::clone(&activity);
        let io = TokioIo::new(InspectReader::new(stream, move |bytes: &[u8]| {
            if !bytes.is_empty() {
                reading.read(bytes.len());
            }
        }));
        let connection = self.http1.serve_connection(io, self.service(place));
        // HTTP/1.1 cannot say that a request must not come any more. Until the
        // client has had an answer with `Connection: close`, one may.
        self.attend(connection, &activity, (Phase::Draining, self.limits.linger)).await;
    }

    async fn http2<S>(self: &Arc<Self>, stream: S, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::clone(&place.activity);
        if !Self::occupy(&activity, HTTP2).await {
            return;
        }
        let connection = self.http2.serve_connection(TokioIo::new(stream), self.service(place));
        // API servers go on to ask where they are connected, whatever Endpoints say.
        // They connect anew when told to go: here, too, as long as it is accepted.
        let told = if self.phase.is_serving() { Phase::Leaving } else { Phase::Draining };
        self.attend(connection, &activity, (told, Duration::ZERO)).await;
    }

    /// Answers the requests of the connection that has `place`, which is free again
    /// when the connection is gone.
    fn service(
        self: &Arc<Self>,
        place: Place,
    ) -> impl HttpService<
        Incoming,
        ResBody = Full<Bytes>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + use<H>,
    > + use<H> {
        let conversation = Arc::new((Arc::clone(self), place));
        service_fn(move |request| {
            let conversation = Arc::clone(&conversation);
            // Before the next head is read, not when the task of this one runs.
            let work = begin(&request, &conversation.1.activity);
            async move {
                let (host, _place) = &*conversation;
                Ok(host.answer(request, work).await.map(Full::new))
            }
        })
    }

    async fn answer(&self, request: Request<Incoming>, mut work: Work) -> Reply {
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

    /// Runs `connection` until it ends, and ends it in good order when its time
    /// is up: so long after such a phase has come.
    ///
    /// It runs in a task of its own: whatever it has to be told comes rarely, and
    /// need not be looked for whenever bytes come.
    async fn attend<C>(
        &self,
        connection: C,
        activity: &Activity,
        (phase, linger): (Phase, Duration),
    ) where
        C: GracefulConnection + Send + 'static,
        C::Error: std::fmt::Display + Send,
    {
        let (end, ending) = oneshot::channel();
        // Cut when this drops.
        let mut running = JoinSet::new();
        running.spawn(drive(Box::pin(connection), ending));
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
        // A connection that has just ended needs no telling.
        let _ = end.send(());
        let patience = async {
            match grace {
                Some(grace) => sleep(grace).await,
                // What is in flight is finished, however long it takes: `Phase::Over`
                // cuts. But a client that is gone says nothing, and HTTP/2 would wait
                // for its answer to the farewell.
                None => activity.quiet(self.limits.farewell).await,
            }
        };
        tokio::select! {
            biased;
            _ = running.join_next() => {}
            () = patience => debug!("the client does not leave: it is cut"),
            () = activity.evicted() => debug!("closing connection: its memory is needed"),
        }
    }
}

/// Begins the work of `request` and charges its head.
fn begin(request: &Request<Incoming>, activity: &Arc<Activity>) -> Work {
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

/// Runs `connection` until it ends, in good order once `ending` says so.
async fn drive<C>(mut connection: Pin<Box<C>>, ending: oneshot::Receiver<()>)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    tokio::select! {
        biased;
        ended = connection.as_mut() => return log(ended),
        _ = ending => connection.as_mut().graceful_shutdown(),
    }
    log(connection.await);
}

fn log<E: std::fmt::Display>(ended: Result<(), E>) {
    if let Err(error) = ended {
        debug!(%error, "connection ended");
    }
}
