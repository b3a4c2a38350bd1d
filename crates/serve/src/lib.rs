//! The TLS server: certificates, limits, an admin port and metrics, around a [`Handler`].
//!
//! A server has three types in turn. [`Server`] is the configuration, [`Bound`] has the sockets,
//! and [`RunningServer`] answers until it is drained. The certificate is in a handle,
//! [`CertificateInForce`](pki::CertificateInForce). Any source can replace it while the server
//! runs: files, a [local authority](pki::LocalAuthority), or a Secret of a cluster.

mod activity;
mod admin;
pub mod body;
mod connection;
mod connections;
mod fair_queue;
mod limits;
mod listener;
mod memory;
pub mod metrics;
mod phase;
pub mod pki;
pub mod reply;
mod server;
mod tls;
mod turns;
mod wire;

pub use self::activity::{Charge, InFlightRequest};
pub use self::admin::{AdminPages, AdminPort};
pub use self::connection::{Handler, PendingReply};
pub use self::limits::{COMMON_BODY, Limits};
pub use self::listener::raise_file_limit;
pub use self::metrics::{ReloadCounts, Reloads, ServerMetrics};
pub use self::server::{BindError, Bound, Drained, RunningServer, Server};
