//! Detects pods that are deleted and created again, over and over.
//!
//! An operator that compares the images of its pods with the images that it requested deletes
//! each swapped pod, and creates it again. [`crate::workload::exempt`] lists the known
//! operators; this module finds the others.
//!
//! A recreation is a swapped pod that ends within [`LIFE`], and another pod in its place within
//! [`GAP`]. Both have the same owner, the same name (or prefix of generated names), the same
//! images and the same revision. These are not recreations:
//!
//! - a container that restarts: the pod is the same;
//! - pods of a Job, which end by themselves, and of a `ReplicaSet` or `DaemonSet`, which
//!   compare no images ([`OwnedPod::is_candidate`]);
//! - a rollout: the revision or the images differ;
//! - scaling down, and up again later: no pod follows within [`GAP`];
//! - drained nodes and evictions: the pods lived longer.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::declaration::UnixTime;

/// The longest life of a pod whose end counts, in seconds. An operator may compare its
/// pods every half hour.
pub const LIFE: UnixTime = 60 * 60;
/// The longest time between the end of a pod and the creation of the next, in seconds.
pub const GAP: UnixTime = 2 * 60;
/// Time for which a recreation counts, in seconds.
pub const WINDOW: UnixTime = 3 * 60 * 60;
/// Number of recreations at which a pod is reported.
pub const THRESHOLD: usize = 5;

/// An owner of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PodOwner {
    /// The `apiVersion` of the owner.
    pub api_version: String,
    /// The kind of the owner.
    pub kind: String,
    /// The name of the owner.
    pub name: String,
    /// The UID of the owner.
    pub uid: String,
}

/// A swapped pod that has an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedPod {
    /// The UID of the pod.
    pub uid: String,
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod, or the prefix of its generated name.
    pub stem: String,
    /// The controller of the pod, or else the first owner.
    pub owner: PodOwner,
    /// Hash of the pod's record of originals and of its revision.
    pub version: u64,
}

/// A pod that is created again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecreatedPod {
    /// The namespace of the pod.
    pub namespace: String,
    /// The name of the pod, or the prefix of its generated name.
    pub stem: String,
    /// The owner of the pod.
    pub owner: PodOwner,
    /// The number of recreations within [`WINDOW`].
    pub times: usize,
}

/// The swapped pods with an owner, and the recreations among them.
#[derive(Clone, Debug, Default)]
pub struct Recreations {
    /// Living pods, by UID.
    living: HashMap<Box<str>, LivingPod>,
    /// Pods that ended, by place.
    places: HashMap<u64, PodPlace>,
    /// The UIDs of a list that has not yet ended; `None` outside of a list.
    listed: Option<HashSet<Box<str>>>,
    /// True after a list has ended.
    is_complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct LivingPod {
    place: u64,
    /// Time of the pod's creation; `None` if it existed before the first list.
    since: Option<UnixTime>,
    /// True if the pod is known to follow one that ended.
    is_successor: bool,
}

/// All pods that can replace one another.
#[derive(Clone, Debug)]
struct PodPlace {
    pod: RecreatedPod,
    /// Time of the last end without a known successor; `None` if there is none.
    ended: Option<UnixTime>,
    /// Times of recreations, ascending.
    recreated: Vec<UnixTime>,
}

impl OwnedPod {
    /// Returns true if an owner of this kind may compare images.
    pub fn is_candidate(api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        !matches!(
            (group, kind),
            ("", "Node" | "Pod" | "ReplicationController")
                | ("apps" | "extensions", "ReplicaSet" | "DaemonSet")
                | ("batch" | "extensions", "Job")
        )
    }

    /// Returns the hash of a pod's images and revision.
    pub fn version(originals: &str, revision: &str) -> u64 {
        hash(&(originals, revision))
    }

