//! Secrets `registry-info` of namespaces with clusters, and the declarations that follow from them.

use std::sync::Arc;

use image_swap_cluster::{Error, clock::now};
use image_swap_core::{
    control::effective::SecretData,
    fleet::{
        assignment::refused_registry_info,
        inventory::{ClusterKey, InventoryEntry},
    },
};
use tracing::warn;

use super::Fleet;
use crate::sources::RegistryInfos;

impl Fleet {
    /// Returns the reason to refuse the Secret `registry-info` beside the cluster `key`; `None` if it is
    /// valid or absent.
    pub(super) fn refused_declaration(
        &self,
        key: &ClusterKey,
        entry: &InventoryEntry,
    ) -> Option<String> {
        let own = self.history.beside(&key.namespace).filter(|_| entry.registry_info.is_some());
        own.and_then(|it| it.refused.as_deref()).map(refused_registry_info)
    }

    /// Records the Secrets `registry-info` of namespaces that have changed. No cluster receives a
    /// declaration whose number is not stored: the next leader would use the number again.
    ///
    /// # Errors
    /// A declaration cannot be stored. Those of other namespaces are stored.
    pub(super) async fn record_namespaces(&mut self, found: &RegistryInfos) -> Result<(), Error> {
        let mut outcome = Ok(());
        for (namespace, present) in found {
            if self.judged.get(namespace).is_some_and(|it| is_same(it.as_ref(), present.as_ref())) {
                continue;
            }
            let before = self.history.beside(namespace).cloned().unwrap_or_default();
            let after = before.after(present.as_deref(), now());
            if !after.is_stored_as(&before)
                && let Err(error) = self.namespaces.store(namespace, &after).await
            {
                outcome = Err(error);
                continue;
            }
            if let Some(reason) = &after.refused {
                warn!(namespace, reason, "registry-info of a namespace of the fleet is invalid");
            }
            self.history.set_beside(namespace.clone(), after);
            self.judged.insert(namespace.clone(), present.clone());
        }
        outcome
    }
}

/// Returns true if both are the same content, read at the same time.
fn is_same(one: Option<&Arc<SecretData>>, other: Option<&Arc<SecretData>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}
