//! The admission server: TLS, limits, reloads and metrics around the pure core.
//!
//! What is served is held in two handles, [`RulesInForce`] and
//! [`CertificateInForce`]. The server only reads them, so any source can feed
//! them while it runs: files ([`reload`]), a self-made authority
//! ([`Authority`]), or objects of a cluster.
//!
//! A server is one of three types, in this order: [`Server`] is a wish,
//! [`Bound`] holds its sockets, [`Running`] answers until it is drained.

mod activity;
mod admin;
mod authority;
mod body;
mod certificate;
mod connection;
mod limits;
mod listener;
mod lobby;
mod memory;
mod metrics;
mod phase;
mod plain;
pub mod reload;
mod reply;
mod routes;
mod rules;
mod server;
mod settings;
mod standalone;
mod tls;
mod turns;
pub mod watch;
mod wire;

pub use self::authority::{Authority, AuthorityError, renew};
pub use self::certificate::{Certificate, CertificateError, CertificateInForce};
pub use self::limits::Limits;
pub use self::metrics::{Metrics, ReloadCounts, Reloads};
pub use self::plain::PlainPort;
pub use self::rules::{Revision, RulesInForce};
pub use self::server::{BindError, Bound, Drained, Running, Server};
pub use self::settings::SettingsInForce;
pub use self::standalone::{TryIt, names};
