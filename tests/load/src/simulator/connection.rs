//! Connections of simulated clusters.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::Sleep,
};
use tokio_rustls::TlsAcceptor;

use super::{SharedClusters, answer::answer, cluster::Availability, index_of};
use crate::Outcome;

/// Largest receive window of a connection, as Go's server has it.
const WINDOW: u32 = 1 << 20;

/// Body of a response.
pub(super) type AnswerBody = Either<Full<Bytes>, WatchBody>;

/// Body of a watch: a line for each event, until its time is over.
pub(super) struct WatchBody {
    clusters: Arc<SharedClusters>,
    index: usize,
    events: mpsc::UnboundedReceiver<Bytes>,
    end: Pin<Box<Sleep>>,
}

impl WatchBody {
    pub(super) fn new(
        clusters: &Arc<SharedClusters>,
        index: usize,
        events: mpsc::UnboundedReceiver<Bytes>,
        end: Sleep,
    ) -> Self {
        let counters = &clusters.clusters[index].counters;
        counters.watches.fetch_add(1, Relaxed);
        counters.open_watches.fetch_add(1, Relaxed);
        Self { clusters: Arc::clone(clusters), index, events, end: Box::pin(end) }
    }
}

impl Drop for WatchBody {
    fn drop(&mut self) {
        self.clusters.clusters[self.index].counters.open_watches.fetch_sub(1, Relaxed);
    }
}

impl Body for WatchBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(event) = self.events.poll_recv(context) {
            return Poll::Ready(event.map(|event| Ok(Frame::data(event))));
        }
        self.end.as_mut().poll(context).map(|()| None)
    }
}

/// Accepts connections. Never returns.
pub(super) fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    shared: &Arc<SharedClusters>,
) -> impl Future<Output = ()> + use<> {
    let shared = Arc::clone(shared);
    async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let index = stream.local_addr().ok().and_then(index_of);
            let Some(index) = index.filter(|it| *it < shared.clusters.len()) else { continue };
            let (tls, shared) = (tls.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                let cluster = &shared.clusters[index];
                cluster.counters.connections.fetch_add(1, Relaxed);
                cluster.counters.open_connections.fetch_add(1, Relaxed);
                interruptible(&shared, index, serve(stream, &tls, &shared, index)).await;
                cluster.counters.open_connections.fetch_sub(1, Relaxed);
            });
        }
    }
}

/// Runs `serving` while the cluster is online. Pauses it while the cluster is silent, and drops it
/// when the cluster closes its connections.
async fn interruptible(
    shared: &SharedClusters,
    index: usize,
    serving: impl Future<Output = Outcome<()>>,
) {
    let mut availability = shared.clusters[index].availability.subscribe();
    let mut serving = pin!(serving);
    loop {
        let now = availability.wait_for(|it| *it != Availability::Silent).await.map(|it| *it);
        if !now.is_ok_and(|it| it == Availability::Online) {
            return;
        }
        tokio::select! {
            // The error of a client that closes its connection is ignored.
            _ = &mut serving => return,
            changed = availability.changed() => if changed.is_err() { return },
        }
    }
}

/// Serves one connection with the protocol of ALPN.
async fn serve(
    stream: TcpStream,
    tls: &TlsAcceptor,
    shared: &Arc<SharedClusters>,
    index: usize,
) -> Outcome<()> {
    stream.set_nodelay(true)?;
    let stream = tls.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let shared = Arc::clone(shared);
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move { Ok::<Response<AnswerBody>, Infallible>(answer(&shared, index, request).await) }
    });
    if is_http2 {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2.initial_connection_window_size(WINDOW);
        http2.serve_connection(TokioIo::new(stream), service).await?;
    } else {
        let mut http1 = http1::Builder::new();
        http1.header_read_timeout(None);
        http1.serve_connection(TokioIo::new(stream), service).await?;
    }
    Ok(())
}
