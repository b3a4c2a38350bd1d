//! The TLS server: certificates, limits, an admin port and metrics, around a [`Handler`].
//!
//! A server is one of three types, in this order: [`Server`] is the configuration,
//! [`Bound`] holds its sockets, [`Running`] answers until it is drained. Its certificate is
//! in a handle, [`CertificateInForce`], which any source can replace while the server runs:
//! files, a local [`Authority`], or a Secret of a cluster.

mod activity;
mod admin;
mod authority;
pub mod body;
mod certificate;
mod connection;
mod limits;
mod listener;
mod lobby;
mod memory;
pub mod metrics;
mod phase;
pub mod reply;
mod server;
mod tls;
mod turns;
mod wire;

pub use self::activity::{Charge, Work};
pub use self::admin::{AdminPages, AdminPort};
pub use self::authority::{Authority, AuthorityError, renew};
pub use self::certificate::{Certificate, CertificateError, CertificateInForce};
pub use self::connection::Handler;
pub use self::limits::{COMMON_BODY, Limits};
pub use self::metrics::{ReloadCounts, Reloads, ServerMetrics};
pub use self::server::{BindError, Bound, Drained, Running, Server};
