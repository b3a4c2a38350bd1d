//! Events, which `kubectl describe` and `kubectl get events` show.

use std::{collections::HashMap, sync::Arc, time::Duration};

use image_swap_core::labels;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::Mutex, time::timeout};
use tracing::warn;

use crate::release::Release;

/// The longest note that the API takes, in bytes.
const LONGEST: usize = 1000;
/// The deadline for publishing one Event.
const PATIENCE: Duration = Duration::from_secs(3);
/// The number of notes for which a recorder is kept.
const REMEMBERED: usize = 64;

/// A publisher of Events about objects.
#[derive(Clone)]
pub(crate) struct Events {
    client: Client,
    reporter: Reporter,
    controller: ObjectReference,
    /// The recorder of each note. A recorder counts up its last Event of a reason without changing
    /// the note, so each note has a recorder of its own.
    recorders: Arc<Mutex<HashMap<String, Recorder>>>,
}

impl Events {
    /// Returns the Events of `release`, which name the process `identity`.
    pub(crate) fn new(client: &Client, release: &Release, identity: &str) -> Self {
        let reporter =
            Reporter { controller: labels::CONTROLLER.into(), instance: Some(identity.into()) };
        let controller = ObjectReference {
            api_version: Some("apps/v1".into()),
            kind: Some("Deployment".into()),
            name: Some(release.controller()),
            namespace: Some(release.namespace.clone()),
            ..ObjectReference::default()
        };
        Self { client: client.clone(), reporter, controller, recorders: Arc::default() }
    }

    /// Publishes an Event on the controller's Deployment.
    pub(crate) async fn emit(&self, type_: EventType, reason: &str, note: &str) {
        self.publish(type_, reason, note, &self.controller).await;
    }

    /// Publishes a warning about the object `about`.
    pub(crate) async fn warn_of(&self, about: &ObjectReference, reason: &str, note: &str) {
        self.publish(EventType::Warning, reason, note, about).await;
    }

    async fn publish(&self, type_: EventType, reason: &str, note: &str, about: &ObjectReference) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note[..note.floor_char_boundary(LONGEST)].to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let recorder = self.recorder(format!("{reason} {note}")).await;
        // A lost Event changes nothing: metrics and status contain the same.
        match timeout(PATIENCE, recorder.publish(&event, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, reason, "cannot publish an Event"),
            Err(_) => warn!(reason, "cannot publish an Event: timed out"),
        }
    }

    async fn recorder(&self, note: String) -> Recorder {
        let mut recorders = self.recorders.lock().await;
        if recorders.len() >= REMEMBERED && !recorders.contains_key(&note) {
            recorders.clear();
        }
        let new = || Recorder::new(self.client.clone(), self.reporter.clone());
        recorders.entry(note).or_insert_with(new).clone()
    }
}
