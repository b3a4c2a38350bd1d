//! A port: connections are accepted until the server leaves.

use std::{io, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tracing::warn;

use crate::{
    connection::{Handler, Host},
    connections::Connections,
    phase::Phase,
};

/// After an `accept` that failed for want of descriptors or memory: the next
/// would fail as well, at full speed.
const BREATH: Duration = Duration::from_millis(50);

/// Accepts on `socket` until the phase is draining, then waits until every
/// connection has ended.
pub(crate) async fn listen<H: Handler>(
    socket: TcpListener,
    host: Arc<Host<H>>,
    connections: Arc<Connections>,
) {
    let draining = host.phase().reached(Phase::Draining);
    tokio::pin!(draining);
    loop {
        let accepted = tokio::select! {
            biased;
            () = draining.as_mut() => break,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => begin(stream, &host, &connections).await,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                warn!(%error, "no connection could be accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    // Those that the kernel has taken are clients that believe to be connected.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, _)) = socket.accept() {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                begin(stream, &host, &connections).await;
            }
        }
    }
    connections.all_left().await;
}

async fn begin<H: Handler>(stream: TcpStream, host: &Arc<Host<H>>, connections: &Arc<Connections>) {
    if let Some(place) = connections.enter().await {
        tokio::spawn(Arc::clone(host).serve(stream, place));
    }
}

/// Whether the client alone is to blame: it left before it was accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
