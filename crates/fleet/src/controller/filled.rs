//! Filled bundles, shared by clusters with the same values.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use image_swap_cluster::secret;
use image_swap_core::fleet::{
    assignment::AssignedDeclaration,
    bundle::{AppliedObjects, BundleError, BundleObject, BundleSlots, declaration_objects},
    inventory::ClusterSettings,
};

use super::{hub::HubBundle, task::StoredDeclarationId};

/// Filled bundles in use. A thousand clusters that receive the same declaration share one.
#[derive(Default)]
pub(super) struct FilledBundles {
    known: Mutex<Vec<Weak<FilledBundle>>>,
}

/// Objects of clusters, with the values that they were filled with.
pub(super) struct FilledBundle {
    bundle: Arc<HubBundle>,
    pub(super) declaration: AssignedDeclaration,
    /// Hash of the declaration, as the controllers of clusters report it.
    hash: String,
    api_server: Option<String>,
    policy: Option<String>,
    /// True if only the objects of the declaration are in it, for clusters that keep a former bundle.
    pub(super) is_declaration: bool,
    /// Versions that conditional objects of the bundle need, and that the clusters serve.
    pub(super) served: BTreeSet<String>,
    pub(super) objects: Vec<BundleObject>,
    /// Last result of [`Self::changed_since`], which is the same for all clusters of an update.
    changes: Mutex<Option<BundleChanges>>,
}

/// Objects that differ between two filled bundles.
struct BundleChanges {
    before: Weak<FilledBundle>,
    objects: Option<Arc<[BundleObject]>>,
}

impl FilledBundle {
    /// Returns the `objects` of `bundle` and `declaration`, without settings of clusters.
    fn new(
        bundle: &Arc<HubBundle>,
        declaration: &AssignedDeclaration,
        objects: Vec<BundleObject>,
    ) -> Self {
        Self {
            bundle: Arc::clone(bundle),
            declaration: declaration.clone(),
            hash: secret::hash(&declaration.effective.without_credentials().text()),
            api_server: None,
            policy: None,
            is_declaration: false,
            served: BTreeSet::new(),
            objects,
            changes: Mutex::default(),
        }
    }

    /// Returns number and hash of the declaration.
    pub(super) fn stored(&self) -> StoredDeclarationId<'_> {
        StoredDeclarationId { revision: self.declaration.revision, hash: &self.hash }
    }

    /// Returns true if the values are those of `bundle`, `declaration` and `settings`.
    pub(super) fn has(
        &self,
        bundle: &Arc<HubBundle>,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
    ) -> bool {
        self.is_of(bundle)
            && self.declaration == *declaration
            && self.api_server == settings.api_server
            && self.policy == settings.policy
    }

    /// Returns true if `bundle` was filled, for clusters that receive it.
    pub(super) fn is_of(&self, bundle: &Arc<HubBundle>) -> bool {
        Arc::ptr_eq(&self.bundle, bundle) && !self.is_declaration
    }

    /// Returns true if the objects are those of `declaration` alone.
    pub(super) fn has_only(&self, declaration: &AssignedDeclaration) -> bool {
        self.is_declaration && self.declaration == *declaration
    }

    /// Returns the hash of the bundle; `None` for the objects of a declaration alone.
    pub(super) fn bundle_hash(&self) -> Option<&str> {
        (!self.is_declaration).then_some(&*self.bundle.hash)
    }

    /// Returns the objects that `before` has with another content; `None` if either has an object
    /// that the other lacks.
    pub(super) fn changed_since(&self, before: &Arc<Self>) -> Option<Arc<[BundleObject]>> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*changes
            && known.before.upgrade().is_some_and(|it| Arc::ptr_eq(&it, before))
        {
            return known.objects.clone();
        }
        let are_same = AppliedObjects::of(&self.objects) == AppliedObjects::of(&before.objects);
        let is_changed = |it: &&BundleObject| !before.objects.contains(it);
        let objects = are_same.then(|| self.objects.iter().filter(is_changed).cloned().collect());
        let known = BundleChanges { before: Arc::downgrade(before), objects };
        changes.insert(known).objects.clone()
    }
}

impl FilledBundles {
    /// Returns the objects of a cluster in `namespace` with `settings`, whose API server serves
    /// `served`.
    ///
    /// # Errors
    /// See [`fill`](image_swap_core::fleet::bundle::Bundle::fill).
    pub(super) fn fill(
        &self,
        bundle: &Arc<HubBundle>,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
        served: &BTreeSet<String>,
        namespace: &str,
    ) -> Result<Arc<FilledBundle>, BundleError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known_for = |served: &BTreeSet<String>| {
            let is_same =
                |it: &FilledBundle| it.served == *served && it.has(bundle, declaration, settings);
            known.iter().filter_map(Weak::upgrade).find(|it| is_same(it))
        };
        // Those of a former bundle are needed ones alone.
        if let Some(found) = known_for(served) {
            return Ok(found);
        }
        let needed: BTreeSet<&str> = bundle.bundle.needed_versions().collect();
        let is_needed = |it: &&String| needed.contains(it.as_str());
        let served: BTreeSet<String> = served.iter().filter(is_needed).cloned().collect();
        if let Some(found) = known_for(&served) {
            return Ok(found);
        }
        let objects = bundle.bundle.fill(&BundleSlots {
            api_server: settings.api_server.as_deref(),
            policy: settings.policy.as_deref(),
            hash: Some(&bundle.hash),
            ..BundleSlots::new(namespace, (declaration.revision, &declaration.effective), &served)
        })?;
        Ok(keep(
            &mut known,
            FilledBundle {
                api_server: settings.api_server.clone(),
                policy: settings.policy.clone(),
                served,
                ..FilledBundle::new(bundle, declaration, objects)
            },
        ))
    }

    /// Returns the objects of `declaration` alone, for clusters that keep a bundle before `bundle`.
    pub(super) fn declare(
        &self,
        bundle: &Arc<HubBundle>,
        declaration: &AssignedDeclaration,
    ) -> Arc<FilledBundle> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = known.iter().filter_map(Weak::upgrade);
        if let Some(found) = present.find(|it| it.has_only(declaration)) {
            return found;
        }
        let objects = declaration_objects(&declaration.effective, declaration.revision);
        let filled = FilledBundle::new(bundle, declaration, objects);
        keep(&mut known, FilledBundle { is_declaration: true, ..filled })
    }
}

