//! A hostile server that speaks HTTP/2: frames written by hand.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use image_swap_core::fleet::kubeconfig::{RemoteAccess, RemoteCredential};
use image_swap_testbed::Authority;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{ADMINISTRATOR, server_config, wire::ENDLESS};

/// Misbehaviour over HTTP/2, after the head of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Http2Fault {
    /// A head without an end.
    Continuations,
    /// Pings without an end.
    Pings,
    /// Settings without an end.
    Settings,
    /// Interim responses without an end.
    Interim,
    /// A pushed response, which the client has refused in its settings.
    Push,
    /// A frame of a wrong length.
    Malformed,
    /// The end of the connection, with this code.
    GoAway(u8),
    /// The end of the request, with this code.
    Reset(u8),
}

/// Frame types.
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// Bytes of the preface of a client.
const PREFACE: usize = 24;

impl Http2Fault {
    /// Returns the frames that begin, and those that follow again and again.
    fn frames(self) -> (Vec<u8>, Vec<u8>) {
        // A literal field `x: x…` that is not indexed.
        let field = [&[0, 1, b'x', 64][..], &[b'x'; 64]].concat();
        match self {
            Self::Continuations => {
                (frame(HEADERS, 0, 1, &[0x88]), frame(CONTINUATION, 0, 1, &field))
            }
            Self::Pings => (Vec::new(), frame(PING, 0, 0, &[0; 8])),
            Self::Settings => (Vec::new(), frame(SETTINGS, 0, 0, &[])),
            // `:status: 103`, with the name of the static table.
            Self::Interim => (Vec::new(), frame(HEADERS, 4, 1, &[8, 3, b'1', b'0', b'3'])),
            Self::Push => (frame(PUSH, 4, 1, &[0, 0, 0, 2, 0x82, 0x87, 0x84]), Vec::new()),
            Self::Malformed => (frame(PING, 0, 0, &[0; 7]), Vec::new()),
            Self::GoAway(code) => (frame(GO_AWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]), Vec::new()),
            Self::Reset(code) => (frame(RESET, 0, 1, &[0, 0, 0, code]), Vec::new()),
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

/// Hostile server on a port of 127.0.0.1.
pub(crate) struct Http2Server {
    pub(crate) access: RemoteAccess,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Http2Server {
    /// Starts a server that answers every request by `fault`.
    pub(crate) async fn start(fault: Http2Fault) -> Self {
        let authority = Authority::new("http2").unwrap();
        let mut config = server_config(&authority);
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let access = RemoteAccess {
            server: format!("https://{}", listener.local_addr().unwrap()),
            tls_server_name: None,
            authority: Some(authority.certificate().as_bytes().to_vec()),
            credential: RemoteCredential::Token(ADMINISTRATOR.to_owned()),
        };
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        // The client ends the connection.
                        let _ = misbehave(stream, fault, &counter).await;
                    }
                });
            }
        });
        Self { access, sent, task }
    }

    /// Returns the number of bytes that were sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Relaxed)
    }
}

impl Drop for Http2Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for the head of a request, and answers it by `fault`.
async fn misbehave(
    mut stream: TlsStream<TcpStream>,
    fault: Http2Fault,
    sent: &AtomicUsize,
) -> io::Result<()> {
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; PREFACE]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        stream.read_exact(&mut vec![0; length]).await?;
        if head[3] == HEADERS {
            break;
        }
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (first, again) = fault.frames();
    let again = again.repeat(256);
    let write = async {
        writer.write_all(&first).await?;
        writer.flush().await?;
        while !again.is_empty() && sent.load(Relaxed) < ENDLESS {
            writer.write_all(&again).await?;
            sent.fetch_add(again.len(), Relaxed);
        }
        std::future::pending::<io::Result<()>>().await
    };
    // The client's answers are read, so that it can go on.
    let read = async {
        let mut buffer = vec![0; 16 << 10];
        while reader.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        done = write => done,
        done = read => done,
    }
}
