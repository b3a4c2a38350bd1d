//! State of the fleet controller that outlives its process: declarations and waves.

use std::collections::BTreeMap;

use image_swap_cluster::{Error, api, secret};
use image_swap_core::fleet::{
    history::DeclarationHistory,
    wave::{BundleWaves, DeclarationWaves},
};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::settings::FleetSettings;
use crate::{events::FleetEvents, names::FleetNames};

/// Key of the rollout of the declaration in the `ConfigMap`.
const WAVES: &str = "waves.json";
/// Key of the rollout of the bundle. Former releases have none.
const BUNDLE_WAVES: &str = "bundle-waves.json";

/// Rollouts to workload clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FleetRollouts {
    /// Rollout of the declaration.
    pub(super) declaration: DeclarationWaves,
    /// Rollout of the bundle.
    pub(super) bundle: BundleWaves,
}

impl FleetRollouts {
    fn read(data: &BTreeMap<String, String>) -> Self {
        Self { declaration: parsed(data, WAVES), bundle: parsed(data, BUNDLE_WAVES) }
    }

    fn data(&self) -> Value {
        let texts = (serde_json::to_string(&self.declaration), serde_json::to_string(&self.bundle));
        json!({ WAVES: texts.0.unwrap_or_default(), BUNDLE_WAVES: texts.1.unwrap_or_default() })
    }

    /// Returns true if a failed cluster stopped a rollout.
    pub(super) const fn are_stopped(&self) -> bool {
        self.declaration.failed.is_some() || self.bundle.failed.is_some()
    }

    /// Returns the rollouts after an administrator resumed them.
    pub(super) fn resumed(self) -> Self {
        Self { declaration: self.declaration.resumed(), bundle: self.bundle.resumed() }
    }
}

/// Returns the value of `key`; the default if it is absent or invalid.
fn parsed<T: DeserializeOwned + Default>(data: &BTreeMap<String, String>, key: &str) -> T {
    data.get(key).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Stored state of the fleet controller.
pub(super) struct StoredState {
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    names: FleetNames,
    /// Secret with the history; `None` before the first.
    secret: Option<Secret>,
    history: DeclarationHistory,
    rollouts: FleetRollouts,
}

impl StoredState {
    /// Reads the state.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn load(client: &Client, settings: &FleetSettings) -> Result<Self, Error> {
        let names = settings.names();
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.namespace);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &settings.namespace);
        let secret = api::get(&secrets, &names.history()).await?;
        let data = secret.as_ref().map(secret::declared).unwrap_or_default().data;
        let history = DeclarationHistory::read(&data);
        let map = api::get(&maps, &names.state()).await?;
        let rollouts = FleetRollouts::read(&map.and_then(|map| map.data).unwrap_or_default());
        Ok(Self { secrets, maps, names, secret, history, rollouts })
    }

    /// Returns the declarations that are stored.
    pub(super) const fn history(&self) -> &DeclarationHistory {
        &self.history
    }

    /// Returns the rollouts that are stored.
    pub(super) const fn rollouts(&self) -> &FleetRollouts {
        &self.rollouts
    }

    /// Stores the declarations of the management cluster in `history` if they differ.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn store_history(
        &mut self,
        history: &DeclarationHistory,
    ) -> Result<(), Error> {
        if self.history.is_stored_as(history) {
            return Ok(());
        }
        let name = self.names.history();
        let data = history.data();
        let data: BTreeMap<&str, String> =
            data.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let encoded: BTreeMap<&str, String> = data
            .iter()
            .map(|(key, value)| (*key, image_swap_text::base64::encode(value)))
            .collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self.metadata(&name),
            "type": "Opaque",
            "data": encoded,
        });
        let written = secret::write(&self.secrets, self.secret.as_ref(), &name, object).await;
        if written.as_ref().is_err_and(|it| it.code() == Some(404)) {
            // Deleted meanwhile: the next attempt creates it.
            self.secret = None;
        }
        self.secret = Some(written?);
        self.history = history.clone();
        Ok(())
    }

    /// Stores `rollouts` if they differ, and publishes the change as `events`.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn store_rollouts(
        &mut self,
        rollouts: &FleetRollouts,
        events: &FleetEvents,
    ) -> Result<(), Error> {
        if self.rollouts == *rollouts {
            return Ok(());
        }
        let name = self.names.state();
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self.metadata(&name),
            "data": rollouts.data(),
        });
        api::apply(&self.maps, &name, &object).await?;
        events.note_rollout(&self.rollouts.declaration, &rollouts.declaration);
        events.note_rollout(&self.rollouts.bundle, &rollouts.bundle);
        self.rollouts = rollouts.clone();
        Ok(())
    }

    /// Removes the order of an administrator that has been followed.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn end_order(&self) -> Result<(), Error> {
        let annotations = json!({ image_swap_core::labels::FLEET: Value::Null });
        let patch = json!({ "metadata": { "annotations": annotations } });
        let params = PatchParams::default();
        let name = self.names.state();
        let changed = self.maps.patch(&name, &params, &Patch::Merge(patch)).await;
        changed.map(drop).map_err(Error::api(format!("change {name}")))
    }

    fn metadata(&self, name: &str) -> Value {
        let release = &self.names.controller;
        json!({
            "name": name,
            "namespace": release.namespace,
            "labels": secret::labels(release),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_a_former_release_has_no_bundle() {
        let text = r#"{"revision":3,"isOpen":true,"admitted":[],"wave":[],"failed":null}"#;
        let data = BTreeMap::from([(WAVES.to_owned(), text.to_owned())]);
        let rollouts = FleetRollouts::read(&data);
        assert_eq!((rollouts.declaration.target, rollouts.declaration.is_open), (3, true));
        assert_eq!(rollouts.bundle, BundleWaves::default());
        let written = serde_json::from_value(rollouts.data()).unwrap();
        assert_eq!(FleetRollouts::read(&written), rollouts);
    }
}
