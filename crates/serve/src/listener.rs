//! A port: connections are accepted until the server leaves.

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

/// After an `accept` that failed for want of descriptors or memory: the next
/// would fail as well, at full speed.
const BREATH: Duration = Duration::from_millis(50);

/// Connections that the kernel accepts ahead: all API servers may connect at the same time.
const BACKLOG: u32 = 4096;

/// Connections that are accepted before other work gets its turn. In a flood fewer would
/// leave some in the kernel's queue until it is full.
const ROW: u32 = 512;

/// Accepted connections that wait for room at the same time. Each takes a descriptor and
/// some 400 bytes.
///
/// Connections leave the kernel's queue at once. When that queue is full, the kernel drops the
/// first packet of any client, which repeats it after a second or more. Addresses take turns.
/// When too many connections wait, the address with the most loses its first one.
const LOBBY: usize = 4096;

/// Opens a port whose connections have kernel buffers of a fixed size.
///
/// # Errors
/// If the system refuses the address.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    raise_file_limit();
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the soft limit of open files, often 1,024, to the hard one: each connection is a
/// file.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        if let Err(error) = raised {
            warn!(%error, "cannot raise the limit of open files");
        }
    }
}

/// Accepts on `socket` until the phase is draining, then waits until every
/// connection has ended.
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

async fn accept(
    socket: TcpListener,
    server: &Arc<ConnectionServer>,
    connections: &Arc<OpenConnections>,
) {
    let draining = server.phase.reached(Phase::Draining);
    tokio::pin!(draining);
    let memory = &connections.memory;
    let mut lobby = FairQueue::first_in_first_out(LOBBY);
    // One wait for as long as the lobby has connections, so that room is made for them.
    let mut room = None;
    let mut in_a_row = 0;
    loop {
        while memory.has_room(Purpose::Connection) {
            let Some((stream, peer, arrival)) = lobby.pop() else { break };
            begin(stream, connections.admit(peer, arrival), server);
        }
        if lobby.is_empty() {
            room = None;
        } else if room.is_none() {
            room = Some(Box::pin(memory.room(Purpose::Connection)));
        }
        let accepted = tokio::select! {
            biased;
            () = draining.as_mut() => break,
            () = made(&mut room) => {
                room = None;
                continue;
            }
            // A budget of its own: see `ROW`.
            accepted = unconstrained(socket.accept()) => accepted,
        };
        match accepted {
            Ok((stream, peer)) if lobby.is_empty() && memory.has_room(Purpose::Connection) => {
                begin(stream, connections.admit(peer.ip(), memory.arrival()), server);
            }
            Ok((stream, peer)) => {
                lobby.push(network(peer.ip()), (stream, peer.ip(), memory.arrival()));
            }
            Err(error) if is_of_the_connection(&error) => {}
            // A connection that waits is a descriptor.
            Err(_) if lobby.drop_first_of_longest() => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
        in_a_row += 1;
        if in_a_row == ROW {
            in_a_row = 0;
            yield_now().await;
        }
    }
    drop(room);
    // Clients of connections that the kernel has accepted believe to be connected.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, peer)) = socket.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                lobby.push(network(peer.ip()), (stream, peer.ip(), memory.arrival()));
            }
        }
    }
    while let Some((stream, peer, arrival)) = lobby.pop() {
        memory.room(Purpose::Connection).await;
        begin(stream, connections.admit(peer, arrival), server);
    }
    connections.all_left().await;
}

fn begin(stream: TcpStream, slot: ConnectionSlot, server: &Arc<ConnectionServer>) {
    tokio::spawn(Arc::clone(server).serve(stream, slot));
}

/// Waits until `room` is made; for ever if there is none to wait for.
async fn made(room: &mut Option<Pin<Box<impl Future<Output = ()>>>>) {
    match room {
        Some(room) => room.await,
        None => pending().await,
    }
}

/// True if the client left before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
