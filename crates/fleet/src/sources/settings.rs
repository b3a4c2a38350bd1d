//! Settings of the inventory.

use std::{collections::BTreeSet, time::Duration};

use image_swap_core::fleet::inventory::{
    ClusterSource, cluster_profile::ConfiguredProvider, selector::LabelSelector,
};

/// Settings of the inventory.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Namespaces with workload clusters. No other namespace is read.
    pub namespaces: BTreeSet<String>,
    /// Selector of the objects that stand for clusters.
    pub selector: LabelSelector,
    /// Sources in use.
    pub sources: BTreeSet<ClusterSource>,
    /// Credential providers for `ClusterProfile` objects, in the order of preference.
    pub providers: Vec<ConfiguredProvider>,
    /// The time between two searches for an absent API, and for a newer version of a present one.
    /// Usually [`SEARCH_INTERVAL`].
    pub search_interval: Duration,
}

/// The usual [`SourceSettings::search_interval`].
pub const SEARCH_INTERVAL: Duration = Duration::from_mins(1);
