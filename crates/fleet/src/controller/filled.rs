//! Filled bundles, shared by clusters with the same values.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use image_swap_cluster::secret;
use image_swap_core::fleet::{
    assignment::AssignedDeclaration,
    bundle::{AppliedObjects, Bundle, BundleError, BundleObject, BundleSlots},
    inventory::ClusterSettings,
};

use super::task::StoredDeclarationId;

/// Filled bundles in use. A thousand clusters that receive the same declaration share one.
#[derive(Default)]
pub(super) struct FilledBundles {
    known: Mutex<Vec<Weak<FilledBundle>>>,
}

/// Objects of clusters, with the values that they were filled with.
pub(super) struct FilledBundle {
    bundle: Arc<Bundle>,
    pub(super) declaration: AssignedDeclaration,
    /// Hash of the declaration, as the controllers of clusters report it.
    hash: String,
    api_server: Option<String>,
    policy: Option<String>,
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
    /// Returns number and hash of the declaration.
    pub(super) fn stored(&self) -> StoredDeclarationId<'_> {
        StoredDeclarationId { revision: self.declaration.revision, hash: &self.hash }
    }

    /// Returns true if the values are those of `bundle`, `declaration` and `settings`.
    pub(super) fn has(
        &self,
        bundle: &Arc<Bundle>,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
    ) -> bool {
        self.is_of(bundle)
            && self.declaration == *declaration
            && self.api_server == settings.api_server
            && self.policy == settings.policy
    }

    /// Returns true if `bundle` was filled.
    pub(super) fn is_of(&self, bundle: &Arc<Bundle>) -> bool {
        Arc::ptr_eq(&self.bundle, bundle)
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
    /// See [`Bundle::fill`].
    pub(super) fn fill(
        &self,
        bundle: &Arc<Bundle>,
        declaration: &AssignedDeclaration,
        settings: &ClusterSettings,
        served: &BTreeSet<String>,
        namespace: &str,
    ) -> Result<Arc<FilledBundle>, BundleError> {
        let needed: BTreeSet<&str> = bundle.needed_versions().collect();
        let is_needed = |it: &&String| needed.contains(it.as_str());
        let served: BTreeSet<String> = served.iter().filter(is_needed).cloned().collect();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same =
            |it: &Arc<FilledBundle>| it.served == served && it.has(bundle, declaration, settings);
        if let Some(found) = known.iter().filter_map(Weak::upgrade).find(is_same) {
            return Ok(found);
        }
        let objects = bundle.fill(&BundleSlots {
            namespace,
            declaration: &declaration.effective,
            revision: declaration.revision,
            api_server: settings.api_server.as_deref(),
            policy: settings.policy.as_deref(),
            served: &served,
            hub_secret: None,
        })?;
        let filled = Arc::new(FilledBundle {
            bundle: Arc::clone(bundle),
            declaration: declaration.clone(),
            hash: secret::hash(&declaration.effective.without_credentials().text()),
            api_server: settings.api_server.clone(),
            policy: settings.policy.clone(),
            served,
            objects,
            changes: Mutex::default(),
        });
        known.retain(|it| it.strong_count() > 0);
        known.push(Arc::downgrade(&filled));
        Ok(filled)
    }
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
        bundle: &Arc<Bundle>,
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
        let bundle = Arc::new(Bundle::parse(BUNDLE).unwrap());
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
    fn objects_change_by_their_content_alone() {
        let bundle = Arc::new(Bundle::parse(BUNDLE).unwrap());
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
