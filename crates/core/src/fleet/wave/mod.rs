//! Waves: the order in which workload clusters receive a declaration.
//!
//! Canary clusters receive it first, then at most a number of clusters at a time. The next wave
//! begins when every reachable cluster of the last one has verified it. A failed cluster of that
//! wave stops the rollout until an administrator acts. An unreachable cluster never blocks a wave;
//! it joins one after its return.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::inventory::ClusterKey;

/// Maximum number of clusters that a summary names.
const NAMED: usize = 5;

/// Settings of waves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WaveSettings {
    /// True if canary clusters are selected.
    pub has_canary: bool,
    /// Maximum number of clusters in a wave after the canary clusters; 0 for all clusters.
    pub size: usize,
}

impl WaveSettings {
    /// Returns true if all clusters receive a declaration at once.
    pub const fn is_off(self) -> bool {
        !self.has_canary && self.size == 0
    }
}

/// Progress of a cluster with the wanted declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterProgress {
    /// No attempt on the cluster has ended since the start of the fleet controller.
    Unknown,
    /// No answer of its API server, or no recent heartbeat of a cluster that pulls.
    Unreachable,
    /// Not in force.
    Pending,
    /// In force, without a verified pull.
    Applied,
    /// In force, and a pull through the mirrors has succeeded or no node can pull.
    Verified,
    /// Failed for this reason.
    Failed(String),
}

/// Cluster to which a declaration is rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveCluster {
    /// True if the cluster receives a declaration before the others.
    pub is_canary: bool,
    /// Progress with the wanted declaration.
    pub progress: ClusterProgress,
}

/// Order of an administrator for all clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaveOrder {
    /// Continue.
    #[default]
    Continue,
    /// Begin no wave.
    Pause,
}

/// State of the rollout of one declaration, which survives a restart of the fleet controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaveState {
    /// Number of the declaration.
    pub revision: u64,
    /// True if all clusters may receive the declaration.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// Clusters that may receive the declaration, as `NAMESPACE/NAME`.
    pub admitted: BTreeSet<String>,
    /// Numbers of declarations that other clusters were last admitted to, by `NAMESPACE/NAME`. A
    /// cluster keeps that declaration until its wave begins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub former: BTreeMap<String, u64>,
    /// Members of the last wave, as `NAMESPACE/NAME`; empty if the rollout has ended. A failure of
    /// another cluster stops nothing.
    pub wave: BTreeSet<String>,
    /// Failed cluster that stopped the rollout; `None` while it continues.
    pub failed: Option<FailedWave>,
}

/// Failure that stopped a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedWave {
    /// Cluster, as `NAMESPACE/NAME`.
    pub cluster: String,
    /// Reason.
    pub reason: String,
}

impl WaveState {
    /// Returns true if `key` may receive the declaration of the state.
    pub fn admits(&self, key: &ClusterKey) -> bool {
        self.is_open || self.admitted.contains(&key.to_string())
    }

    /// Returns the number of the declaration that `key` keeps until its wave begins; `None` if it
    /// was never admitted.
    pub fn former(&self, key: &ClusterKey) -> Option<u64> {
        self.former.get(&key.to_string()).copied()
    }

    /// Returns the state after an administrator resumed the rollout: members of the last wave
    /// join a wave again.
    #[must_use]
    pub fn resumed(mut self) -> Self {
        self.failed = None;
        for name in std::mem::take(&mut self.wave) {
            if self.admitted.remove(&name) {
                self.former.insert(name, self.revision);
            }
        }
        self
    }

    /// Returns the state with which the next decision on the declaration `wanted` begins.
    fn begin(&self, wanted: u64, clusters: &BTreeMap<String, &WaveCluster>) -> Self {
        let is_same = self.revision == wanted;
        let is_present = |name: &String| clusters.contains_key(name);
        let mut former = self.former.clone();
        // The numbers of another release have another meaning.
        if wanted < self.revision {
            former.clear();
        } else if self.is_open {
            former.extend(clusters.keys().map(|name| (name.clone(), self.revision)));
        } else {
            let lost = self.admitted.iter().filter(|name| !is_same || !is_present(name));
            former.extend(lost.map(|name| (name.clone(), self.revision)));
        }
        let of = |set: &BTreeSet<String>| set.iter().filter(|it| is_present(it)).cloned().collect();
        if is_same {
            let (admitted, wave) = (of(&self.admitted), of(&self.wave));
            let failed = self.failed.clone();
            Self { revision: wanted, is_open: false, admitted, former, wave, failed }
        } else {
            Self { revision: wanted, former, ..Self::default() }
        }
    }

