//! Pods that cannot start, and the reason that the kubelet, the scheduler or the API
//! server gave.

use image_swap_core::labels;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod, PodStatus},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The characters of a message that are kept.
const MESSAGE: usize = 300;

/// Reasons of a container whose image is the cause.
const OF_IMAGES: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "ImageInspectError",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
    "CreateContainerError",
];
/// Reasons of a container that is about to start.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// Parts of messages, in lower case, and what to do about each.
const HINTS: [(&[&str], &str); 6] = [
    (
        &["unauthorized", "denied", "forbidden", "no basic auth", "authentication required"],
        "the registry refuses the node's credential, or the node has none",
    ),
    (&["x509", "certificate"], "the node does not trust the certificate of the registry"),
    (&["no such host"], "the node cannot resolve the name of the registry"),
    (&["no match for platform", "exec format"], "the image is not for the node's architecture"),
    (&["not found", "manifest unknown", "name unknown"], "push the image to the registry"),
    (
        &["refused", "timeout", "timed out", "deadline exceeded", "no route", "unreachable"],
        "the node cannot reach the registry",
    ),
];

/// A pod that cannot start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StuckPod {
    /// The namespace.
    pub namespace: String,
    /// The name of the pod, or of the Deployment if no pod can be created.
    pub name: String,
    /// The first container that cannot start; empty if the whole pod cannot.
    pub container: String,
    /// The image volume that keeps the container from starting; empty without one.
    pub volume: String,
    /// The image of the volume or of the container; empty without one.
    pub image: String,
    /// The reason, as Kubernetes names it: `ImagePullBackOff`, `Unschedulable`, …
    pub reason: String,
    /// The message of Kubernetes, shortened.
    pub message: String,
    /// The cause or the remedy; `None` if the message does not contain it.
    pub hint: Option<String>,
}

impl StuckPod {
    /// Returns true if the pod cannot start because of an image.
    pub(super) fn lacks_image(&self) -> bool {
        OF_IMAGES.contains(&&*self.reason)
    }
}

/// Swapped pods that cannot start because of a swapped image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StuckPods {
    /// The number of pods.
    pub count: usize,
    /// The first of them.
    pub pods: Vec<StuckPod>,
}

impl StuckPods {
    /// The pods that are kept.
    const LISTED: usize = 5;

    /// Counts `pod` if a swapped image keeps it from starting.
    pub(super) fn add(&mut self, pod: &Pod) {
        let record =
            pod.metadata.annotations.as_ref().and_then(|all| all.get(labels::ORIGINAL_IMAGES));
        let Some(record) = record else { return };
        let swapped: BTreeMap<String, String> = serde_json::from_str(record).unwrap_or_default();
        let is_swapped = |stuck: &StuckPod| {
            let name = match &*stuck.volume {
                "" => stuck.container.clone(),
                volume => format!("volume:{volume}"),
            };
            stuck.lacks_image() && swapped.contains_key(&name)
        };
        let Some(stuck) = pod.status.as_ref().and_then(|status| waiting(pod, status, is_swapped))
        else {
            return;
        };
        self.count += 1;
        if self.pods.len() < Self::LISTED {
            self.pods.push(stuck);
        }
    }
}

/// Returns the reason why `pod` cannot start; `None` if it can.
pub(super) fn stuck(pod: &Pod) -> Option<StuckPod> {
    let status = pod.status.as_ref()?;
    waiting(pod, status, |_| true).or_else(|| {
        let conditions = status.conditions.iter().flatten();
        let unscheduled = conditions
            .into_iter()
            .find(|it| it.type_ == "PodScheduled" && it.status == "False" && it.reason.is_some())?;
        let reason = unscheduled.reason.clone().unwrap_or_default();
        Some(StuckPod { reason, ..of(pod, unscheduled.message.as_deref()) })
    })
}

