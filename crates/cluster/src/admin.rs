//! The controller's plain port: probes and metrics.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::oneshot};
use tracing::warn;

use crate::metrics::Metrics;

/// Connections at once: kubelet, and a scraper or two. Beyond it the connection
/// whose last request is longest ago gives way.
const CONNECTIONS: usize = 32;
/// Time from the beginning of a request to the end of its headers.
const HEADERS: Duration = Duration::from_secs(5);
/// Time for a connection as a whole: a scrape takes milliseconds.
const CONNECTION: Duration = Duration::from_mins(2);
const BUFFER: usize = 16 * 1024;
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// A port that was taken.
#[derive(Debug)]
pub struct Admin {
    socket: TcpListener,
}

impl Admin {
    /// Takes the port.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address).await? })
    }

    /// The address with the port that was taken.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers for ever. The readiness does not depend on the leadership.
    pub async fn run(self, metrics: Arc<Metrics>) {
        let connections = Arc::new(Connections::default());
        loop {
            let stream = match self.socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection; the oldest gives way");
                    connections.make_room(0);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            connections.make_room(CONNECTIONS - 1);
            let (place, given) = Place::enter(&connections);
            let metrics = Arc::clone(&metrics);
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    place.renew();
                    let reply = answer(&request, &metrics);
                    async move { Ok::<_, Infallible>(reply) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .max_buf_size(BUFFER)
                    .serve_connection(TokioIo::new(stream), answer);
                tokio::select! {
                    // A client that leaves early, or stays too long, is its own affair.
                    _ = tokio::time::timeout(CONNECTION, connection) => {}
                    _ = given => {}
                }
            });
        }
    }
}

/// Open connections, the one whose last request is longest ago first.
#[derive(Debug, Default)]
struct Connections(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while holding it; and a map is a map even then.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the oldest connections until at most `count` are left. Requests are
    /// answered at once, so that every connection is between two of them.
    fn make_room(&self, count: usize) {
        let mut open = self.open();
        while open.places.len() > count {
            // Its task ends when the sender drops.
            open.places.pop_first();
        }
    }
}

/// A connection's place among the others; free again when this drops.
struct Place {
    id: AtomicU64,
    connections: Arc<Connections>,
}

impl Place {
    /// Takes the place of the newest connection; the receiver ends when it is given to
    /// another.
    fn enter(connections: &Arc<Connections>) -> (Self, oneshot::Receiver<()>) {
        let (sender, given) = oneshot::channel();
        let mut open = connections.open();
        let id = open.next;
        open.next += 1;
        open.places.insert(id, sender);
        (Self { id: AtomicU64::new(id), connections: Arc::clone(connections) }, given)
    }

    /// Makes the connection the newest: it has a request.
    fn renew(&self) {
        let mut open = self.connections.open();
        if let Some(sender) = open.places.remove(&self.id.load(Relaxed)) {
            let id = open.next;
            open.next += 1;
            open.places.insert(id, sender);
            self.id.store(id, Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().places.remove(&self.id.load(Relaxed));
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "expected the method GET or HEAD\n");
    }
    match request.uri().path() {
        "/healthz" => reply(StatusCode::OK, TEXT, "alive\n"),
        "/readyz" if !metrics.is_ready() => {
            reply(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the registration is not in force yet\n")
        }
        "/readyz" => reply(StatusCode::OK, TEXT, "ready\n"),
        "/metrics" => match metrics.text() {
            Ok(text) => reply(StatusCode::OK, OPEN_METRICS, text),
            Err(_) => reply(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "no metrics\n"),
        },
        _ => reply(StatusCode::NOT_FOUND, TEXT, "expected /healthz, /readyz or /metrics\n"),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        sync::watch,
    };

    use super::*;
    use crate::report::Report;

    async fn is_alive(stream: &mut TcpStream) -> bool {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200"
    }

    #[tokio::test]
    async fn busy_connections_keep_no_probe_out() {
        let admin = Admin::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = admin.address().unwrap();
        let (_report, report) = watch::channel(Report::default());
        let (_leads, leadership) = watch::channel(false);
        let metrics = Arc::new(Metrics::new(report, leadership));
        let running = tokio::spawn(admin.run(metrics));
        let mut crowd = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert!(is_alive(&mut stream).await);
            crowd.push(stream);
        }
        for _ in 0..100 {
            assert!(is_alive(&mut TcpStream::connect(address).await.unwrap()).await);
        }
        // All of them had to give way.
        for stream in &mut crowd {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        running.abort();
    }
}
