//! The accept loop of a port, which ends when the server drains.

use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{unconstrained, yield_now},
};
use tracing::warn;

use crate::{
    connection::ConnectionServer,
    connections::{ConnectionSlot, OpenConnections, network},
    fair_queue::FairQueue,
    limits::SOCKET_BUFFER,
    memory::Purpose,
    phase::Phase,
};

/// Pause after an `accept` that failed for lack of descriptors or memory. The next one would fail,
/// too, in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Length of the kernel's accept queue. All API servers may connect at the same time.
const BACKLOG: u32 = 4096;

/// Number of connections that are accepted before other work runs. With a lower number a flood
/// would fill the kernel's queue.
const ACCEPTS_IN_A_ROW: u32 = 512;

/// Number of accepted connections that wait for room. Each takes a descriptor and some 400 bytes.
///
/// The kernel's queue is emptied at once: if it is full, the kernel drops the first packet of any
/// client, which repeats it after a second or more. Addresses take turns in this queue. If it is
/// full, the address with the most connections loses its first one.
const QUEUE_MAX: usize = 4096;

/// Opens a port whose connections have kernel buffers of a fixed size.
///
/// # Errors
/// Returns the system's error if the address cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    raise_file_limit();
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the soft limit of open files, often 1,024, to the hard one, because each connection is a
/// file.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        if let Err(error) = raised {
            warn!(%error, "cannot raise the limit of open files");
        }
    }
}

/// Accepts connections on `socket` until the server drains, and waits until every connection has
/// ended.
pub(crate) async fn listen(
    socket: TcpListener,
    server: Arc<ConnectionServer>,
    connections: Arc<OpenConnections>,
) {
    tokio::select! {
        () = accept(socket, &server, &connections) => {}
        () = connections.make_room() => {}
    }
}

/// Accepts connections, which wait in a fair queue for room.
async fn accept(
    socket: TcpListener,
    server: &Arc<ConnectionServer>,
    connections: &Arc<OpenConnections>,
) {
    let draining = server.phase.reached(Phase::Draining);
    tokio::pin!(draining);
    let memory = &connections.memory;
    let mut queue = FairQueue::first_in_first_out(QUEUE_MAX);
    // A single wait for room, while the queue has connections, so that others are evicted.
    let mut room = None;
    let mut in_a_row = 0;
    loop {
        while memory.has_room(Purpose::Connection) {
            let Some((stream, peer, arrival)) = queue.pop() else { break };
            begin(stream, connections.admit(peer, arrival), server);
        }
        if queue.is_empty() {
            room = None;
        } else if room.is_none() {
            room = Some(Box::pin(memory.room(Purpose::Connection)));
        }
        let accepted = tokio::select! {
            biased;
            () = draining.as_mut() => break,
            () = wait_for_room(&mut room) => {
                room = None;
                continue;
            }
            // Without tokio's budget: `ACCEPTS_IN_A_ROW` limits the accepts.
            accepted = unconstrained(socket.accept()) => accepted,
        };
        match accepted {
            Ok((stream, peer)) if queue.is_empty() && memory.has_room(Purpose::Connection) => {
                begin(stream, connections.admit(peer.ip(), memory.arrival()), server);
            }
            Ok((stream, peer)) => {
                queue.push(network(peer.ip()), (stream, peer.ip(), memory.arrival()));
            }
            Err(error) if is_client_abort(&error) => {}
            // A waiting connection occupies a descriptor.
            Err(_) if queue.drop_first_of_longest() => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        in_a_row += 1;
        if in_a_row == ACCEPTS_IN_A_ROW {
            in_a_row = 0;
            yield_now().await;
        }
    }
    drop(room);
    // For their clients, connections in the kernel's queue are established.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, peer)) = socket.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                queue.push(network(peer.ip()), (stream, peer.ip(), memory.arrival()));
            }
        }
    }
    while let Some((stream, peer, arrival)) = queue.pop() {
        memory.room(Purpose::Connection).await;
        begin(stream, connections.admit(peer, arrival), server);
    }
    connections.all_left().await;
}

fn begin(stream: TcpStream, slot: ConnectionSlot, server: &Arc<ConnectionServer>) {
    tokio::spawn(Arc::clone(server).serve(stream, slot));
}

/// Waits until `room` is made. Never returns for `None`.
async fn wait_for_room(room: &mut Option<Pin<Box<impl Future<Output = ()>>>>) {
    match room {
        Some(room) => room.await,
        None => pending().await,
    }
}

/// Returns true if the client closed the connection before it was accepted.
fn is_client_abort(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
