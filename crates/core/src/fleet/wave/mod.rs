//! Waves: the order in which workload clusters receive a declaration, or a bundle.
//!
//! Canary clusters receive it first, then at most a number of clusters at a time. The next wave
//! begins when every reachable cluster of the last one has verified it. A failed cluster of that
//! wave stops the rollout until an administrator acts. An unreachable cluster never blocks a wave;
//! it joins one after its return.
//!
//! - `target` has the kinds of targets.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use self::target::RolloutTarget;
use super::inventory::ClusterKey;

mod target;

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

/// Progress of a cluster with the wanted target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterProgress {
    /// Without a bundle or a declaration: the cluster receives nothing yet. It joins after the rollout
    /// to all others.
    Outside,
    /// No attempt on the cluster has ended since the start of the fleet controller.
    Unknown,
    /// No answer of its API server, or no recent heartbeat of a cluster that pulls.
    Unreachable,
    /// Not in force.
    #[default]
    Pending,
    /// In force, without a verified pull.
    Applied,
    /// In force, and a pull through the mirrors has succeeded or no node can pull.
    Verified,
    /// Failed for this reason.
    Failed(String),
}

/// Cluster that takes part in a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveCluster {
    /// True if the cluster receives the target before the others.
    pub is_canary: bool,
    /// Progress with the wanted target.
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

/// State of the rollout of one target, which survives a restart of the fleet controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WaveState<T> {
    /// Number of the declaration, or hash of the bundle, that is rolled out.
    #[serde(rename = "revision")]
    pub target: T,
    /// True if all clusters may receive the target.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// Clusters that may receive the target, as `NAMESPACE/NAME`.
    pub admitted: BTreeSet<String>,
    /// Targets that other clusters were last admitted to, by `NAMESPACE/NAME`. A cluster keeps that
    /// target until its wave begins.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub former: BTreeMap<String, T>,
    /// Members of the last wave, as `NAMESPACE/NAME`; empty if the rollout has ended. A failure of
    /// another cluster stops nothing.
    pub wave: BTreeSet<String>,
    /// Failed cluster that stopped the rollout; `None` while it continues.
    pub failed: Option<FailedWave>,
}

/// Rollout of a declaration, by its number.
pub type DeclarationWaves = WaveState<u64>;
/// Rollout of a bundle, by the hash of its text. A former bundle is an empty hash: it is not stored.
pub type BundleWaves = WaveState<String>;

/// Failure that stopped a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedWave {
    /// Cluster, as `NAMESPACE/NAME`.
    pub cluster: String,
    /// Reason.
    pub reason: String,
}

impl<T: RolloutTarget> WaveState<T> {
    /// Returns true if `key` may receive the target of the state.
    pub fn admits(&self, key: &ClusterKey) -> bool {
        self.is_open || self.admitted.contains(&key.to_string())
    }

    /// Returns the target that `key` keeps until its wave begins; `None` if it was never admitted.
    pub fn former(&self, key: &ClusterKey) -> Option<&T> {
        self.former.get(&key.to_string())
    }

    /// Returns the state after an administrator resumed the rollout: members of the wave that failed
    /// join a wave again.
    #[must_use]
    pub fn resumed(mut self) -> Self {
        if self.failed.take().is_none() {
            return self;
        }
        for name in std::mem::take(&mut self.wave) {
            if self.admitted.remove(&name) {
                self.former.insert(name, self.target.kept());
            }
        }
        self
    }

    /// Returns the state with which the next decision on `wanted` begins.
    fn begin(&self, wanted: &T, clusters: &BTreeMap<String, &WaveCluster>) -> Self {
        let is_same = self.target == *wanted;
        let is_present = |name: &String| clusters.contains_key(name);
        let kept = |name: &String| (name.clone(), self.target.kept());
        let mut former = self.former.clone();
        if wanted.is_of_other_release(&self.target) {
            former.clear();
        } else if self.is_open {
            former.extend(clusters.keys().map(kept));
        } else {
            let lost = self.admitted.iter().filter(|name| !is_same || !is_present(name));
            former.extend(lost.map(kept));
        }
        let target = wanted.clone();
        let of = |set: &BTreeSet<String>| set.iter().filter(|it| is_present(it)).cloned().collect();
        if is_same {
            let (admitted, wave) = (of(&self.admitted), of(&self.wave));
            let failed = self.failed.clone();
            Self { target, is_open: false, admitted, former, wave, failed }
        } else {
            Self { target, former, ..Self::default() }
        }
    }

    /// Forgets the former targets that are new since the state `before`, unless `has_target` is true
    /// for the cluster. A cluster that was never reached may be admitted, and has no target.
    pub fn retain_former(&mut self, before: &Self, has_target: impl Fn(&str) -> bool) {
        self.former.retain(|name, _| before.former.contains_key(name) || has_target(name));
    }

    /// Admits the cluster `name`.
    fn admit(&mut self, name: &str) {
        self.former.remove(name);
        self.admitted.insert(name.to_owned());
    }

    /// Returns the decision to wait with this state. `summary` is the progress and the reason.
    fn waits(self, summary: &str) -> WaveDecision<T> {
        let summary = format!("{}{summary}", T::PREFIX);
        WaveDecision { state: self, reason: summary.clone(), summary }
    }

