//! The server's life: a wish, its sockets, its answers, its end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    admin::Admin,
    certificate::CertificateInForce,
    connection::Host,
    limits::{LARGE_REVIEWS, Limits, MEMORY, PLAIN_MEMORY},
    listener::{self, listen},
    memory::Memory,
    metrics::Metrics,
    phase::{Phase, PhaseView},
    routes::{Reviewer, Routes},
    rules::RulesInForce,
    settings::SettingsInForce,
    tls,
};

/// A server that is to be.
#[derive(Debug)]
pub struct Server {
    /// Where reviews are answered, over TLS.
    pub listen: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are, in plain HTTP/1.1.
    pub admin_listen: SocketAddr,
    /// What clients may take.
    pub limits: Limits,
    /// How reviews are answered.
    pub settings: SettingsInForce,
    /// By which rules. Without any the server runs, but is not ready.
    pub rules: RulesInForce,
    /// With which certificate. Without one the server runs, but is not ready.
    pub certificate: CertificateInForce,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be listened on.
    #[error("{address}: expected an address to listen on, found: {error}; {}", advice(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: end it or choose another port",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose another",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: choose another",
        _ => "choose another",
    }
}

impl Server {
    /// Takes both ports. Nothing is accepted yet.
    ///
    /// # Errors
    /// If either port cannot be had; the other is free again then.
    #[expect(clippy::unused_async, reason = "a socket needs a runtime")]
    pub async fn bind(self) -> Result<Bound, BindError> {
        let tls = tls::acceptor(self.certificate.clone())?;
        let socket = bind(self.listen)?;
        let admin_socket = bind(self.admin_listen)?;
        Ok(Bound { server: self, tls, socket, admin_socket })
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listener::bind(address).map_err(|error| BindError::Listen { address, error })
}

/// A server that holds its ports.
pub struct Bound {
    server: Server,
    tls: TlsAcceptor,
    socket: TcpListener,
    admin_socket: TcpListener,
}

impl Bound {
    /// Where reviews will be answered: with the port that the system chose if
    /// 0 was asked for.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Where probes and scrapes will be answered.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn admin_address(&self) -> io::Result<SocketAddr> {
        self.admin_socket.local_addr()
    }

    /// Begins to answer, on the runtime this is called from.
    pub fn run(self) -> Running {
        let Self { server, tls, socket, admin_socket } = self;
        let Server { listen: _, admin_listen: _, limits, settings, rules, certificate, metrics } =
            server;
        let (phase, view) = PhaseView::begin();
        let (admin_phase, admin_view) = PhaseView::begin();

        let admin = Admin {
            rules: rules.clone(),
            certificate,
            settings: settings.clone(),
            metrics: Arc::clone(&metrics),
            phase: view.clone(),
        };
        let admin = Host::new(admin, None, limits.clone(), admin_view);
        let plain = Memory::new(PLAIN_MEMORY, &limits);
        tokio::spawn(listen(admin_socket, admin, plain));

        let memory = Memory::new(MEMORY, &limits);
        metrics.watch_memory(&memory);
        let routes = Routes {
            rules,
            reviewer: Arc::new(Reviewer { settings, metrics: Arc::clone(&metrics) }),
            limits: limits.clone(),
            large: Arc::new(Semaphore::new(LARGE_REVIEWS)),
            metrics: Arc::clone(&metrics),
        };
        let host = Host::new(routes, Some((tls, metrics)), limits, view);
        let listening = tokio::spawn(listen(socket, host, Arc::clone(&memory)));
        Running { phase, admin_phase, memory, listening }
    }
}

/// A server that answers. Dropped, it is cut at once.
pub struct Running {
    phase: watch::Sender<Phase>,
    admin_phase: watch::Sender<Phase>,
    memory: Arc<Memory>,
    listening: JoinHandle<()>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because they did not end in time.
    pub cut: usize,
}

impl Running {
    /// Says that it is about to leave: `/readyz` answers 503, and everything is
    /// still accepted, until whoever sends requests here has noticed.
    pub fn leave(&self) {
        self.phase.send_replace(Phase::Leaving);
    }

    /// Ends it: `/readyz` answers 503, nothing new is accepted, requests that
    /// have begun are answered, and after `patience` what is left is cut.
    pub async fn drain(self, patience: Duration) -> Drained {
        let Self { phase, admin_phase, memory, mut listening } = self;
        phase.send_replace(Phase::Draining);
        let cut = if timeout(patience, &mut listening).await.is_ok() {
            0
        } else {
            let cut = memory.len();
            phase.send_replace(Phase::Over);
            let _ = listening.await;
            cut
        };
        admin_phase.send_replace(Phase::Over);
        Drained { cut }
    }
}
