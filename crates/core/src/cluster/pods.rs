//! What runs in a cluster, by the registry that its images were written for.

use std::collections::BTreeMap;

use crate::{reference::Reference, rule::RuleSet};

/// A running pod.
#[derive(Clone, Debug, Default)]
pub struct RunningPod {
    /// Its images, each with the name that the record of originals has for it.
    pub images: Vec<(String, String)>,
    /// The record ([`ORIGINALS`](crate::admission::ORIGINALS)), if it has one.
    pub record: Option<String>,
    /// Whether it, or its namespace, is to be left alone.
    pub left_alone: bool,
}

/// Running pods with images of one registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All those images were swapped.
    pub swapped: usize,
    /// Some were not.
    pub unswapped: usize,
    /// Of those, the ones whose images the rules would swap if the pod were new.
    pub outdated: usize,
}

/// Counts by registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<String, Counts>);

/// How a registry is called whose image nobody can read.
const UNREADABLE: &str = "(no image reference)";

impl Tally {
    /// Counts one more pod, which `rules` are for if they are known.
    pub fn add(&mut self, pod: &RunningPod, rules: Option<&RuleSet>) {
        let originals: BTreeMap<String, String> = pod
            .record
            .as_deref()
            .and_then(|record| serde_json::from_str(record).ok())
            .unwrap_or_default();
        // By registry: whether any is unswapped, and whether any would be swapped.
        let mut found: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for (name, image) in &pod.images {
            let original = originals.get(name).filter(|original| *original != image);
            let registry = registry(original.unwrap_or(image));
            let would = original.is_none()
                && !pod.left_alone
                && rules.is_some_and(|rules| rules.swap(image).is_ok_and(|it| it.changed()));
            let (unswapped, outdated) = found.entry(registry).or_default();
            *unswapped |= original.is_none();
            *outdated |= would;
        }
        for (registry, (unswapped, outdated)) in found {
            let counts = self.0.entry(registry).or_default();
            counts.swapped += usize::from(!unswapped);
            counts.unswapped += usize::from(unswapped);
            counts.outdated += usize::from(outdated);
        }
    }

    /// The counts, by registry.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.0.iter().map(|(registry, counts)| (registry.as_str(), *counts))
    }
}

fn registry(image: &str) -> String {
    Reference::parse(image)
        .map_or_else(|_| UNREADABLE.to_owned(), |reference| reference.domain().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::map::{self, Form};

    fn pod(images: &[(&str, &str)], record: Option<&str>) -> RunningPod {
        let images = images.iter().map(|(name, image)| ((*name).into(), (*image).into())).collect();
        RunningPod { images, record: record.map(str::to_owned), left_alone: false }
    }

    #[test]
    fn pods_count_by_what_their_images_were_written_for() {
        let rules = RuleSet::new(map::parse("docker.io::h.io/d", Form::List).0);
        let mut tally = Tally::default();
        let swapped = pod(&[("a", "h.io/d/library/nginx")], Some(r#"{"a":"nginx"}"#));
        tally.add(&swapped, Some(&rules));
        // From before, and one that nobody is to touch.
        tally.add(&pod(&[("a", "redis"), ("b", "redis")], None), Some(&rules));
        let left_alone = RunningPod { left_alone: true, ..pod(&[("a", "redis")], None) };
        tally.add(&left_alone, Some(&rules));
        // One of two.
        let half =
            pod(&[("a", "h.io/d/library/nginx"), ("b", "nginx")], Some(r#"{"a":"nginx","x":"y"}"#));
        tally.add(&half, Some(&rules));
        // Nothing is ever swapped here.
        tally.add(
            &pod(&[("a", "h.io/d/own"), ("b", "quay.io/a/b"), ("c", "No!")], None),
            Some(&rules),
        );
        let counts: Vec<_> = tally.iter().collect();
        let count = |swapped, unswapped, outdated| Counts { swapped, unswapped, outdated };
        assert_eq!(
            counts,
            [
                (UNREADABLE, count(0, 1, 0)),
                ("docker.io", count(1, 3, 2)),
                ("h.io", count(0, 1, 0)),
                ("quay.io", count(0, 1, 0)),
            ]
        );
    }

    #[test]
    fn without_rules_nobody_knows_what_would_be_swapped() {
        let mut tally = Tally::default();
        tally.add(&pod(&[("a", "nginx")], Some("no JSON")), None);
        assert_eq!(tally.iter().next().unwrap().1.outdated, 0);
    }
}
