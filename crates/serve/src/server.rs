//! A server from its configuration to its drain.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    admin::{AdminHandler, AdminPages, AdminPort},
    connection::{ConnectionServer, Handler},
    connections::OpenConnections,
    limits::{Limits, MEMORY},
    listener::{self, listen},
    metrics::ServerMetrics,
    phase::{Phase, PhaseView},
    pki::CertificateInForce,
    tls,
};

/// The configuration of a server that has not bound its ports yet.
pub struct Server<H> {
    /// Address of the TLS port.
    pub listen: SocketAddr,
    /// Address of the admin port.
    pub admin_listen: SocketAddr,
    /// Limits on clients.
    pub limits: Limits,
    /// Serving certificate. Without one handshakes fail.
    pub certificate: CertificateInForce,
    /// Counters of the TLS port.
    pub metrics: Arc<ServerMetrics>,
    /// Handler of requests to the TLS port.
    pub handler: H,
    /// Content of the admin port.
    pub admin: Box<dyn AdminPages>,
}

/// The error of binding a server.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}; {}", advice(error))]
    Listen {
        /// Address of the port.
        address: SocketAddr,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Returns the advice of an error message.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: stop it or choose another port",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another one",
        _ => "choose another address",
    }
}

impl<H: Handler> Server<H> {
    /// Binds both ports on the calling runtime, and accepts nothing yet.
    ///
    /// # Errors
    /// Returns an error if either port cannot be bound. The other one is free again.
    pub fn bind(self) -> Result<Bound, BindError> {
        let Self { listen: port, admin_listen, limits, certificate, metrics, handler, admin } =
            self;
        let tls = tls::acceptor(certificate)?;
        let failed = |address| move |error| BindError::Listen { address, error };
        let socket = listener::bind(port).map_err(failed(port))?;
        let address = socket.local_addr().map_err(failed(port))?;
        let admin_port = AdminPort::bind(admin_listen).map_err(failed(admin_listen))?;
        let admin_address = admin_port.address().map_err(failed(admin_listen))?;
        let run = Box::new(move || {
            let (phase, view) = PhaseView::begin();
            let (admin_phase, admin_view) = PhaseView::begin();
            let admin = AdminHandler { pages: admin, phase: view.clone() };
            tokio::spawn(admin_port.serve_beside(admin, limits.clone(), admin_view));
            let connections = OpenConnections::new(MEMORY, &limits);
            metrics.watch_clients(&connections);
            let server =
                ConnectionServer::new(Box::new(handler), Some((tls, metrics)), limits, view);
            let listening = tokio::spawn(listen(socket, server, Arc::clone(&connections)));
            RunningServer { phase, admin_phase, connections, listening }
        });
        Ok(Bound { address, admin_address, run })
    }
}

/// A server with bound ports, which does not answer yet.
pub struct Bound {
    /// Address of the TLS port, with the port number that the system chose for port 0.
    pub address: SocketAddr,
    /// Address of the admin port.
    pub admin_address: SocketAddr,
    run: Box<dyn FnOnce() -> RunningServer + Send>,
}

impl Bound {
    /// Starts to answer on the calling runtime.
    pub fn run(self) -> RunningServer {
        (self.run)()
    }
}

/// A running server. Its drop cuts all connections at once.
pub struct RunningServer {
    phase: watch::Sender<Phase>,
    admin_phase: watch::Sender<Phase>,
    connections: Arc<OpenConnections>,
    listening: JoinHandle<()>,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Number of connections that did not end in time and were cut.
    pub cut: usize,
}

impl RunningServer {
    /// Announces the end: `/readyz` answers 503. Connections are still accepted, until clients
    /// have noticed.
    pub fn leave(&self) {
        self.phase.send_replace(Phase::Leaving);
    }

    /// Ends the server. `/readyz` answers 503, no connection is accepted, and requests in progress
    /// are answered. The remaining connections are cut after `patience`.
    pub async fn drain(self, patience: Duration) -> Drained {
        let Self { phase, admin_phase, connections, mut listening } = self;
        phase.send_replace(Phase::Draining);
        let cut = if timeout(patience, &mut listening).await.is_ok() {
            0
        } else {
            let cut = connections.memory.len();
            phase.send_replace(Phase::Over);
            let _ = listening.await;
            cut
        };
        admin_phase.send_replace(Phase::Over);
        Drained { cut }
    }
}
