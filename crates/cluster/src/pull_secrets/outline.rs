//! What is read of the objects of which a cluster has many: what tells what to do,
//! and no more.
//!
//! Most of an object's metadata are its `managedFields`. Of a pod with five
//! containers they are some 4 KiB of text, and parsed, with a map for every field,
//! thirty times as much; a page of such pods was most of what a controller held.

use kube::core::ObjectMeta;
use serde::{Deserialize, de::IgnoredAny};

/// How many are read at once: a page is held as a whole, as text and then as objects.
pub(super) const PAGE: u32 = 100;

/// What is read of an object's `metadata`. All else is stepped over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outline {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    annotations: Option<Annotations>,
    labels: Option<Labels>,
    owner_references: Option<Vec<Owner>>,
}

/// See [`image_swap_core::admission::ORIGINALS`].
#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "image-swap.io/original-images")]
    originals: Option<IgnoredAny>,
}

/// See [`image_swap_core::cluster::pull_secrets::MANAGED_BY`].
#[derive(Deserialize)]
struct Labels {
    #[serde(rename = "image-swap.io/managed-by")]
    managed_by: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    kind: String,
    uid: String,
}

impl Outline {
    /// Whether it is a pod of which an image was swapped.
    pub(super) fn is_swapped(&self) -> bool {
        self.annotations.as_ref().is_some_and(|all| all.originals.is_some())
    }

    /// The release that says it made it.
    pub(super) fn manager(&self) -> Option<&str> {
        self.labels.as_ref()?.managed_by.as_deref()
    }

    /// The UID of its first owner of this kind.
    pub(super) fn owner(&self, kind: &str) -> Option<&str> {
        let mut owners = self.owner_references.iter().flatten();
        owners.find(|owner| owner.kind == kind).map(|owner| owner.uid.as_str())
    }

    /// The names alone, as kube's watches want to see them.
    pub(super) fn into_names(self) -> ObjectMeta {
        let Self { name, namespace, uid, resource_version, .. } = self;
        ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }
    }
}