    /// Returns the decision to wait with this state for the clusters `awaited`.
    fn waits_for(
        self,
        awaited: &[&String],
        clusters: &BTreeMap<String, &WaveCluster>,
    ) -> WaveDecision<T> {
        let is_canary = |name: &String| clusters.get(name).is_some_and(|it| it.is_canary);
        let has_canary = self.wave.iter().any(is_canary) || awaited.iter().any(|it| is_canary(it));
        let reason = if has_canary { "the canary clusters" } else { "an earlier wave" };
        let reason = format!("{}waits for {reason}", T::PREFIX);
        WaveDecision { reason, ..self.waits(&format!("waits for {}", list(awaited))) }
    }

    /// Returns the clusters without which no wave begins: members of the last one that have not
    /// ended, and canaries that may be reachable.
    fn awaited<'c>(
        &self,
        settings: WaveSettings,
        clusters: &'c BTreeMap<String, &WaveCluster>,
    ) -> Vec<&'c String> {
        use ClusterProgress::{Applied, Pending, Unknown};
        let is_waiting = |name: &str, it: &WaveCluster| {
            self.wave.contains(name) && matches!(it.progress, Unknown | Pending | Applied)
        };
        let is_canary = |name: &str, it: &WaveCluster| {
            settings.has_canary
                && it.is_canary
                && it.progress == Unknown
                && !self.admitted.contains(name)
        };
        let (mut awaited, mut canaries) = (Vec::new(), Vec::new());
        for (name, it) in clusters {
            if is_waiting(name, it) {
                awaited.push(name);
            } else if is_canary(name, it) {
                canaries.push(name);
            }
        }
        awaited.append(&mut canaries);
        awaited
    }

    /// Returns the members of the next wave; empty if the rollout has ended.
    fn next<'c>(
        &self,
        settings: WaveSettings,
        clusters: &'c BTreeMap<String, &WaveCluster>,
    ) -> Vec<&'c String> {
        use ClusterProgress::{Outside, Unknown, Unreachable};
        let is_candidate = |name: &str, it: &WaveCluster| {
            !self.admitted.contains(name) && !matches!(it.progress, Outside | Unknown | Unreachable)
        };
        let candidates = || clusters.iter().filter(|(name, it)| is_candidate(name, it));
        let canaries: Vec<_> = candidates().filter(|(_, it)| it.is_canary).collect();
        let names = candidates().map(|(name, _)| name);
        match settings.size {
            _ if settings.has_canary && !canaries.is_empty() => {
                canaries.into_iter().map(|(name, _)| name).collect()
            }
            0 => names.collect(),
            size => names.take(size).collect(),
        }
    }
}

/// Decision on a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveDecision<T> {
    /// State to store before a cluster receives the target.
    pub state: WaveState<T>,
    /// Progress of the rollout; empty if it has ended.
    pub summary: String,
    /// Reason of the clusters that wait; empty if the rollout has ended. It stays while clusters of a
    /// wave receive the target: each change is written to the report of every cluster that waits.
    pub reason: String,
}

/// Decides which clusters may receive `wanted`.
pub fn decide<T: RolloutTarget>(
    settings: WaveSettings,
    order: WaveOrder,
    wanted: &T,
    stored: &WaveState<T>,
    clusters: &BTreeMap<ClusterKey, WaveCluster>,
) -> WaveDecision<T> {
    if settings.is_off() {
        let target = wanted.clone();
        let state = WaveState { target, is_open: true, ..WaveState::default() };
        return WaveDecision { state, summary: String::new(), reason: String::new() };
    }
    let named: BTreeMap<String, &WaveCluster> =
        clusters.iter().map(|(key, cluster)| (key.to_string(), cluster)).collect();
    let mut state = stored.begin(wanted, &named);
    // A cluster with the target needs no admission.
    for (name, _) in named.iter().filter(|(_, it)| it.progress == ClusterProgress::Verified) {
        state.admit(name);
    }
    if state.failed.is_none() {
        state.failed = failure(&state, &named);
    }
    if let Some(FailedWave { cluster, reason }) = &state.failed {
        let reason = format!("stopped: {cluster}: {reason}");
        return state.waits(&reason);
    }
    let awaited = state.awaited(settings, &named);
    if !awaited.is_empty() {
        return state.waits_for(&awaited, &named);
    }
    let next = state.next(settings, &named);
    if next.is_empty() {
        state.wave.clear();
        return join(state, order, &named);
    }
    if order == WaveOrder::Pause {
        return state.waits(&format!("paused before {}", list(&next)));
    }
    state.wave = next.iter().map(|it| (*it).clone()).collect();
    for name in &next {
        state.admit(name);
    }
    state.waits_for(&next, &named)
}

/// Returns the decision after the last wave: clusters outside join unless another one is not known
/// yet.
fn join<T: RolloutTarget>(
    mut state: WaveState<T>,
    order: WaveOrder,
    clusters: &BTreeMap<String, &WaveCluster>,
) -> WaveDecision<T> {
    let waiting = |progress: ClusterProgress| -> Vec<&String> {
        let found = clusters.iter().filter(|(_, it)| it.progress == progress);
        found.map(|(name, _)| name).filter(|name| !state.admitted.contains(*name)).collect()
    };
    let (outside, unknown) = (waiting(ClusterProgress::Outside), waiting(ClusterProgress::Unknown));
    if !outside.is_empty() && order == WaveOrder::Pause {
        return state.waits(&format!("paused before {}", list(&outside)));
    }
    if !outside.is_empty() && !unknown.is_empty() {
        return state.waits_for(&unknown, clusters);
    }
    for name in outside {
        state.admit(name);
    }
    WaveDecision { state, summary: String::new(), reason: String::new() }
}

/// Returns the failure of the first member of the last wave that has one.
fn failure<T>(
    state: &WaveState<T>,
    clusters: &BTreeMap<String, &WaveCluster>,
) -> Option<FailedWave> {
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
