//! The namespaces that hold a swapped pod.
//!
//! A namespace keeps its Secret for a while after its last swapped pod is gone:
//! where a pod is replaced by another one, the Secret should not be made anew,
//! with the new pod waiting for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::declaration::UnixTime;

type Pods = BTreeMap<Box<str>, BTreeSet<Box<str>>>;

/// The swapped pods, by namespace. It holds names alone: a cluster has many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swapped {
    pods: Pods,
    /// Namespaces without any, and since when.
    left: BTreeMap<Box<str>, UnixTime>,
    /// All pods, read anew but not yet to the end.
    listed: Option<Pods>,
}

impl Swapped {
    /// A pod is there; whether its namespace had none.
    pub fn add(&mut self, namespace: &str, pod: &str) -> bool {
        let is_new = !self.pods.contains_key(namespace) && !self.left.contains_key(namespace);
        self.left.remove(namespace);
        insert(&mut self.pods, namespace, pod);
        is_new
    }

    /// A pod is gone, or no swapped one any more; whether it was its namespace's last.
    pub fn remove(&mut self, namespace: &str, pod: &str, now: UnixTime) -> bool {
        let Some(pods) = self.pods.get_mut(namespace) else { return false };
        pods.remove(pod);
        if !pods.is_empty() {
            return false;
        }
        self.pods.remove(namespace);
        self.left.insert(namespace.into(), now);
        true
    }

    /// All pods are read anew: what is known stays until [`Self::end_list`].
    pub fn begin_list(&mut self) {
        self.listed = Some(Pods::new());
    }

    /// One of all pods.
    pub fn list(&mut self, namespace: &str, pod: &str) {
        insert(self.listed.get_or_insert_default(), namespace, pod);
    }

    /// That was all of them.
    pub fn end_list(&mut self, now: UnixTime) {
        let before = std::mem::replace(&mut self.pods, self.listed.take().unwrap_or_default());
        for namespace in before.into_keys() {
            self.left.entry(namespace).or_insert(now);
        }
        self.left.retain(|namespace, _| !self.pods.contains_key(namespace));
    }

    /// Forgets namespaces without any for longer than `linger` seconds, and gives
    /// those that are left.
    pub fn namespaces(&mut self, now: UnixTime, linger: UnixTime) -> BTreeSet<String> {
        // A clock that was set back must not keep them for ever.
        self.left.retain(|_, since| now >= *since && now - *since < linger);
        self.pods.keys().chain(self.left.keys()).map(ToString::to_string).collect()
    }

    /// When the next namespace is forgotten.
    pub fn next(&self, linger: UnixTime) -> Option<UnixTime> {
        self.left.values().min().map(|since| since.saturating_add(linger))
    }
}

fn insert(pods: &mut Pods, namespace: &str, pod: &str) {
    // Most pods are told of many times.
    if let Some(known) = pods.get_mut(namespace) {
        if !known.contains(pod) {
            known.insert(pod.into());
        }
    } else {
        pods.insert(namespace.into(), BTreeSet::from([pod.into()]));
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const LINGER: UnixTime = 300;

    fn namespaces(swapped: &mut Swapped, now: UnixTime) -> Vec<String> {
        swapped.namespaces(now, LINGER).into_iter().collect()
    }

    #[test]
    fn a_namespace_counts_a_while_longer_than_its_last_pod() {
        let mut swapped = Swapped::default();
        assert!(swapped.add("a", "one"));
        assert!(!swapped.add("a", "two") && !swapped.add("a", "two"));
        assert!(!swapped.remove("a", "one", 1000) && !swapped.remove("a", "one", 1000));
        assert!(swapped.remove("a", "two", 1000));
        assert!(!swapped.remove("a", "two", 1001) && !swapped.remove("b", "x", 1001));
        assert_eq!(swapped.next(LINGER), Some(1000 + LINGER));
        assert_eq!(namespaces(&mut swapped, 1000 + LINGER - 1), ["a"]);
        assert!(!swapped.clone().add("a", "three"), "its Secret is still there");
        assert!(namespaces(&mut swapped, 1000 + LINGER).is_empty());
        assert_eq!(swapped.next(LINGER), None);
    }

    #[test]
    fn nothing_is_forgotten_while_all_pods_are_read_anew() {
        let mut swapped = Swapped::default();
        swapped.add("a", "one");
        swapped.add("b", "one");
        swapped.begin_list();
        swapped.list("b", "two");
        assert_eq!(namespaces(&mut swapped, 1000), ["a", "b"]);
        swapped.end_list(1000);
        assert_eq!(namespaces(&mut swapped, 1001), ["a", "b"]);
        assert_eq!(namespaces(&mut swapped, 1000 + LINGER), ["b"]);
        assert!(!swapped.remove("b", "one", 1000) && swapped.remove("b", "two", 1000));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nothing() {
        let mut swapped = Swapped::default();
        swapped.add("a", "one");
        swapped.remove("a", "one", 1000);
        assert!(namespaces(&mut swapped, 10).is_empty());
    }

    proptest! {
        /// Whatever the order of events, a namespace with a pod counts.
        #[test]
        fn every_namespace_with_a_swapped_pod_counts(
            events in vec((any::<bool>(), "[ab]", "[x-z]", 0_u64..5), 0..40),
        ) {
            let mut swapped = Swapped::default();
            let mut there = BTreeSet::new();
            let mut now = 1000;
            for (is_there, namespace, pod, later) in events {
                now += later * 100;
                if is_there {
                    swapped.add(&namespace, &pod);
                    there.insert((namespace, pod));
                } else {
                    swapped.remove(&namespace, &pod, now);
                    there.remove(&(namespace, pod));
                }
                let counted = swapped.namespaces(now, LINGER);
                prop_assert!(there.iter().all(|(namespace, _)| counted.contains(namespace)));
            }
            let left: BTreeSet<_> = there.into_iter().map(|(namespace, _)| namespace).collect();
            prop_assert_eq!(swapped.namespaces(now + LINGER, LINGER), left);
        }
    }
}
