//! One connection, from handshake to farewell.

use std::{convert::Infallible, future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Version,
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
    io::{AsyncRead, AsyncWrite, BufReader},
    net::TcpStream,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::{
    activity::{Activity, Observed},
    connections::Place,
    limits::Limits,
    metrics::Metrics,
    phase::{Phase, PhaseView},
    reply::Reply,
    tls::H2,
};

/// What is read from a socket at once: a whole TLS record (16 KiB and what is
/// around it). rustls would take it in pieces of 4 KiB, each a system call.
const READ_AHEAD: usize = 17 * 1024;
/// HTTP/1.1 reads into a buffer that grows with what comes, at most to this;
/// every connection may hold one.
const READ_BUFFER: usize = 64 * 1024;
/// HTTP/2 flow control: what one stream, and one connection, may send ahead.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// Answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one. What goes wrong is an answer too.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// What all connections of a listener share.
pub(crate) struct Host<H> {
    handler: H,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    phase: PhaseView,
    metrics: Arc<Metrics>,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl<H: Handler> Host<H> {
    pub(crate) fn new(
        handler: H,
        tls: Option<TlsAcceptor>,
        limits: Limits,
        phase: PhaseView,
        metrics: Arc<Metrics>,
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
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Arc::new(Self { handler, tls, limits, phase, metrics, http1, http2 })
    }

    /// The phase that its connections live in.
    pub(crate) const fn phase(&self) -> &PhaseView {
        &self.phase
    }

    /// Serves `stream` until it ends, or everything does.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, place: Place) {
        let over = self.phase.reached(Phase::Over);
        tokio::select! {
            () = self.converse(stream, place) => {}
            () = over => {}
        }
    }

    async fn converse(self: &Arc<Self>, stream: TcpStream, place: Place) {
        // Answers are written whole: waiting for more to send only delays them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.http1(stream, place).await };
        let stream = BufReader::with_capacity(READ_AHEAD, stream);
        let handshake = timeout(self.limits.handshake, tls.accept(stream));
        let handshake = tokio::select! {
            done = handshake => done,
            () = place.activity.asked_to_leave() => return,
        };
        match handshake {
            Ok(Ok(stream)) => {
                // By ALPN, not by the first bytes: waiting for those has no time limit.
                if stream.get_ref().1.alpn_protocol() == Some(H2) {
                    self.http2(stream, place).await;
                } else {
                    self.http1(stream, place).await;
                }
            }
            Ok(Err(error)) => {
                self.metrics.handshake_failed();
                debug!(%error, "TLS handshake failed");
            }
            Err(_) => {
                self.metrics.handshake_failed();
                debug!("TLS handshake took too long");
            }
        }
    }

    async fn http1<S>(self: &Arc<Self>, stream: S, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::clone(&place.activity);
        let io = TokioIo::new(Observed { stream, activity: Arc::clone(&activity) });
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
        Future = impl Future<Output = Result<Reply, Infallible>> + Send + use<H>,
    > + use<H> {
        let conversation = Arc::new((Arc::clone(self), place));
        service_fn(move |request| {
            let conversation = Arc::clone(&conversation);
            async move {
                let (host, place) = &*conversation;
                Ok(host.answer(request, &place.activity).await)
            }
        })
    }

    async fn answer(&self, request: Request<Incoming>, activity: &Activity) -> Reply {
        let _busy = activity.request();
        let version = request.version();
        let mut reply = self.handler.handle(request).await;
        if version < Version::HTTP_2 && !self.phase.is_serving() {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
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
        running.spawn(drive(connection, ending));
        let leaving = async {
            self.phase.reached(phase).await;
            sleep(linger).await;
        };
        let grace = tokio::select! {
            biased;
            _ = running.join_next() => return,
            () = leaving => None,
            () = activity.expired(&self.limits) => Some(self.limits.header),
            // Somebody is waiting for this place.
            () = activity.asked_to_leave() => Some(Duration::ZERO),
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
        }
    }
}

/// Runs `connection` until it ends, in good order once `ending` says so.
async fn drive<C>(connection: C, ending: oneshot::Receiver<()>)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
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