/// Keeps `filled` among the `known` ones as long as a cluster uses it. It shares the content of equal
/// objects with the last one: clusters with settings of their own differ in few objects.
fn keep(known: &mut Vec<Weak<FilledBundle>>, mut filled: FilledBundle) -> Arc<FilledBundle> {
    known.retain(|it| it.strong_count() > 0);
    if let Some(last) = known.last().and_then(Weak::upgrade) {
        for object in &mut filled.objects {
            if let Some(equal) = last.objects.iter().find(|it| *it == object) {
                object.value = equal.value.clone();
            }
        }
    }
    let filled = Arc::new(filled);
    known.push(Arc::downgrade(&filled));
    filled
}

#[cfg(test)]
mod tests {
    use image_swap_core::control::effective::Effective;

    use super::*;

    const BUNDLE: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: b
  annotations: {image-swap.io/if-served: monitoring.coreos.com/v1}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: c
  annotations: {image-swap.io/policy: fail}
spec: {policy: '@policy@'}
";

    fn declared(revision: u64) -> AssignedDeclaration {
        AssignedDeclaration { revision, effective: Arc::new(Effective::none()) }
    }

    fn fill(
        filled: &FilledBundles,
        bundle: &Arc<HubBundle>,
        revision: u64,
        policy: &str,
        served: &str,
    ) -> Arc<FilledBundle> {
        let settings =
            ClusterSettings { policy: Some(policy.to_owned()), ..ClusterSettings::default() };
        let served = BTreeSet::from([served.to_owned()]);
        filled.fill(bundle, &declared(revision), &settings, &served, "image-swap").unwrap()
    }

    #[test]
    fn clusters_with_the_same_values_share_their_objects() {
        let bundle = Arc::new(HubBundle::parse(BUNDLE).unwrap());
        let filled = FilledBundles::default();
        let one = fill(&filled, &bundle, 1, "fail", "v1");
        assert!(Arc::ptr_eq(&one, &fill(&filled, &bundle, 1, "fail", "apps/v1")));
        let others = [
            fill(&filled, &bundle, 1, "ignore", "v1"),
            fill(&filled, &bundle, 1, "fail", "monitoring.coreos.com/v1"),
            fill(&filled, &bundle, 2, "fail", "v1"),
        ];
        assert!(others.iter().all(|it| !Arc::ptr_eq(it, &one)));
        drop((one, others));
        // Objects that no cluster needs are dropped.
        let _last = fill(&filled, &bundle, 1, "audit", "v1");
        assert_eq!(filled.known.lock().unwrap().len(), 1);
    }

    #[test]
    fn declaration_alone_is_no_bundle() {
        let bundle = Arc::new(HubBundle::parse(BUNDLE).unwrap());
        let filled = FilledBundles::default();
        let whole = fill(&filled, &bundle, 1, "fail", "v1");
        let declared = filled.declare(&bundle, &declared(1));
        assert!(Arc::ptr_eq(&declared, &filled.declare(&bundle, &declared.declaration)));
        let names: Vec<&str> = declared.objects.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["jet-system"], "nothing is declared");
        assert_eq!([&whole, &declared].map(|it| it.is_of(&bundle)), [true, false]);
        assert_eq!(whole.bundle_hash(), Some(&*bundle.hash));
        assert_eq!(declared.bundle_hash(), None);
        assert!(!Arc::ptr_eq(&whole, &declared));
    }

    #[test]
    fn equal_objects_share_their_content() {
        let bundle = Arc::new(HubBundle::parse(BUNDLE).unwrap());
        let filled = FilledBundles::default();
        let (one, other) =
            (fill(&filled, &bundle, 1, "fail", "v1"), fill(&filled, &bundle, 1, "ignore", "v1"));
        let shared = one.objects.iter().zip(&other.objects);
        let texts: Vec<_> =
            shared.map(|(a, b)| Arc::ptr_eq(&a.value.text(), &b.value.text())).collect();
        let equal: Vec<_> = one.objects.iter().zip(&other.objects).map(|(a, b)| a == b).collect();
        assert_eq!(texts, equal);
        assert!(equal.contains(&true) && equal.contains(&false));
    }

    #[test]
    fn objects_change_by_their_content_alone() {
        let bundle = Arc::new(HubBundle::parse(BUNDLE).unwrap());
        let filled = FilledBundles::default();
        let before = fill(&filled, &bundle, 1, "fail", "v1");
        let changes = |policy, served| {
            let changed = fill(&filled, &bundle, 1, policy, served).changed_since(&before);
            changed.map(|it| it.iter().map(|it| it.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(changes("fail", "v1"), Some(Vec::new()));
        assert_eq!(changes("ignore", "v1"), Some(vec!["c".to_owned()]));
        assert_eq!(changes("fail", "monitoring.coreos.com/v1"), None);
    }
}