    fn place(&self) -> u64 {
        hash(&(&self.namespace, &self.owner.uid, &self.stem, self.version))
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Recreations {
    /// Begins a list of all pods. Known pods stay until [`Self::end_list`].
    pub fn begin_list(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// Records a pod of the list; returns true for a recreation.
    pub fn list(&mut self, pod: &OwnedPod, now: UnixTime) -> bool {
        self.listed.get_or_insert_default().insert(pod.uid.as_str().into());
        if self.is_complete {
            return self.add(pod, now);
        }
        let before = LivingPod { place: pod.place(), since: None, is_successor: true };
        self.living.entry(pod.uid.as_str().into()).or_insert(before);
        false
    }

    /// Ends the list: pods that were not in it are forgotten.
    pub fn end_list(&mut self) {
        // The times at which the missing pods ended are unknown.
        let listed = self.listed.take().unwrap_or_default();
        self.living.retain(|uid, _| listed.contains(uid));
        self.is_complete = true;
    }

    /// Records a pod that exists; returns true for a recreation.
    pub fn add(&mut self, pod: &OwnedPod, now: UnixTime) -> bool {
        if self.living.contains_key(pod.uid.as_str()) {
            return false;
        }
        let id = pod.place();
        let place = self.places.get_mut(&id);
        let ended = place.and_then(|place| {
            place.ended.take_if(|at| now.saturating_sub(*at) <= GAP).map(|_| place)
        });
        let is_successor = ended.is_some();
        if let Some(place) = ended {
            place.recreated.push(now);
        }
        let living = LivingPod { place: id, since: Some(now), is_successor };
        self.living.insert(pod.uid.as_str().into(), living);
        is_successor
    }

    /// Records a pod that was deleted; returns true for a recreation.
    pub fn remove(&mut self, pod: &OwnedPod, now: UnixTime) -> bool {
        let Some(gone) = self.living.remove(pod.uid.as_str()) else { return false };
        let Some(since) = gone.since.filter(|since| now.saturating_sub(*since) <= LIFE) else {
            return false;
        };
        let place = self.places.entry(gone.place).or_insert_with(|| PodPlace::new(pod));
        // With generated names the next pod may exist before this one is deleted.
        let successor = self.living.values_mut().find(|it| {
            let is_next = |at: UnixTime| at >= since && now.saturating_sub(at) <= GAP;
            it.place == gone.place && !it.is_successor && it.since.is_some_and(is_next)
        });
        let Some(successor) = successor else {
            place.ended = Some(now);
            return false;
        };
        successor.is_successor = true;
        place.recreated.push(now);
        true
    }

    /// Returns the pods that are created again and again: of each owner the most frequent one.
    /// Forgets recreations that are too old to count.
    pub fn recreated(&mut self, now: UnixTime) -> Vec<RecreatedPod> {
        self.places.retain(|_, place| {
            // After a clock was set back, no entry may stay forever.
            place.recreated.retain(|at| *at <= now && now - *at < WINDOW);
            let is_open = place.ended.is_some_and(|at| at <= now && now - at <= GAP);
            is_open || !place.recreated.is_empty()
        });
        let mut found: Vec<RecreatedPod> = self
            .places
            .values()
            .filter(|place| place.recreated.len() >= THRESHOLD)
            .map(|place| RecreatedPod { times: place.recreated.len(), ..place.pod.clone() })
            .collect();
        let owner = |pod: &RecreatedPod| (pod.namespace.clone(), pod.owner.uid.clone());
        found.sort_unstable_by_key(|pod| (owner(pod), usize::MAX - pod.times, pod.stem.clone()));
        found.dedup_by_key(|pod| owner(pod));
        found
    }
}

impl PodPlace {
    fn new(pod: &OwnedPod) -> Self {
        let pod = RecreatedPod {
            namespace: pod.namespace.clone(),
            stem: pod.stem.clone(),
            owner: pod.owner.clone(),
            times: 0,
        };
        Self { pod, ended: None, recreated: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
