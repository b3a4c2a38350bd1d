//! Pods that are deleted and created again, over and over.
//!
//! An operator that compares the images of its pods with the images that it requested
//! deletes each swapped pod, and creates it again. [`crate::workload::exempt`] lists the
//! operators that are known; this finds the others.
//!
//! A recreation is a swapped pod that ends within [`LIFE`], and another pod in its place
//! within [`GAP`]: of the same owner, with the same name (or prefix of generated names),
//! made of the same images and of the same revision. So these are none:
//!
//! - a container that restarts: the pod is the same;
//! - pods of a Job, which end by themselves, and of a `ReplicaSet` or `DaemonSet`, which
//!   compare no images ([`OwnedPod::is_candidate`]);
//! - a rollout: the revision or the images are others;
//! - scaling down, and up again later: no pod is there at once;
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
/// The time for which a recreation counts, in seconds.
pub const WINDOW: UnixTime = 3 * 60 * 60;
/// The number of recreations of one pod from which on it is reported.
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
    /// The hash of its record of originals and its revision.
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
    /// The UIDs of a list that has not come to its end.
    listed: Option<HashSet<Box<str>>>,
    /// True once a list has come to its end.
    is_complete: bool,
}

#[derive(Clone, Copy, Debug)]
struct LivingPod {
    place: u64,
    /// The time of its creation; `None`: it was there before.
    since: Option<UnixTime>,
    /// True if it is known to be in the place of one that ended.
    is_successor: bool,
}

/// All pods that could stand for one another.
#[derive(Clone, Debug)]
struct PodPlace {
    pod: RecreatedPod,
    /// The last end that no successor is known of.
    ended: Option<UnixTime>,
    /// The times of recreations, ascending.
    recreated: Vec<UnixTime>,
}

impl OwnedPod {
    /// Returns true if pods of such an owner are worth a look.
    pub fn is_candidate(api_version: &str, kind: &str) -> bool {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        !matches!(
            (group, kind),
            ("", "Node" | "Pod" | "ReplicationController")
                | ("apps" | "extensions", "ReplicaSet" | "DaemonSet")
                | ("batch" | "extensions", "Job")
        )
    }

    /// Returns the hash of what a pod is made of.
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
    /// Begins a list of all pods. What is known stays until [`Self::end_list`].
    pub fn begin_list(&mut self) {
        self.listed = Some(HashSet::new());
    }

    /// Takes a pod of the list; returns true for a recreation.
    pub fn list(&mut self, pod: &OwnedPod, now: UnixTime) -> bool {
        self.listed.get_or_insert_default().insert(pod.uid.as_str().into());
        if self.is_complete {
            return self.add(pod, now);
        }
        let before = LivingPod { place: pod.place(), since: None, is_successor: true };
        self.living.entry(pod.uid.as_str().into()).or_insert(before);
        false
    }

    /// Ends the list: other pods are gone.
    pub fn end_list(&mut self) {
        // Nothing is known of the end of those that are not in it.
        let listed = self.listed.take().unwrap_or_default();
        self.living.retain(|uid, _| listed.contains(uid));
        self.is_complete = true;
    }

    /// Takes a pod that is there; returns true for a recreation.
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

    /// Takes a pod that is gone; returns true for a recreation.
    pub fn remove(&mut self, pod: &OwnedPod, now: UnixTime) -> bool {
        let Some(gone) = self.living.remove(pod.uid.as_str()) else { return false };
        let Some(since) = gone.since.filter(|since| now.saturating_sub(*since) <= LIFE) else {
            return false;
        };
        let place = self.places.entry(gone.place).or_insert_with(|| PodPlace::new(pod));
        // Generated names: the next pod may be there before this one is gone.
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

    /// Returns the pods that are created again and again: of each owner the one that is so
    /// most often. Forgets what is too old to count.
    pub fn recreated(&mut self, now: UnixTime) -> Vec<RecreatedPod> {
        self.places.retain(|_, place| {
            // A clock that was set back must not keep them for ever.
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
