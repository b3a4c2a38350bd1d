//! Tracks the pods that refer to the pull Secret, by namespace.
//!
//! A namespace counts for some time after its last swapped pod was deleted. Otherwise the
//! Secret would be deleted and created again whenever a pod is replaced, and the new pod would
//! wait for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::declaration::UnixTime;

/// The use that a pod makes of the pull Secret it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretUse {
    /// True if image-swap swapped an image that is pulled with the credential.
    pub swapped: bool,
    /// True if the pod may still run: its phase is not `Succeeded` or `Failed`.
    pub living: bool,
}

/// The pods of one namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Namespace {
    pods: BTreeMap<Box<str>, SecretUse>,
    swapped: usize,
    living: usize,
}

impl Namespace {
    fn set(&mut self, pod: &str, now: SecretUse) {
        let before = if let Some(known) = self.pods.get_mut(pod) {
            std::mem::replace(known, now)
        } else {
            self.pods.insert(pod.into(), now);
            SecretUse::default()
        };
        self.swapped = self.swapped + usize::from(now.swapped) - usize::from(before.swapped);
        self.living = self.living + usize::from(now.living) - usize::from(before.living);
    }

    fn remove(&mut self, pod: &str) {
        if let Some(before) = self.pods.remove(pod) {
            self.swapped -= usize::from(before.swapped);
            self.living -= usize::from(before.living);
        }
    }

    /// Returns two flags: true for any swapped pods, and true for any living pods.
    fn summary(&self) -> (bool, bool) {
        (self.swapped > 0, self.living > 0)
    }
}

type Namespaces = BTreeMap<Box<str>, Namespace>;

/// The pods that refer to the Secret, by namespace. It only stores names and two flags, since a
/// cluster may have many pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    namespaces: Namespaces,
    /// Namespaces without any swapped pod, with the time of the last one.
    left: BTreeMap<Box<str>, UnixTime>,
    /// Pods of the list that is being received; `None` between two lists.
    listed: Option<Namespaces>,
}

impl Pods {
    /// Records a pod that refers to the Secret. Returns true if that changes the needs of its
    /// namespace.
    pub fn add(&mut self, namespace: &str, pod: &str, now: SecretUse, at: UnixTime) -> bool {
        self.change(namespace, at, |pods| pods.set(pod, now))
    }

    /// Forgets a pod that was deleted, or does not refer to the Secret. Returns true if that
    /// changes the needs of its namespace.
    pub fn remove(&mut self, namespace: &str, pod: &str, at: UnixTime) -> bool {
        self.namespaces.contains_key(namespace)
            && self.change(namespace, at, |pods| pods.remove(pod))
    }

    fn change(
        &mut self,
        namespace: &str,
        at: UnixTime,
        change: impl FnOnce(&mut Namespace),
    ) -> bool {
        let pods = match self.namespaces.get_mut(namespace) {
            Some(pods) => pods,
            None => self.namespaces.entry(namespace.into()).or_default(),
        };
        let before = pods.summary();
        change(pods);
        let (swapped, living) = pods.summary();
        if pods.pods.is_empty() {
            self.namespaces.remove(namespace);
        }
        let was_counted = before.0 || self.left.contains_key(namespace);
        if swapped {
            self.left.remove(namespace);
        } else if before.0 {
            self.left.insert(namespace.into(), at);
        }
        (was_counted, before.1) != (swapped || self.left.contains_key(namespace), living)
    }

    /// Begins a list of all pods: known ones stay until [`Self::end_list`].
    pub fn begin_list(&mut self) {
        self.listed = Some(Namespaces::new());
    }

    /// Records a pod of the list that refers to the Secret.
    pub fn list(&mut self, namespace: &str, pod: &str, now: SecretUse) {
        let listed = self.listed.get_or_insert_default();
        listed.entry(namespace.into()).or_default().set(pod, now);
    }

    /// Ends the list: pods that were not in it are forgotten.
    pub fn end_list(&mut self, at: UnixTime) {
        let listed = self.listed.take().unwrap_or_default();
        let before = std::mem::replace(&mut self.namespaces, listed);
        for (namespace, _) in before.into_iter().filter(|(_, pods)| pods.swapped > 0) {
            self.left.entry(namespace).or_insert(at);
        }
        let namespaces = &self.namespaces;
        self.left
            .retain(|namespace, _| namespaces.get(namespace).is_none_or(|pods| pods.swapped == 0));
    }

    /// Forgets namespaces without a swapped pod for longer than `linger` seconds, and
    /// returns the others.
    pub fn swapped(&mut self, now: UnixTime, linger: UnixTime) -> BTreeSet<String> {
        // After a clock was set back, no entry may stay forever.
        self.left.retain(|_, since| now >= *since && now - *since < linger);
        let swapped = self.namespaces.iter().filter(|(_, pods)| pods.swapped > 0);
        swapped.map(|(name, _)| name).chain(self.left.keys()).map(ToString::to_string).collect()
    }

