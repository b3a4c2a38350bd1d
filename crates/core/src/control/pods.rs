//! Counts running pods by the original registry of their images.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    reference::Reference,
    rule::{Reason, RuleSet},
};

/// A running pod.
#[derive(Clone, Debug, Default)]
pub struct RunningPod {
    /// Images of the pod, each with its key in the record of originals.
    pub images: Vec<(String, String)>,
    /// The record ([`ORIGINAL_IMAGES`](crate::labels::ORIGINAL_IMAGES)); `None` if it is
    /// missing.
    pub record: Option<String>,
    /// Record keys of the images that would be swapped if the pod were created now
    /// ([`to_swap`](crate::admission::to_swap)). Empty for a pod that is never reviewed.
    pub to_swap: BTreeSet<String>,
}

/// Running pods with images of one registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Number of pods whose images of the registry were all swapped.
    pub swapped: usize,
    /// Number of pods with an unswapped image of the registry.
    pub unswapped: usize,
    /// Number of these with an image that the rules would swap in a new pod.
    pub outdated: usize,
}

/// Counts by registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodCounts(BTreeMap<String, Counts>);

/// Name of the registry in the counts for invalid image references.
const UNREADABLE: &str = "(no image reference)";

impl PodCounts {
    /// Counts one more pod.
    pub fn add(&mut self, pod: &RunningPod) {
        let originals: BTreeMap<String, String> = pod
            .record
            .as_deref()
            .and_then(|record| serde_json::from_str(record).ok())
            .unwrap_or_default();
        // For each registry: true if any image is unswapped, and true if any would be swapped.
        let mut found: BTreeMap<String, (bool, bool)> = BTreeMap::new();
        for (name, image) in &pod.images {
            let original = originals.get(name).filter(|original| *original != image);
            let registry = registry(original.unwrap_or(image));
            let would = original.is_none() && pod.to_swap.contains(name);
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

    /// Returns the counts, by registry.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Counts)> {
        self.0.iter().map(|(registry, counts)| (registry.as_str(), *counts))
    }
}

/// Returns true if no mirror of `rules` serves `image`, as the pod has it. With `by_nodes`, nodes
/// request the mirror of an image that the rules cover, too.
pub fn lacks_mirror(image: &str, rules: &RuleSet, by_nodes: bool) -> bool {
    let Ok(decision) = rules.swap(image) else { return true };
    let is_local = matches!(decision.reason, Reason::AlreadyMirrored | Reason::ImageId);
    !(is_local || by_nodes && decision.changed())
}

fn registry(image: &str) -> String {
    Reference::parse(image)
        .map_or_else(|_| UNREADABLE.to_owned(), |reference| reference.domain().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_lacks_a_mirror_unless_it_is_below_a_target_or_nodes_request_one() {
        use crate::rule::parse::{self, MapForm};

        let (rules, _) = parse::rules("docker.io::h.io/hub, quay.io::", MapForm::List);
        let rules = RuleSet::new(rules);
        for (image, alone, by_nodes) in [
            ("h.io/hub/library/nginx:1", false, false),
            ("nginx", true, false),
            ("quay.io/a/b", true, true),
            ("ghcr.io/a/b", true, true),
            ("h.io/other/a", true, true),
            ("No!", true, true),
            (&format!("sha256:{}", "a".repeat(64)), false, false),
        ] {
            let found = [false, true].map(|nodes| lacks_mirror(image, &rules, nodes));
            assert_eq!(found, [alone, by_nodes], "{image}");
        }
    }

    fn pod(images: &[(&str, &str)], record: Option<&str>, to_swap: &[&str]) -> RunningPod {
        let images = images.iter().map(|(name, image)| ((*name).into(), (*image).into())).collect();
        let to_swap = to_swap.iter().map(|&name| name.to_owned()).collect();
        RunningPod { images, record: record.map(str::to_owned), to_swap }
    }

    #[test]
    fn pods_are_counted_by_original_registry() {
        let mut tally = PodCounts::default();
        let record = Some(r#"{"a":"nginx"}"#);
        tally.add(&pod(&[("a", "h.io/d/library/nginx")], record, &[]));
        // One image from before the rules, and one that is never swapped.
        tally.add(&pod(&[("a", "redis"), ("b", "redis")], None, &["a", "b"]));
        tally.add(&pod(&[("a", "redis")], None, &[]));
        // One of two images is swapped.
        let record = Some(r#"{"a":"nginx","x":"y"}"#);
        tally.add(&pod(&[("a", "h.io/d/library/nginx"), ("b", "nginx")], record, &["a", "b"]));
        // No image is ever swapped.
        tally.add(&pod(&[("a", "h.io/d/own"), ("b", "quay.io/a/b"), ("c", "No!")], None, &[]));
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
    fn unreadable_record_counts_as_none() {
        let mut tally = PodCounts::default();
        tally.add(&pod(&[("a", "nginx")], Some("no JSON"), &[]));
        let counts = tally.iter().next().unwrap().1;
        assert_eq!((counts.unswapped, counts.outdated), (1, 0));
    }
}
