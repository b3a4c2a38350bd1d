//! A plain HTTP/1.1 port for probes and scrapes, protected as the ports of a replica.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use hyper::{Method, Request, Response, body::Incoming};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    activity::Work,
    connection::{Handler, Host},
    limits::{Limits, PLAIN_MEMORY},
    listener::{self, listen},
    memory::Memory,
    phase::{Phase, PhaseView},
    reply::Reply,
};

/// A plain port that is bound.
///
/// While there is memory any client may connect. When there is none, the address with the
/// most unfinished work gives way first, and idle connections after it: a probe is always
/// answered.
#[derive(Debug)]
pub struct PlainPort {
    socket: TcpListener,
}

impl PlainPort {
    /// Binds `address`.
    ///
    /// # Errors
    /// If the system refuses the address.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: listener::bind(address)? })
    }

    /// Returns the address with the port that was bound.
    ///
    /// # Errors
    /// If the system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers requests by `answer`, which gets method and path, until this future is
    /// dropped.
    pub async fn serve<A>(self, answer: A)
    where
        A: Fn(&Method, &str) -> Response<Bytes> + Send + Sync + 'static,
    {
        let limits = Limits::default();
        let memory = Memory::new(PLAIN_MEMORY, &limits);
        // Connections end when the sender drops.
        let (_phase, view): (watch::Sender<Phase>, _) = PhaseView::begin();
        let host = Host::new(Answers(answer), None, limits, view);
        listen(self.socket, host, Arc::clone(&memory)).await;
    }
}

struct Answers<A>(A);

impl<A> Handler for Answers<A>
where
    A: Fn(&Method, &str) -> Response<Bytes> + Send + Sync + 'static,
{
    async fn handle(&self, request: Request<Incoming>, _work: &mut Work) -> Reply {
        self.0(request.method(), request.uri().path())
    }
}
