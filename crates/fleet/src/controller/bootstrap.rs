//! Secrets with the bootstrap script, beside the machine templates of workload clusters.
//!
//! A Secret has no owner: a template refers to it, and new machines need it after the removal of
//! image-swap. `clusterctl move` takes it along. A deleted or changed one is written again, since a
//! machine without it cannot join. So it is while the management cluster has no declaration: new
//! machines keep the last one.
//!
//! At the end of an uninstallation Helm replaces each Secret. The script of the new Secret does
//! nothing. The fleet controller may still run, and an API server may still grant it deleted
//! permissions. So the fleet controller writes a Secret only while the bundle exists, which Helm
//! deletes first.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use image_swap_cluster::{Error, api, follow_presence, secret};
use image_swap_core::{
    control::effective::Effective,
    labels::BOOTSTRAP_SECRET,
    mirror::Fallback,
    render::{
        Options,
        bootstrap::{LARGE, NAME, bootstrap},
    },
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, api::ListParams};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{info, warn};

use super::settings::FleetSettings;

/// Label by which `clusterctl move` takes an object along.
const MOVE: &str = "clusterctl.cluster.x-k8s.io/move";

/// Secrets with the bootstrap script of one release.
pub(super) struct BootstrapSecrets {
    client: Client,
    settings: Arc<FleetSettings>,
    fallback: Fallback,
    /// Declarations of the scripts that are stored, by namespace.
    stored: BTreeMap<String, Arc<Effective>>,
}

/// Follows the Secrets in `namespaces`. Returns the namespace of each that has changed, and the
/// tasks, which end when they are dropped.
pub(super) fn follow(
    client: &Client,
    namespaces: &BTreeSet<String>,
) -> (mpsc::UnboundedReceiver<String>, JoinSet<()>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for namespace in namespaces {
        let (sender, client, namespace) = (sender.clone(), client.clone(), namespace.clone());
        tasks.spawn(async move {
            let take = |_| drop(sender.send(namespace.clone()));
            follow_presence(&client, &namespace, BOOTSTRAP_SECRET, take).await;
        });
    }
    (receiver, tasks)
}

impl BootstrapSecrets {
    /// Returns the Secrets of the release in `settings`; `None` if new machines get none.
    pub(super) fn new(client: &Client, settings: &Arc<FleetSettings>) -> Option<Self> {
        let (client, settings) = (client.clone(), Arc::clone(settings));
        let fallback = settings.bootstrap?;
        Some(Self { client, settings, fallback, stored: BTreeMap::new() })
    }

    /// Compares the Secret in `namespace` again: it has changed, or was deleted.
    pub(super) fn forget(&mut self, namespace: &str) {
        self.stored.remove(namespace);
    }

    /// Stores the script in each namespace whose declaration has changed. `declaration` returns that
    /// of a namespace; `None` if no valid one is known, which changes nothing.
    ///
    /// # Errors
    /// A Secret cannot be read or written. Those of other namespaces are written.
    pub(super) async fn reconcile<'d>(
        &mut self,
        namespaces: &BTreeSet<String>,
        declaration: impl Fn(&str) -> Option<&'d Arc<Effective>>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        for namespace in namespaces {
            let Some(effective) = declaration(namespace) else { continue };
            let stored = self.stored.get(namespace);
            if stored.is_some_and(|it| Arc::ptr_eq(it, effective) || it == effective) {
                continue;
            }
            match self.store(namespace, effective).await {
                Ok(true) => {
                    self.stored.insert(namespace.clone(), Arc::clone(effective));
                }
                Ok(false) => {}
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// Stores the script of `effective` in `namespace`. An invalid declaration changes nothing.
    /// Returns false if Helm is removing the release.
    async fn store(&self, namespace: &str, effective: &Effective) -> Result<bool, Error> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let Some(declaration) = effective.declaration() else {
            warn!(namespace, "the declaration for new machines is invalid; their script stays");
            return Ok(true);
        };
        let options = Options { fallback: self.fallback, ..Options::default() };
        let rendered = bootstrap(&declaration, options, None);
        let rules = rendered.inexpressible.len();
        if rules > 0 {
            warn!(namespace, rules, "new machines get no mirror for rules of paths and tags");
        }
        let Some(script) = rendered.files.into_iter().next() else { return Ok(true) };
        let there = api::get(&secrets, BOOTSTRAP_SECRET).await?;
        if secret::holds(there.as_ref(), &BTreeMap::from([(NAME, script.text.clone())])) {
            return Ok(true);
        }
        // Read after the Secret: it may be the one of the removal, or be deleted for it.
        if !self.has_bundle().await? {
            info!(namespace, "the release is being removed; the script of new machines stays");
            return Ok(false);
        }
        let bytes = script.text.len();
        if bytes > LARGE {
            warn!(namespace, bytes, "the script of new machines is large; clouds limit user data");
        }
        let mut labels = secret::labels(&self.settings.release);
        labels[MOVE] = json!("");
        let mut object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": BOOTSTRAP_SECRET, "namespace": namespace, "labels": labels },
            "type": "Opaque",
            "data": { NAME: image_swap_text::base64::encode(&script.text) },
        });
        if let Some(there) = &there {
            // The API server refuses the change if another Secret has replaced that one.
            object["metadata"]["resourceVersion"] = json!(there.metadata.resource_version);
        }
        secret::write(&secrets, there.as_ref(), BOOTSTRAP_SECRET, object).await?;
        info!(namespace, "wrote the bootstrap script of new machines");
        Ok(true)
    }

    /// Returns true if the bundle of workload clusters exists. The API server answers by its newest
    /// state.
    async fn has_bundle(&self) -> Result<bool, Error> {
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.settings.namespace);
        let name = self.settings.names().bundle();
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = maps.list_metadata(&named).await;
        let found = found.map_err(Error::api(format!("read {name}")))?;
        Ok(!found.items.is_empty())
    }
}