    /// Admits the cluster `name`.
    fn admit(&mut self, name: &str) {
        self.former.remove(name);
        self.admitted.insert(name.to_owned());
    }
}

/// Decision on a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveDecision {
    /// State to store before a cluster receives the declaration.
    pub state: WaveState,
    /// Progress of the rollout; empty if it has ended.
    pub summary: String,
}

/// Decides which clusters may receive the declaration with the number `wanted`.
pub fn decide(
    settings: WaveSettings,
    order: WaveOrder,
    wanted: u64,
    stored: &WaveState,
    clusters: &BTreeMap<ClusterKey, WaveCluster>,
) -> WaveDecision {
    if settings.is_off() {
        let state = WaveState { revision: wanted, is_open: true, ..WaveState::default() };
        return WaveDecision { state, summary: String::new() };
    }
    let named: BTreeMap<String, &WaveCluster> =
        clusters.iter().map(|(key, cluster)| (key.to_string(), cluster)).collect();
    let mut state = stored.begin(wanted, &named);
    // A cluster with the declaration needs no admission.
    for (name, _) in named.iter().filter(|(_, it)| it.progress == ClusterProgress::Verified) {
        state.admit(name);
    }
    if state.failed.is_none() {
        state.failed = failure(&state, &named);
    }
    if let Some(FailedWave { cluster, reason }) = &state.failed {
        let summary = format!("stopped: {cluster}: {reason}");
        return WaveDecision { state, summary };
    }
    let is_waiting = |name: &&String| {
        let progress = named.get(*name).map(|it| &it.progress);
        matches!(
            progress,
            Some(ClusterProgress::Unknown | ClusterProgress::Pending | ClusterProgress::Applied)
        )
    };
    // A canary that may be reachable precedes all others.
    let is_awaited = |(name, it): &(&String, &&WaveCluster)| {
        settings.has_canary
            && it.is_canary
            && it.progress == ClusterProgress::Unknown
            && !state.admitted.contains(*name)
    };
    let canaries = named.iter().filter(is_awaited).map(|(name, _)| name);
    let waiting: Vec<&String> = state.wave.iter().filter(is_waiting).chain(canaries).collect();
    if !waiting.is_empty() {
        let summary = format!("waits for {}", list(&waiting));
        return WaveDecision { state, summary };
    }
    let is_candidate = |name: &str, cluster: &WaveCluster| {
        let is_away =
            matches!(cluster.progress, ClusterProgress::Unknown | ClusterProgress::Unreachable);
        !state.admitted.contains(name) && !is_away
    };
    let candidates: Vec<_> = named.iter().filter(|(name, it)| is_candidate(name, it)).collect();
    let canaries: Vec<_> = candidates.iter().copied().filter(|(_, it)| it.is_canary).collect();
    let next: Vec<&String> = match settings.size {
        _ if settings.has_canary && !canaries.is_empty() => {
            canaries.into_iter().map(|(name, _)| name).collect()
        }
        0 => candidates.into_iter().map(|(name, _)| name).collect(),
        size => candidates.into_iter().map(|(name, _)| name).take(size).collect(),
    };
    if next.is_empty() {
        state.wave.clear();
        return WaveDecision { state, summary: String::new() };
    }
    if order == WaveOrder::Pause {
        let summary = format!("paused before {}", list(&next));
        return WaveDecision { state, summary };
    }
    let summary = format!("waits for {}", list(&next));
    state.wave = next.iter().map(|it| (*it).clone()).collect();
    for name in next {
        state.admit(name);
    }
    WaveDecision { state, summary }
}

/// Returns the failure of the first member of the last wave that has one.
fn failure(state: &WaveState, clusters: &BTreeMap<String, &WaveCluster>) -> Option<FailedWave> {
    state.wave.iter().find_map(|name| match &clusters.get(name)?.progress {
        ClusterProgress::Failed(reason) => {
            Some(FailedWave { cluster: name.clone(), reason: reason.clone() })
        }
        _ => None,
    })
}

/// Returns the first names, and the number of further ones.
fn list(names: &[&String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
    let more = names.len().saturating_sub(NAMED);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests;
