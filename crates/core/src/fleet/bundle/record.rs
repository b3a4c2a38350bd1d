//! The record of the objects that the fleet controller applied to a workload cluster.
//!
//! The workload cluster stores the record. A later bundle and another fleet controller read it to
//! find objects that are no longer applied.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{BundleObject, ObjectValue, object, phase};

/// Maximum number of objects in a record.
const OBJECTS: usize = 2048;

/// Names of the objects that the fleet controller applied. Namespaces and custom resources are not
/// among them, since they are never pruned.
///
/// ```
/// use image_swap_core::fleet::bundle::AppliedObjects;
///
/// let before = AppliedObjects::parse("v1 Secret apps/a\nv1 Secret apps/b\n");
/// let after = AppliedObjects::parse("v1 Secret apps/b\n");
/// let names: Vec<String> = before.without(&after).iter().map(ToString::to_string).collect();
/// assert_eq!(names, ["Secret apps/a"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedObjects {
    /// Lines `API_VERSION KIND NAMESPACE/NAME`, or `API_VERSION KIND NAME` for an object of the
    /// cluster.
    lines: BTreeSet<String>,
}

impl AppliedObjects {
    /// Returns the names of `objects`.
    pub fn of(objects: &[BundleObject]) -> Self {
        let recorded = objects.iter().filter(|it| is_recorded(&it.kind));
        Self { lines: recorded.map(|it| format!("{} {it}", it.api_version)).collect() }
    }

    /// Parses a record. Lines that name no object are skipped: the workload cluster may have changed
    /// them.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| read(line).is_some());
        Self { lines: lines.take(OBJECTS).map(str::to_owned).collect() }
    }

    /// Returns the record as text.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Returns true if the record has no object.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns true if the record has all objects of `other`.
    pub fn includes(&self, other: &Self) -> bool {
        self.lines.is_superset(&other.lines)
    }

    /// Adds the objects of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.lines.extend(other.lines.iter().cloned());
    }

    /// Returns the objects that `present` lacks, without their content, in the reverse order of
    /// writing. An object of another version of its API is the same object.
    pub fn without(&self, present: &Self) -> Vec<BundleObject> {
        let present: BTreeSet<String> = present.lines.iter().map(|it| unversioned(it)).collect();
        let gone = self.lines.iter().filter(|line| !present.contains(&unversioned(line)));
        let mut gone: Vec<BundleObject> = gone.filter_map(|line| read(line)).collect();
        gone.sort_by_key(|it| Reverse(phase::rank(&it.kind)));
        gone
    }
}

/// Returns a line without the version of the API.
fn unversioned(line: &str) -> String {
    let (api_version, rest) = line.split_once(' ').unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    format!("{group} {rest}")
}

fn is_recorded(kind: &str) -> bool {
    !matches!(kind, "Namespace" | "CustomResourceDefinition")
}

/// Returns the object of a line; `None` if the line names none.
fn read(line: &str) -> Option<BundleObject> {
    let mut parts = line.split(' ');
    let (version, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let (namespace, name) = match name.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    };
    let is_part = |it: &str| !it.is_empty() && object::is_part(it);
    let is_kind = !kind.is_empty() && kind.bytes().all(|it| it.is_ascii_alphanumeric());
    let is_valid = parts.next().is_none()
        && is_kind
        && is_recorded(kind)
        && version.split('/').count() <= 2
        && version.split('/').chain(namespace).chain([name]).all(is_part);
    is_valid.then(|| BundleObject {
        phase: phase::BundlePhase::Base,
        api_version: version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
        value: ObjectValue::default(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINES: &str = "apps/v1 Deployment image-swap/image-swap-controller\n\
                         rbac.authorization.k8s.io/v1 ClusterRole image-swap\n\
                         v1 Secret jet-system/registry-info\n";

    #[test]
    fn parsed_record_equals_the_written_one() {
        let record = AppliedObjects::parse(LINES);
        assert_eq!(record.text(), LINES);
        let objects = record.without(&AppliedObjects::default());
        let paths: Vec<String> = objects.iter().map(BundleObject::path).collect();
        let expected = [
            "/apis/apps/v1/namespaces/image-swap/deployments/image-swap-controller",
            "/api/v1/namespaces/jet-system/secrets/registry-info",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/image-swap",
        ];
        assert_eq!(paths, expected);
        assert_eq!(AppliedObjects::of(&objects), record);
        assert!(record.without(&record).is_empty());
    }

    #[test]
    fn namespaces_and_custom_resources_are_not_recorded() {
        assert!(AppliedObjects::of(&[BundleObject::namespace("a")]).is_empty());
        for kind in ["v1 Namespace a", "apiextensions.k8s.io/v1 CustomResourceDefinition a.b"] {
            assert!(AppliedObjects::parse(kind).is_empty(), "{kind}");
        }
    }

    #[test]
    fn union_includes_both() {
        let mut union = AppliedObjects::parse("v1 Secret a/b");
        let other = AppliedObjects::parse("v1 Secret a/c");
        assert!(!union.includes(&other));
        union.extend(&other);
        assert!(union.includes(&other));
        assert_eq!(union.text(), "v1 Secret a/b\nv1 Secret a/c\n");
    }

    #[test]
    fn other_version_is_the_same_object() {
        let before = AppliedObjects::parse("policy/v1beta1 PodDisruptionBudget a/b\nv1 Event a/b");
        let after = AppliedObjects::parse("policy/v1 PodDisruptionBudget a/b\nx/v1 Event a/b");
        let gone: Vec<String> = before.without(&after).iter().map(BundleObject::path).collect();
        assert_eq!(gone, ["/api/v1/namespaces/a/events/b"]);
    }

    #[test]
    fn invalid_lines_are_skipped() {
        for line in [
            "",
            "v1",
            "v1 Secret",
            "v1 Secret a/b/c",
            "v1 Secret a/..",
            "v1 Secret ../b",
            "v1 Secret a/b c",
            "v1 Secret a/",
            "v1 Secret /b",
            "../v1 Secret a/b",
            "a/b/v1 Secret a/b",
            "v1 Sec/ret a/b",
            "v1 Secret a/b?c",
            "v1  a/b",
        ] {
            assert!(AppliedObjects::parse(line).is_empty(), "{line}");
        }
    }

    proptest! {
        // A workload cluster may write anything. No path leaves the API of one object.
        #[test]
        fn any_text_names_objects_only(text in "([a-z0-9./ ?%\n-]|v1 Secret )*") {
            let record = AppliedObjects::parse(&text);
            prop_assert_eq!(AppliedObjects::parse(&record.text()), record.clone());
            for object in record.without(&AppliedObjects::default()) {
                let path = object.path();
                prop_assert!(path.starts_with("/api"), "{}", path);
                prop_assert!(!path.contains("/..") && !path.contains(['?', '%', ' ', '\n']));
                prop_assert!(!path.contains("//"), "{}", path);
            }
        }
    }
}
