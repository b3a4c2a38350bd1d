//! Events about workload clusters and about the rollout, which `kubectl describe` and
//! `kubectl get events` show.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use image_swap_cluster::Release;
use image_swap_core::{
    fleet::{
        event_pace::EventPace,
        wave::{RolloutTarget, WaveState},
    },
    labels::IMAGE_SWAP,
    status::workload_cluster::{ClusterEvent, GROUP, KIND, PLURAL, VERSION},
};
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use kube::{
    Api, Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use crate::names::FleetNames;

/// Maximum number of Events that wait.
const WAITING: usize = 64;
/// Places among them for Events about the rollout.
const RESERVED: usize = 16;
/// Maximum size of a note, in bytes; the API server refuses 1024.
const NOTE: usize = 1000;
/// Deadline of one Event.
const PATIENCE: Duration = Duration::from_secs(3);

/// Publisher of the fleet's Events. Another task publishes them, so that no cluster waits. A lost
/// Event changes nothing: the reports contain the same.
#[derive(Clone, Debug)]
pub struct FleetEvents {
    queue: mpsc::Sender<FleetEvent>,
    /// Number of Events that found no place.
    lost: Arc<AtomicU64>,
}

/// Event with its object.
#[derive(Debug)]
struct FleetEvent {
    /// `WorkloadCluster`; `None` for the rollout, whose object is the `ConfigMap` with its state.
    about: Option<ObjectReference>,
    event: ClusterEvent,
}

/// Task that publishes Events.
struct EventWriter {
    client: Client,
    names: FleetNames,
    lost: Arc<AtomicU64>,
    pace: EventPace,
    begun: Instant,
}

impl FleetEvents {
    /// Starts a publisher of the fleet controller of `release` in `namespace`. It ends with the last
    /// clone of the result.
    pub fn start(client: &Client, namespace: &str, release: &Release) -> Self {
        let (queue, events) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = EventWriter {
            client: client.clone(),
            names: FleetNames::new(namespace, release),
            lost: Arc::clone(&lost),
            pace: EventPace::default(),
            begun: Instant::now(),
        };
        tokio::spawn(writer.run(events));
        Self { queue, lost }
    }

    /// Publishes an Event about the `WorkloadCluster` with this namespace, name and UID. Of many in
    /// a minute only the first are published.
    pub(crate) fn note_cluster(
        &self,
        (namespace, name): &(String, String),
        uid: &str,
        event: ClusterEvent,
    ) {
        let about = ObjectReference {
            api_version: Some(format!("{GROUP}/{VERSION}")),
            kind: Some(KIND.to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        if self.queue.capacity() <= RESERVED
            || self.queue.try_send(FleetEvent { about: Some(about), event }).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Publishes the Events about the change of a rollout from `before` to `after`.
    pub(crate) fn note_rollout<T: RolloutTarget>(
        &self,
        before: &WaveState<T>,
        after: &WaveState<T>,
    ) {
        let title = after.target.title();
        if before.target != after.target {
            self.note(false, "RolloutStarted", format!("{title} is rolled out"));
        }
        match (&before.failed, &after.failed) {
            (None, Some(failed)) => {
                let note = format!("{}{}: {}", T::PREFIX, failed.cluster, failed.reason);
                self.note(true, "RolloutStopped", note);
            }
            (Some(_), None) if before.target == after.target => {
                self.note(false, "RolloutResumed", format!("{title} is rolled out again"));
            }
            _ => {}
        }
    }

    fn note(&self, is_warning: bool, reason: &str, note: String) {
        let event = ClusterEvent { is_warning, reason: reason.to_owned(), note };
        // The queue is full of such Events, or the task has ended with its runtime.
        let _ = self.queue.try_send(FleetEvent { about: None, event });
    }
}

impl EventWriter {
    async fn run(mut self, mut events: mpsc::Receiver<FleetEvent>) {
        loop {
            let due = self.pace.due().map(|due| self.begun + due);
            let next = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => return,
                },
                () = next => self.publish_omitted().await,
            }
        }
    }

    async fn take(&mut self, FleetEvent { about, event }: FleetEvent) {
        self.pace.omit(self.lost.swap(0, Ordering::Relaxed));
        match about {
            None => self.publish_rollout(&event).await,
            Some(about) => {
                if self.pace.admits(self.begun.elapsed()) {
                    self.publish(&event, &about).await;
                }
            }
        }
    }

    async fn publish_omitted(&mut self) {
        let Some(omitted) = self.pace.take_omitted(self.begun.elapsed()) else { return };
        let event = ClusterEvent {
            is_warning: true,
            reason: "EventsOmitted".to_owned(),
            note: format!(
                "{omitted} further changes of workload clusters within a minute; list them with \
                 kubectl get {PLURAL} --all-namespaces"
            ),
        };
        self.publish_rollout(&event).await;
    }

    /// Publishes an Event about the `ConfigMap` with the state of the rollout.
    async fn publish_rollout(&self, event: &ClusterEvent) {
        let namespace = &self.names.controller.namespace;
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let name = self.names.state();
        // Without it the Event has no UID, and `kubectl describe` does not show it.
        let map = timeout(PATIENCE, maps.get_metadata_opt(&name)).await;
        let map = map.ok().and_then(Result::ok).flatten();
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name),
            uid: map.and_then(|it| it.metadata.uid),
            ..ObjectReference::default()
        };
        self.publish(event, &about).await;
    }

    async fn publish(&self, event: &ClusterEvent, about: &ObjectReference) {
        let ClusterEvent { is_warning, reason, note } = event;
        let published = Event {
            type_: if *is_warning { EventType::Warning } else { EventType::Normal },
            reason: reason.clone(),
            note: Some(note[..note.floor_char_boundary(NOTE)].to_owned()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // A recorder of its own counts up no earlier Event, which would need a right to patch.
        let recorder = Recorder::new(self.client.clone(), Reporter::from(IMAGE_SWAP));
        match timeout(PATIENCE, recorder.publish(&published, about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, reason, "cannot publish an Event"),
            Err(_) => warn!(reason, "cannot publish an Event: timed out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// Returns a client of a management cluster without objects, and the Events that it receives.
    fn management_cluster() -> (Client, mpsc::UnboundedReceiver<Value>) {
        let (sender, received) = mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: Request<Body>| {
            let sender = sender.clone();
            async move {
                let body = request.into_body().collect_bytes().await.unwrap();
                let sent = serde_json::from_slice::<Value>(&body);
                let status = if sent.is_ok() { 201 } else { 404 };
                let answer = sent.unwrap_or_else(|_| json!({ "kind": "Status", "code": 404 }));
                let bytes = answer.to_string().into_bytes();
                if status == 201 {
                    sender.send(answer).unwrap();
                }
                let response = Response::builder().status(status).body(Body::from(bytes));
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        (Client::new(service, "default"), received)
    }

    fn failed(reason: &str) -> ClusterEvent {
        ClusterEvent { is_warning: true, reason: "Failed".into(), note: reason.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn thousand_failures_are_a_few_events() {
        let (client, mut received) = management_cluster();
        let release = Release { namespace: "image-swap".into(), name: "image-swap".into() };
        let events = FleetEvents::start(&client, "fleet", &release);
        for number in 0..1000 {
            let key = ("clusters".to_owned(), format!("c{number}"));
            events.note_cluster(&key, "uid", failed("denied"));
        }
        let stopped = image_swap_core::fleet::wave::FailedWave {
            cluster: "clusters/c1".into(),
            reason: "denied".into(),
        };
        let before = WaveState { target: 2_u64, ..WaveState::default() };
        let after = WaveState { failed: Some(stopped), ..before.clone() };
        events.note_rollout(&before, &after);
        let mut reasons = Vec::new();
        let last = loop {
            let event = received.recv().await.unwrap();
            if event["reason"] == "EventsOmitted" {
                break event;
            }
            reasons.push(event["reason"].as_str().unwrap().to_owned());
        };
        assert_eq!(reasons.iter().filter(|it| *it == "Failed").count(), 30);
        assert_eq!(reasons[30..], ["RolloutStopped"]);
        assert!(last["note"].as_str().unwrap().starts_with("970 further changes"), "{last}");
        assert_eq!(last["regarding"]["name"], "image-swap-fleet-state");
    }

    #[tokio::test]
    async fn long_note_is_cut() {
        let (client, mut received) = management_cluster();
        let release = Release { namespace: "image-swap".into(), name: "image-swap".into() };
        let events = FleetEvents::start(&client, "fleet", &release);
        let key = ("clusters".to_owned(), "c".to_owned());
        events.note_cluster(&key, "uid", failed(&"ä".repeat(900)));
        let event = received.recv().await.unwrap();
        assert_eq!(event["note"].as_str().unwrap().len(), NOTE);
        assert_eq!(event["regarding"]["uid"], "uid");
        assert_eq!(event["metadata"]["namespace"], "clusters");
    }
}
