//! What nodes can be told: mirrors per registry host, and a default.
//!
//! [`Mirrors`] is the one table that every format is printed from and every URL
//! is computed from; [`Words`] says which rules a format has no words for.

mod mirrors;
mod short;
mod words;

pub(crate) use self::mirrors::DOCKER_REGISTRY;
pub use self::mirrors::{Endpoint, Fallback, Mirrors};
pub use self::short::short_name_alias;
pub use self::words::{CONTAINERD, Inexpressible, Words};
use crate::rule::RuleSet;

impl Mirrors {
    /// The rules that nodes cannot be told, in order: in `hosts.toml`, which has
    /// the most words of all that containerd reads.
    pub fn inexpressible(&self, rules: &RuleSet) -> Vec<Inexpressible> {
        CONTAINERD.inexpressible(rules, self, Fallback::Upstream)
    }
}

#[cfg(test)]
mod tests;
