//! Memory of `image-swap webhook` under clients that exhaust resources. Reviews of other
//! clients are still answered.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use image_swap_testkit as testkit;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::webhook::Webhook;

/// Bytes that clients may make a replica take. A release takes 11 MiB without
/// clients, a debug build 23 MiB: growth is the same measure for both.
const MOST: u64 = 50 << 20;

struct Target {
    webhook: Webhook,
    address: SocketAddr,
    config: Arc<ClientConfig>,
    /// Resident bytes before the attack.
    before: Option<u64>,
    _state: tempfile::TempDir,
}

impl Target {
    fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let webhook = Webhook::start("examples/registry-secret.yaml", state.path(), &[]);
        let address =
            webhook.line_after("listening on https://localhost:").trim_end_matches("/mutate");
        let address = SocketAddr::from(([127, 0, 0, 1], address.parse().unwrap()));
        let mut roots = RootCertStore::empty();
        let file = webhook.line_after("CA certificate (self-signed): ");
        roots.add(CertificateDer::from_pem_file(Path::new(file)).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let before = Some(peak(&webhook));
        Self { webhook, address, config: Arc::new(config), before, _state: state }
    }

    /// Connects from 127.0.0.`last`.
    async fn connect(&self, last: u8, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![protocol.to_vec()];
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        let stream = socket.connect(self.address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends a review of another client over a new connection until it is answered, and
    /// checks the memory.
    async fn check(&mut self) {
        let review = mk_review(1);
        while !self.is_answered(&review).await {}
        self.check_memory();
    }

    /// Sends `review` of another client over a new connection. Returns false if the
    /// connection is closed without an answer.
    async fn is_answered(&self, review: &[u8]) -> bool {
        let request = [head(review.len()).as_bytes(), review].concat();
        let mut friend = self.connect(1, b"http/1.1").await;
        let mut answer = [0; 12];
        let sent = friend.write_all(&request).await.is_ok();
        let is_answered = sent && friend.read_exact(&mut answer).await.is_ok();
        assert!(!is_answered || &answer == b"HTTP/1.1 200");
        is_answered
    }

    fn check_memory(&mut self) {
        let peak = peak(&self.webhook);
        let before = *self.before.get_or_insert(peak);
        assert!(peak - before < MOST, "{before} bytes before, {peak} at the peak");
    }
}

/// A client at 127.0.0.2 that opens connections as fast as it can and keeps the last ones
/// open, until this drops.
struct Flood {
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Flood {
    /// Sends `bytes` over each connection.
    fn start(address: SocketAddr, bytes: Vec<u8>) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let is_over = Arc::clone(&ends);
        let flood = async move {
            let mut open = VecDeque::new();
            while !is_over.load(Relaxed) {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
                let Ok(stream) = socket.connect(address).await else { continue };
                let _ = stream.try_write(&bytes);
                open.push_back(stream);
                if open.len() > 3000 {
                    open.pop_front();
                }
            }
        };
        let thread = Some(thread::spawn(move || runtime.block_on(flood)));
        Self { ends, thread }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returns the most bytes that were resident.
fn peak(webhook: &Webhook) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", webhook.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

impl Drop for Target {
    fn drop(&mut self) {
        // A failed test ends its server too.
        let _ = self.webhook.child.kill();
        let _ = self.webhook.child.wait();
    }
}

fn head(length: usize) -> String {
    format!(
        "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
}

/// Returns a review of a pod with `count` images, each of which is swapped.
fn mk_review(count: usize) -> Vec<u8> {
    let pod = testkit::pod("web", &vec![("a", "ghcr.io/a"); count]);
    serde_json::to_vec(&testkit::review("CREATE", &pod, &Value::Null)).unwrap()
}

/// Writes until the server stops reading or closes the connection.
async fn push(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) {
    // A server that reads takes all of it within a moment.
    let push = async {
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
    };
    let _ = timeout(std::time::Duration::from_millis(500), push).await;
}

/// The beginning of an HTTP/2 connection that grants no window for answers.
const NO_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";

/// Returns the frames of one HTTP/2 request. Without a body its stream stays open.
fn frames(number: u32, more: &[u8], body: &[u8]) -> Vec<u8> {
    let id = (2 * number + 1).to_be_bytes();
    // POST, https, /mutate, the authority, and the content type, as literals.
    let mut fields = b"\x83\x87\x04\x07/mutate\x01\x01a\x0f\x10\x10application/json".to_vec();
    fields.extend_from_slice(more);
    let mut frames = Vec::new();
    let mut frame = |kind: u8, flags: u8, payload: &[u8]| {
        frames.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
        frames.extend_from_slice(&[kind, flags]);
        frames.extend_from_slice(&id);
        frames.extend_from_slice(payload);
    };
    frame(1, 4, &fields);
    let mut pieces = body.chunks(16_000).peekable();
    while let Some(piece) = pieces.next() {
        frame(0, u8::from(pieces.peek().is_none()), piece);
    }
    frames
}

// guarantee: 4g
#[tokio::test]
async fn unread_http2_answers_stay_within_memory() {
    let mut target = Target::start();
    let review = mk_review(10_000);
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut stream = target.connect(2, b"h2").await;
        push(&mut stream, NO_WINDOW).await;
        for number in 0..20 {
            push(&mut stream, &frames(number, b"", &review)).await;
        }
        crowd.push(stream);
        target.check().await;
    }
}

// guarantee: 4g
#[tokio::test]
async fn unread_pipelined_answers_stay_within_memory() {
    let mut target = Target::start();
    let review = mk_review(10_000);
    let request = [head(review.len()).as_bytes(), &review].concat().repeat(3);
    let mut crowd = Vec::new();
    for _ in 0..60 {
        let mut stream = target.connect(2, b"http/1.1").await;
        push(&mut stream, &request).await;
        crowd.push(stream);
        target.check().await;
    }
}

// guarantee: 4g
#[tokio::test]
async fn unfinished_bodies_stay_within_memory() {
    let mut target = Target::start();
    let mut crowd = Vec::new();
    for number in 0..2500 {
        let mut stream = target.connect(2, b"http/1.1").await;
        push(&mut stream, head(65_000).as_bytes()).await;
        push(&mut stream, " ".repeat(60_000).as_bytes()).await;
        crowd.push(stream);
        if number % 50 == 0 {
            target.check().await;
        }
    }
    target.check().await;
}

// guarantee: 4g
#[tokio::test]
async fn unfinished_large_bodies_stay_within_memory() {
    let mut target = Target::start();
    let mut crowd = Vec::new();
    for _ in 0..60 {
        let mut stream = target.connect(2, b"http/1.1").await;
        push(&mut stream, head(8_000_000).as_bytes()).await;
        push(&mut stream, &vec![b' '; 3_000_000]).await;
        crowd.push(stream);
        target.check().await;
    }
}

// guarantee: 4g
#[tokio::test]
async fn http2_headers_stay_within_memory() {
    let mut target = Target::start();
    // A literal field without indexing, of 7,000 bytes (7,000 - 127 in two bytes).
    let mut large = b"\0\x01x\x7f\xd9\x35".to_vec();
    large.extend_from_slice("x".repeat(7_000).as_bytes());
    let mut crowd = Vec::new();
    for number in 0..600 {
        let mut stream = target.connect(2, b"h2").await;
        push(&mut stream, NO_WINDOW).await;
        for number in 0..64 {
            push(&mut stream, &frames(number, &large, b"")).await;
        }
        crowd.push(stream);
        if number % 20 == 0 {
            target.check().await;
        }
    }
    target.check().await;
}

// guarantee: 4g
#[tokio::test]
async fn compressed_http2_headers_stay_within_memory() {
    let mut target = Target::start();
    // A field that enters the table, and the entry again and again, by a byte each.
    let first = [b"\x40\x01x\x01y".to_vec(), vec![0xbe; 180]].concat();
    let mut crowd = Vec::new();
    for number in 0..600 {
        let mut stream = target.connect(2, b"h2").await;
        let mut bytes = [NO_WINDOW, &frames(0, &first, b"")].concat();
        for number in 1..32 {
            bytes.extend(frames(number, &[0xbe; 180], b""));
        }
        push(&mut stream, &bytes).await;
        crowd.push(stream);
        if number % 20 == 0 {
            target.check().await;
        }
    }
    target.check().await;
}

// guarantee: 4g
#[tokio::test]
async fn incomplete_records_stay_within_memory() {
    let mut target = Target::start();
    let review = mk_review(1);
    let request = [head(review.len()).as_bytes(), &review].concat();
    let mut crowd = Vec::new();
    for number in 0..2500 {
        let mut stream = target.connect(2, b"http/1.1").await;
        push(&mut stream, &request).await;
        // A record of 16,000 bytes without its last thousand.
        let record = [&[23, 3, 3, 0x3e, 0x80][..], &[0; 15_000]].concat();
        let _ = stream.get_mut().0.write_all(&record).await;
        crowd.push(stream);
        if number % 50 == 0 {
            target.check().await;
        }
    }
    target.check().await;
}

// guarantee: 4g
#[tokio::test]
async fn small_frames_of_waiting_bodies_stay_within_memory() {
    let mut target = Target::start();
    let mut crowd = Vec::new();
    for _ in 0..6 {
        let mut stream = target.connect(2, b"http/1.1").await;
        push(&mut stream, head(8_000_000).as_bytes()).await;
        push(&mut stream, &vec![b' '; 7_900_000]).await;
        crowd.push(stream);
    }
    // Frames of one byte each.
    let small = b"\0\0\x01\0\0\0\0\0\x01 ".repeat(48_000);
    let body = frames(0, b"", &vec![b' '; 80_001]);
    // The last frame does not end the body.
    let body = [&body[..body.len() - 10], &small].concat();
    for _ in 0..20 {
        let mut stream = target.connect(2, b"h2").await;
        push(&mut stream, &NO_WINDOW[..24]).await;
        push(&mut stream, b"\0\0\0\x04\0\0\0\0\0").await;
        push(&mut stream, &body).await;
        crowd.push(stream);
        target.check().await;
    }
}

// guarantee: 4g
#[tokio::test]
async fn reviews_are_answered_during_floods() {
    let mut target = Target::start();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut client = ClientConnection::new(Arc::clone(&target.config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    // Connections without a byte, and handshakes without an end.
    for bytes in [Vec::new(), hello] {
        let _flood = Flood::start(target.address, bytes);
        for _ in 0..40 {
            // The second one waits for the memory of large bodies.
            for images in [1, 5000] {
                assert!(target.is_answered(&mk_review(images)).await);
            }
        }
        target.check_memory();
    }
}

// guarantee: 4g
#[tokio::test]
async fn idle_connections_stay_within_memory() {
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let mut target = Target::start();
        let mut crowd = Vec::new();
        for number in 0..3000 {
            let mut stream = target.connect(2, protocol).await;
            if protocol == b"h2" {
                push(&mut stream, NO_WINDOW).await;
                // Most of a frame of 16,000 bytes.
                push(&mut stream, b"\0\x3e\x80\x01\x04\0\0\0\x01").await;
            }
            push(&mut stream, "x".repeat(7_000).as_bytes()).await;
            crowd.push(stream);
            if number % 50 == 0 {
                target.check().await;
            }
        }
        target.check().await;
    }
}
