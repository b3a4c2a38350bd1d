//! Mirrors for nodes: some for each registry host, and a default.
//!
//! Every format and every URL is computed from one [`MirrorTable`]. The [`Capabilities`] of a
//! format decide which rules it supports.

mod capabilities;
mod short;
mod table;

pub use self::capabilities::{Capabilities, HOSTS_TOML, UnsupportedRule};
pub use self::short::short_name_alias;
pub use self::table::{Endpoint, Fallback, MirrorTable};

#[cfg(test)]
mod tests;
