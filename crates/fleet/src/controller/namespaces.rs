//! Declarations of namespaces with clusters, each in a Secret of the fleet controller's namespace.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_cluster::{
    Error, api,
    secret::{self, annotation, text},
};
use image_swap_core::{fleet::namespace_declaration::NamespaceDeclaration, labels::REVISION};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _, api::DeleteParams};
use serde_json::json;
use tracing::warn;

use super::{secrets::select, settings::FleetSettings};
use crate::names::FleetNames;

/// Secrets with the declarations of namespaces.
pub(super) struct NamespaceSecrets {
    secrets: Api<Secret>,
    names: FleetNames,
}

/// Returns the number and the declaration of a namespace, from its Secret.
pub(crate) fn read(secret: &Secret) -> NamespaceDeclaration {
    let revision = annotation(secret, REVISION).and_then(|it| it.parse().ok()).unwrap_or_default();
    NamespaceDeclaration::read(revision, |key| text(secret, key))
}

impl NamespaceSecrets {
    pub(super) fn new(client: &Client, settings: &FleetSettings) -> Self {
        let secrets = Api::namespaced(client.clone(), &settings.namespace);
        Self { secrets, names: settings.names() }
    }

    /// Returns the declarations of `namespaces`, and deletes those of other ones.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn load(
        &self,
        namespaces: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, NamespaceDeclaration>, Error> {
        let prefix = self.names.namespace_declaration("");
        let own = (&*self.names.controller.name, &*prefix);
        let action = "list the declarations of namespaces";
        let names = select(&self.secrets, own, action, |found| Some(found.name_any()));
        let mut declarations = BTreeMap::new();
        for name in names.await? {
            let Some(namespace) = name.strip_prefix(&prefix) else { continue };
            if !namespaces.contains(namespace) {
                self.delete(&name).await;
            } else if let Some(found) = api::get(&self.secrets, &name).await? {
                declarations.insert(namespace.to_owned(), read(&found));
            }
        }
        Ok(declarations)
    }

    /// Deletes a Secret. The next leader repeats a failed deletion.
    async fn delete(&self, name: &str) {
        let action = format!("delete {name}");
        let deleted = api::delete_by(&self.secrets, name, &DeleteParams::default(), action).await;
        if let Err(error) = deleted {
            warn!(%error, "cannot delete the declaration of a namespace outside of the fleet");
        }
    }

    /// Stores the declaration of `namespace`.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn store(
        &self,
        namespace: &str,
        declaration: &NamespaceDeclaration,
    ) -> Result<(), Error> {
        let name = self.names.namespace_declaration(namespace);
        let stored = declaration.stored().data();
        let data: BTreeMap<&str, String> =
            stored.iter().map(|(key, it)| (*key, image_swap_text::base64::encode(it))).collect();
        let release = &self.names.controller;
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": release.namespace,
                "labels": secret::labels(release),
                "annotations": { REVISION: declaration.revision.to_string() },
            },
            "type": "Opaque",
            "data": data,
        });
        api::apply(&self.secrets, &name, &object).await.map(drop)
    }
}
