//! Simulated API servers of workload clusters, in this process: HTTP/2 and HTTP/1.1 over TLS.
//!
//! Responses have the formats of a real API server, for the requests of a fleet controller:
//! discovery, the namespace `kube-system`, service account tokens, server-side apply with the
//! managers of fields, metadata of objects, and the Lease of the heartbeat with its watch. A cluster that
//! receives another declaration reports it in its Lease at once, or on request.
//!
//! All clusters share one port. Each has an address of its own in 127.77.0.0/16.
//!
//! - `object` has the fields of objects and their managers.
//! - `cluster` has the state of a cluster.
//! - `answer` answers requests.
//! - `connection` serves connections.

mod answer;
mod cluster;
mod connection;
mod counts;
mod object;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

use image_swap_serve::pki::{CertificateInForce, LocalAuthority};
use image_swap_text::base64;
use rustls::ServerConfig;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle, time::interval};
use tokio_rustls::TlsAcceptor;

use self::cluster::{ContentCache, SimulatedCluster};
pub use self::{
    cluster::{Availability, RoundProgress},
    counts::{RecordedRequest, RequestCounts},
};
use crate::Outcome;

/// Name in the certificate of the servers.
pub const SERVER_NAME: &str = "workload.example.org";
/// Interval of bookmarks.
const BOOKMARKS: Duration = Duration::from_mins(1);
/// Largest number of clusters.
const MOST: usize = 60_000;

/// Simulated workload clusters.
pub struct SimulatedClusters {
    authority: String,
    port: u16,
    shared: Arc<SharedClusters>,
    tasks: [JoinHandle<()>; 2],
}

/// Clusters, as connections use them.
struct SharedClusters {
    clusters: Vec<SimulatedCluster>,
    cache: ContentCache,
}

impl Drop for SimulatedClusters {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl SimulatedClusters {
    /// Starts `number` clusters, with an authority in `directory`.
    ///
    /// # Errors
    /// Returns an error if there are too many, no certificate can be issued, or no port is free.
    pub async fn start(directory: &Path, number: usize) -> Outcome<Self> {
        if number > MOST {
            return Err(format!("expected at most {MOST} clusters, found {number}").into());
        }
        let authority = LocalAuthority::open(directory, SystemTime::now())?;
        let certificate = CertificateInForce::default();
        certificate.replace(authority.issue(&[SERVER_NAME.to_owned()], SystemTime::now())?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Clients of other addresses than those of clusters are disconnected.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(SharedClusters {
            clusters: (0..number).map(SimulatedCluster::new).collect(),
            cache: ContentCache::default(),
        });
        let accept = connection::accept(listener, TlsAcceptor::from(Arc::new(config)), &shared);
        let beating = Arc::clone(&shared);
        let bookmarks = async move {
            let mut due = interval(BOOKMARKS);
            loop {
                due.tick().await;
                beating.clusters.iter().for_each(SimulatedCluster::bookmark);
            }
        };
        Ok(Self {
            authority: fs::read_to_string(authority.certificate_file())?,
            port,
            shared,
            tasks: [tokio::spawn(accept), tokio::spawn(bookmarks)],
        })
    }

    /// Returns the number of clusters.
    pub fn len(&self) -> usize {
        self.shared.clusters.len()
    }

    /// Returns true without clusters.
    pub fn is_empty(&self) -> bool {
        self.shared.clusters.is_empty()
    }

    /// Returns the authority of the servers, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the address of the cluster `index`.
    pub fn address(&self, index: usize) -> SocketAddr {
        let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
        (Ipv4Addr::new(127, 77, high, low), self.port).into()
    }

    /// Returns the token of the administrator of the cluster `index`.
    pub fn token(&self, index: usize) -> &str {
        &self.shared.clusters[index].token
    }

    /// Returns the kubeconfig of the administrator of the cluster `index`.
    pub fn kubeconfig(&self, index: usize) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "clusters": [{ "name": "c", "cluster": {
                "server": format!("https://{}", self.address(index)),
                "tls-server-name": SERVER_NAME,
                "certificate-authority-data": base64::encode(&self.authority),
            } }],
            "users": [{ "name": "u", "user": { "token": self.token(index) } }],
        })
        .to_string()
    }

    /// Changes the reachability of the cluster `index`. Open connections stay open unless they are
    /// to be closed.
    pub fn set_availability(&self, index: usize, availability: Availability) {
        self.shared.clusters[index].availability.send_replace(availability);
    }

    /// Renews the heartbeat of the cluster `index`, if it has a declaration.
    pub fn beat(&self, index: usize) {
        let cluster = &self.shared.clusters[index];
        let mut state = cluster.state();
        if state.heartbeat.version > 0 {
            cluster.beat(&mut state);
        }
    }

    /// Delays the heartbeats that report another declaration, until [`Self::release_reports`].
    /// The controller of a real cluster sends them when its nodes have the declaration.
    pub fn hold_reports(&self) {
        self.shared.clusters.iter().for_each(|it| it.state().holds_reports = true);
    }

    /// Sends the heartbeats that were held back. Later ones are sent at once.
    pub fn release_reports(&self) {
        self.shared.clusters.iter().for_each(SimulatedCluster::release_reports);
    }

    /// Returns the requests to the cluster `index` so far.
    pub fn counts(&self, index: usize) -> RequestCounts {
        self.shared.clusters[index].counters.read()
    }

    /// Returns the requests to all clusters so far.
    pub fn total(&self) -> RequestCounts {
        let all = self.shared.clusters.iter().map(|it| it.counters.read());
        all.fold(RequestCounts::default(), RequestCounts::plus)
    }

    /// Begins a round of requests to all clusters.
    pub fn begin_round(&self) {
        self.shared.clusters.iter().for_each(|it| it.state().round = RoundProgress::default());
    }

    /// Returns the progress of the cluster `index` in the present round.
    pub fn round(&self, index: usize) -> RoundProgress {
        self.shared.clusters[index].state().round
    }

    /// Records the requests to the cluster `index`, apart from lists and watches.
    pub fn begin_record(&self, index: usize) {
        self.shared.clusters[index].state().record = Some(Vec::new());
    }

    /// Ends the record, and returns it.
    pub fn end_record(&self, index: usize) -> Vec<RecordedRequest> {
        self.shared.clusters[index].state().record.take().unwrap_or_default()
    }

    /// Returns the number of open watches of all clusters.
    pub fn open_watches(&self) -> u64 {
        self.shared.clusters.iter().map(|it| it.counters.open_watches.load(Relaxed)).sum()
    }
}

/// Returns the index of the cluster with the address `address`; `None` for another address.
fn index_of(address: SocketAddr) -> Option<usize> {
    let SocketAddr::V4(address) = address else { return None };
    let [127, 77, high, low] = address.ip().octets() else { return None };
    usize::from(u16::from_be_bytes([high, low])).checked_sub(1)
}
