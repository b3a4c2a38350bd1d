//! A port: connections are accepted until the server leaves.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::warn;

use crate::{
    connection::{Handler, Host},
    limits::SOCKET_BUFFER,
    memory::Memory,
    phase::Phase,
};

/// After an `accept` that failed for want of descriptors or memory: the next
/// would fail as well, at full speed.
const BREATH: Duration = Duration::from_millis(50);

/// Connections that the kernel accepts ahead: all API servers may connect at the same time.
const BACKLOG: u32 = 4096;

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
pub(crate) async fn listen<H: Handler>(
    socket: TcpListener,
    host: Arc<Host<H>>,
    memory: Arc<Memory>,
) {
    tokio::select! {
        () = accept(socket, &host, &memory) => {}
        () = memory.make_room() => {}
    }
}

async fn accept<H: Handler>(socket: TcpListener, host: &Arc<Host<H>>, memory: &Arc<Memory>) {
    let draining = host.phase().reached(Phase::Draining);
    tokio::pin!(draining);
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.as_mut() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => begin(stream, peer, host, memory).await,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    // Clients of connections that the kernel has accepted believe to be connected.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, peer)) = socket.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                begin(stream, peer, host, memory).await;
            }
        }
    }
    memory.all_left().await;
}

async fn begin<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    host: &Arc<Host<H>>,
    memory: &Arc<Memory>,
) {
    let place = memory.enter(peer.ip()).await;
    tokio::spawn(Arc::clone(host).serve(stream, place, Arc::clone(memory)));
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
