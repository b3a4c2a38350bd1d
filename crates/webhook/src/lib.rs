//! The admission webhook: it answers `AdmissionReview` requests by the rules in force, on the
//! server of `image_swap_serve`.
//!
//! Rules and settings are in two handles, [`RulesInForce`] and [`SettingsInForce`]. The server
//! only reads them. Any source can replace them while the server runs: files ([`reload`]) or
//! objects of a cluster.

mod admin;
mod metrics;
pub mod reload;
mod routes;
mod rules;
mod settings;
mod standalone;
mod templates;
pub mod watch;
mod webhook;

pub use self::metrics::AdmissionMetrics;
pub use self::rules::{Revision, RulesInForce};
pub use self::settings::SettingsInForce;
pub use self::standalone::{curl_example, names, url};
pub use self::templates::TemplateNamespaces;
pub use self::webhook::Webhook;