    /// Returns the namespaces with a living pod.
    pub fn living(&self) -> BTreeSet<String> {
        let living = self.namespaces.iter().filter(|(_, pods)| pods.living > 0);
        living.map(|(name, _)| name.to_string()).collect()
    }

    /// Returns the time at which the next namespace is forgotten; `None` if there is none.
    pub fn next(&self, linger: UnixTime) -> Option<UnixTime> {
        self.left.values().min().map(|since| since.saturating_add(linger))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const LINGER: UnixTime = 300;
    const SWAPPED: SecretUse = SecretUse { swapped: true, living: true };
    const DONE: SecretUse = SecretUse { swapped: true, living: false };
    const NAMED: SecretUse = SecretUse { swapped: false, living: true };

    fn swapped(pods: &mut Pods, now: UnixTime) -> Vec<String> {
        pods.swapped(now, LINGER).into_iter().collect()
    }

    #[test]
    fn namespace_counts_longer_than_its_last_pod() {
        let mut pods = Pods::default();
        assert!(pods.add("a", "one", SWAPPED, 1000));
        assert!(!pods.add("a", "two", SWAPPED, 1000) && !pods.add("a", "two", SWAPPED, 1000));
        assert!(!pods.remove("a", "one", 1000) && !pods.remove("a", "one", 1000));
        assert!(pods.remove("a", "two", 1000), "no living pod is left");
        assert!(!pods.remove("a", "two", 1001) && !pods.remove("b", "x", 1001));
        assert_eq!(pods.next(LINGER), Some(1000 + LINGER));
        assert_eq!(swapped(&mut pods, 1000 + LINGER - 1), ["a"]);
        assert!(swapped(&mut pods, 1000 + LINGER).is_empty());
        assert_eq!(pods.next(LINGER), None);
    }

    #[test]
    fn finished_pod_is_swapped_but_not_living() {
        let mut pods = Pods::default();
        pods.add("a", "one", SWAPPED, 1000);
        pods.add("b", "one", NAMED, 1000);
        assert_eq!(pods.living().into_iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(pods.add("a", "one", DONE, 1001));
        assert_eq!(pods.living().into_iter().collect::<Vec<_>>(), ["b"]);
        assert_eq!(swapped(&mut pods, 1000 + 2 * LINGER), ["a"]);
    }

    #[test]
    fn list_forgets_nothing_before_its_end() {
        let mut pods = Pods::default();
        pods.add("a", "one", SWAPPED, 1000);
        pods.add("b", "one", SWAPPED, 1000);
        pods.begin_list();
        pods.list("b", "two", SWAPPED);
        assert_eq!(swapped(&mut pods, 1000), ["a", "b"]);
        pods.end_list(1000);
        assert_eq!(swapped(&mut pods, 1001), ["a", "b"]);
        assert_eq!(swapped(&mut pods, 1000 + LINGER), ["b"]);
        assert!(!pods.remove("b", "one", 1000) && pods.remove("b", "two", 1000));
    }

    #[test]
    fn clock_set_back_keeps_no_namespace() {
        let mut pods = Pods::default();
        pods.add("a", "one", SWAPPED, 1000);
        pods.remove("a", "one", 1000);
        assert!(swapped(&mut pods, 10).is_empty());
    }

    proptest! {
        /// Compares the sets with the present pods, after any order of events.
        #[test]
        fn sets_follow_the_pods(
            events in vec((0_u8..5, "[ab]", "[x-z]", 0_u64..5), 0..40),
        ) {
            let mut pods = Pods::default();
            let mut there = BTreeMap::new();
            let mut now = 1000;
            for (kind, namespace, pod, later) in events {
                now += later * 100;
                let used = SecretUse { swapped: kind & 1 != 0, living: kind & 2 != 0 };
                if kind < 4 {
                    pods.add(&namespace, &pod, used, now);
                    there.insert((namespace, pod), used);
                } else {
                    pods.remove(&namespace, &pod, now);
                    there.remove(&(namespace, pod));
                }
                let of = |is: fn(&SecretUse) -> bool| -> BTreeSet<String> {
                    let those = there.iter().filter(|(_, used)| is(used));
                    those.map(|((namespace, _), _)| namespace.clone()).collect()
                };
                let counted = pods.swapped(now, LINGER);
                prop_assert!(of(|used| used.swapped).is_subset(&counted));
                prop_assert_eq!(pods.living(), of(|used| used.living));
                let mut later = pods.clone();
                prop_assert_eq!(later.swapped(now + LINGER, LINGER), of(|used| used.swapped));
            }
        }
    }
}
