//! State of the fleet controller that outlives its process: declarations and waves.

use std::collections::BTreeMap;

use image_swap_cluster::{Error, api, secret};
use image_swap_core::fleet::{history::DeclarationHistory, wave::WaveState};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::settings::FleetSettings;
use crate::{events::FleetEvents, names::FleetNames};

/// Key of the waves in the `ConfigMap`.
const WAVES: &str = "waves.json";

/// Stored state of the fleet controller.
pub(super) struct StoredState {
    secrets: Api<Secret>,
    maps: Api<ConfigMap>,
    names: FleetNames,
    /// Secret with the history; `None` before the first.
    secret: Option<Secret>,
    history: DeclarationHistory,
    waves: WaveState,
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
        let text = map.and_then(|map| map.data).and_then(|mut data| data.remove(WAVES));
        let waves = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Ok(Self { secrets, maps, names, secret, history, waves })
    }

    /// Returns the declarations that are stored.
    pub(super) const fn history(&self) -> &DeclarationHistory {
        &self.history
    }

    /// Returns the waves that are stored.
    pub(super) const fn waves(&self) -> &WaveState {
        &self.waves
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

    /// Stores `waves` if they differ, and publishes the change as `events`.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn store_waves(
        &mut self,
        waves: &WaveState,
        events: &FleetEvents,
    ) -> Result<(), Error> {
        if self.waves == *waves {
            return Ok(());
        }
        let name = self.names.state();
        let text = serde_json::to_string(waves).unwrap_or_default();
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self.metadata(&name),
            "data": { WAVES: text },
        });
        api::apply(&self.maps, &name, &object).await?;
        events.note_rollout(&self.waves, waves);
        self.waves = waves.clone();
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
