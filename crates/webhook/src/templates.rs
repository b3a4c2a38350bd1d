//! The namespaces whose machine templates get the bootstrap script.

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;

/// A handle of the namespaces that contain the Secret with the script, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TemplateNamespaces(Arc<ArcSwap<BTreeSet<String>>>);

impl TemplateNamespaces {
    /// Adds `namespace` if `has_secret`, and removes it otherwise.
    pub fn set(&self, namespace: &str, has_secret: bool) {
        self.0.rcu(|before| {
            let mut names = BTreeSet::clone(before);
            if has_secret {
                names.insert(namespace.to_owned());
            } else {
                names.remove(namespace);
            }
            names
        });
    }

    /// Returns the namespaces.
    pub(crate) fn current(&self) -> Arc<BTreeSet<String>> {
        self.0.load_full()
    }
}
