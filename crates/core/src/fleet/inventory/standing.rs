//! Entries that refer to the same cluster.

use std::collections::BTreeMap;

use super::{ClusterKey, ClusterSource};
use crate::declaration::UnixTime;

/// Identity of the cluster behind an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownIdentity {
    /// UID of the namespace `kube-system`.
    pub uid: String,
    /// First time at which the entry had this identity. It is stored, so that a restart of the
    /// fleet controller changes nothing.
    pub since: UnixTime,
}

/// Standing of an entry among those with the same identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The entry is in force.
    InForce {
        /// Other entries for the cluster, by key.
        duplicates: Vec<ClusterKey>,
    },
    /// The entry is not used, since this one is in force for the cluster.
    DuplicateOf(ClusterKey),
}

/// Returns the standing of each entry with a known identity.
///
/// Of the entries for a cluster, that with the earliest [`KnownIdentity::since`] is in force. The
/// key decides between equal times. An entry of a cluster that pulls comes after all others: the
/// cluster itself names its identity, and could name that of another one.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
///
/// use image_swap_core::fleet::inventory::{
///     ClusterKey, ClusterSource,
///     standing::{KnownIdentity, Standing, standings},
/// };
///
/// let key = |name: &str| ClusterKey {
///     namespace: "clusters".to_owned(),
///     source: ClusterSource::Kubeconfig,
///     name: name.to_owned(),
/// };
/// let of = |since| KnownIdentity { uid: "1".to_owned(), since };
/// let known = BTreeMap::from([(key("new"), of(20)), (key("old"), of(10))]);
/// let standings = standings(&known);
/// assert_eq!(standings[&key("new")], Standing::DuplicateOf(key("old")));
/// assert_eq!(standings[&key("old")], Standing::InForce { duplicates: vec![key("new")] });
/// ```
pub fn standings(known: &BTreeMap<ClusterKey, KnownIdentity>) -> BTreeMap<ClusterKey, Standing> {
    let mut groups: BTreeMap<&str, Vec<(bool, UnixTime, &ClusterKey)>> = BTreeMap::new();
    for (key, identity) in known {
        let is_claimed = key.source == ClusterSource::Pull;
        groups.entry(&identity.uid).or_default().push((is_claimed, identity.since, key));
    }
    let mut standings = BTreeMap::new();
    for mut group in groups.into_values() {
        group.sort_unstable();
        let Some(((.., first), rest)) = group.split_first() else { continue };
        let mut duplicates: Vec<_> = rest.iter().map(|(.., key)| (*key).clone()).collect();
        let others =
            duplicates.iter().map(|key| (key.clone(), Standing::DuplicateOf((*first).clone())));
        standings.extend(others);
        duplicates.sort_unstable();
        standings.insert((*first).clone(), Standing::InForce { duplicates });
    }
    standings
}