/// Returns the reason why `deployment` has fewer pods than it should; `None` if its pods
/// can be created.
pub(super) fn uncreated(deployment: &Deployment) -> Option<StuckPod> {
    let conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let failure =
        conditions.into_iter().find(|it| it.type_ == "ReplicaFailure" && it.status == "True")?;
    Some(StuckPod {
        namespace: deployment.metadata.namespace.clone().unwrap_or_default(),
        name: deployment.metadata.name.clone().unwrap_or_default(),
        reason: failure.reason.clone().unwrap_or_default(),
        message: clean(failure.message.as_deref().unwrap_or_default()),
        ..StuckPod::default()
    })
}

/// Returns the first container of `pod` that waits, and `matches`.
fn waiting(pod: &Pod, status: &PodStatus, matches: impl Fn(&StuckPod) -> bool) -> Option<StuckPod> {
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let containers = containers.chain(status.ephemeral_container_statuses.iter().flatten());
    containers.into_iter().find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| !STARTING.contains(reason))?;
        // A container that ends again and again: its end is the reason.
        let ended = container.last_state.as_ref().and_then(|last| last.terminated.as_ref());
        let ended = ended.map(|ended| match &ended.message {
            Some(message) => format!("exit code {}: {message}", ended.exit_code),
            None => format!("exit code {}", ended.exit_code),
        });
        let is_crash = reason == "CrashLoopBackOff";
        let message = ended.filter(|_| is_crash).or_else(|| waiting.message.clone());
        let found = of(pod, message.as_deref());
        let is_image = OF_IMAGES.contains(&reason);
        let named = message.as_deref().filter(|_| is_image).unwrap_or_default();
        let (volume, image) = failing_image(pod, container, named);
        let stuck = StuckPod {
            container: container.name.clone(),
            volume,
            image,
            reason: reason.to_owned(),
            hint: hint(&found.message).filter(|_| is_image).map(str::to_owned),
            ..found
        };
        matches(&stuck).then_some(stuck)
    })
}

fn of(pod: &Pod, message: Option<&str>) -> StuckPod {
    StuckPod {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        message: clean(message.unwrap_or_default()),
        ..StuckPod::default()
    }
}

/// Returns the image that keeps `container` from starting, and the name of the volume that
/// it is of. The kubelet reports an image volume that it cannot pull as the state of the
/// container that mounts it: only `message` names the image.
fn failing_image(pod: &Pod, container: &ContainerStatus, message: &str) -> (String, String) {
    let spec = pod.spec.as_ref();
    let containers = spec
        .into_iter()
        .flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let declared = containers.into_iter().find(|it| it.name == container.name);
    // The status may have an identifier of the runtime.
    let own = declared.and_then(|it| it.image.clone()).unwrap_or_else(|| container.image.clone());
    let mounts = declared.into_iter().flat_map(|it| it.volume_mounts.iter().flatten());
    let mounts: Vec<&str> = mounts.map(|mount| mount.name.as_str()).collect();
    let volumes = spec.into_iter().flat_map(|spec| spec.volumes.iter().flatten());
    let volumes = volumes.filter(|volume| mounts.contains(&volume.name.as_str()));
    let images = volumes.filter_map(|volume| {
        let image = volume.image.as_ref()?.reference.clone()?;
        Some((volume.name.clone(), image))
    });
    // One image's name may be the beginning of another's.
    let named = images.chain([(String::new(), own.clone())]);
    let named = named.filter(|(_, image)| !image.is_empty() && message.contains(&**image));
    named.max_by_key(|(_, image)| image.len()).unwrap_or((String::new(), own))
}

fn hint(message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    let found = HINTS.iter().find(|(parts, _)| parts.iter().any(|part| message.contains(part)))?;
    Some(found.1)
}

/// Returns `text` on one line, shortened, and without characters that move a cursor.
fn clean(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line: String = line.join(" ").chars().filter(|it| !it.is_control()).collect();
    if line.chars().count() <= MESSAGE {
        return line;
    }
    let start: String = line.chars().take(MESSAGE).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests;
