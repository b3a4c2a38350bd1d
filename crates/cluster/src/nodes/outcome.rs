//! The outcome of a trial pull and of a restart, by the status that the kubelet reports.
//!
//! The command of a trial pod does not exist, so that nothing of the image runs: the kubelet pulls,
//! creates the container, and fails to start it.
//!
//! Source: kubelet, `pkg/kubelet/kuberuntime/kuberuntime_container.go` (`startContainer` pulls
//! before anything else) and `pkg/kubelet/images/types.go`.

use image_swap_core::control::restarts::RestartPodPhase;

use super::objects::{NodeObjectStatus, PulledContainerReason};

/// Longest message that is kept, in bytes.
const LONGEST: usize = 600;
/// Reasons of a container that waits although its image is on the node.
const PULLED: [&str; 6] = [
    "CreateContainerError",
    "CreateContainerConfigError",
    "RunContainerError",
    "PreCreateHookError",
    "PreStartHookError",
    "CrashLoopBackOff",
];
/// Reasons of a container whose image cannot be pulled.
const FAILED: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// Progress of a trial pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodPull {
    /// The kubelet has not finished.
    Waiting,
    /// The image is on the node.
    Pulled {
        /// Digest of the image; `None` if the runtime does not report one.
        digest: Option<String>,
    },
    /// The image cannot be pulled: the reason.
    Failed(String),
}

/// Returns the progress of the pull by the status of its pod.
pub(super) fn pull_of(status: &NodeObjectStatus) -> PodPull {
    let Some(container) = status.container_statuses.first() else {
        if status.phase == "Failed" {
            let reason = or_default(&status.message, &status.reason);
            return PodPull::Failed(format!("the kubelet rejected the trial pod: {reason}"));
        }
        return PodPull::Waiting;
    };
    let pulled = || PodPull::Pulled { digest: digest(&container.image_id) };
    let state = &container.state;
    if state.terminated.is_some() || state.running.is_some() {
        return pulled();
    }
    let Some(PulledContainerReason { reason, message }) = &state.waiting else {
        return PodPull::Waiting;
    };
    let reason = reason.as_deref().unwrap_or_default();
    let message = message.as_deref().unwrap_or_default();
    match reason {
        _ if PULLED.contains(&reason) => pulled(),
        _ if FAILED.contains(&reason) => PodPull::Failed(or_default(message, reason).to_owned()),
        _ => PodPull::Waiting,
    }
}

/// Returns the progress of a restart by the status of its pod.
pub(super) fn restart_of(status: &NodeObjectStatus) -> RestartPodPhase {
    match &*status.phase {
        "Succeeded" => RestartPodPhase::Succeeded,
        "Running" => RestartPodPhase::Running,
        "Failed" => {
            let container = status.container_statuses.first();
            let ended = container.and_then(|it| it.state.terminated.as_ref());
            let printed = ended.and_then(|it| it.message.as_deref()).unwrap_or_default();
            let why = ended.and_then(|it| it.reason.as_deref()).unwrap_or_default();
            // The kubelet ends a pod whose time is over.
            let kubelet = or_default(&status.message, &status.reason);
            let parts = [printed, kubelet].into_iter().filter(|it| !it.trim().is_empty());
            let parts: Vec<_> = parts.flat_map(str::split_whitespace).collect();
            let message = parts.join(" ");
            RestartPodPhase::Failed(or_default(&message, why).to_owned())
        }
        _ => RestartPodPhase::Waiting,
    }
}

/// Returns `message`, cut, or `reason` if it is empty.
fn or_default<'a>(message: &'a str, reason: &'a str) -> &'a str {
    let text = if message.is_empty() { reason } else { message };
    &text[..text.floor_char_boundary(LONGEST)]
}

/// Returns the digest of an `imageID`: `docker.io/library/nginx@sha256:…`. An ID without a
/// repository is that of the configuration, which no registry serves by that name.
fn digest(image_id: &str) -> Option<String> {
    image_id.rsplit_once('@').map(|(_, digest)| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "docker.io/library/busybox@sha256:aa";

    fn pull(container: &Value) -> PodPull {
        let status = json!({ "phase": "Pending", "containerStatuses": [container] });
        pull_of(&serde_json::from_value(status).unwrap())
    }

    fn waiting(reason: &str, message: &str, id: &str) -> Value {
        json!({
            "name": "trial", "image": "busybox:1.36", "imageID": id, "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": reason, "message": message } }, "lastState": {},
        })
    }

    #[test]
    fn container_that_cannot_start_has_its_image() {
        let digest = Some("sha256:aa".to_owned());
        let exec = "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
            runc create failed: unable to start container process: error during container init: exec: \
            \"/image-swap-trial\": stat /image-swap-trial: no such file or directory";
        // containerd creates the container and fails to start it.
        let terminated = json!({
            "name": "trial", "imageID": ID, "state": { "terminated": {
                "reason": "StartError", "message": exec, "exitCode": 128, "startedAt": "1970-01-01T00:00:00Z",
            } },
        });
        assert_eq!(pull(&terminated), PodPull::Pulled { digest: digest.clone() });
        assert_eq!(pull(&waiting("RunContainerError", exec, ID)), PodPull::Pulled { digest });
        // CRI-O fails to create the container: the kubelet reports no image.
        let crio = "container create failed: executable file `/image-swap-trial` not found: No such \
            file or directory";
        let created = waiting("CreateContainerError", crio, "");
        assert_eq!(pull(&created), PodPull::Pulled { digest: None });
        // The image of dockerd is named by its configuration.
        let docker = json!({
            "imageID": "sha256:bb", "state": { "terminated": { "reason": "ContainerCannotRun" } },
        });
        assert_eq!(pull(&docker), PodPull::Pulled { digest: None });
    }

    #[test]
    fn failed_pull_has_the_message_of_the_kubelet() {
        let refused = "failed to pull and unpack image \"docker.io/library/busybox:1.36\": failed to resolve \
            image: unexpected status from HEAD request to https://mirror.example.org/v2/: 401 Unauthorized";
        let failed = PodPull::Failed(refused.to_owned());
        assert_eq!(pull(&waiting("ErrImagePull", refused, "")), failed);
        assert_eq!(pull(&waiting("ImagePullBackOff", refused, "")), failed);
        let silent = pull(&waiting("InvalidImageName", "", ""));
        assert_eq!(silent, PodPull::Failed("InvalidImageName".to_owned()));
        let long = pull(&waiting("ErrImagePull", &"ä".repeat(LONGEST), ""));
        assert_eq!(long, PodPull::Failed("ä".repeat(LONGEST / 2)));
    }

    #[test]
    fn restart_ends_with_the_message_of_its_pod() {
        let phase = |status: Value| restart_of(&serde_json::from_value(status).unwrap());
        assert_eq!(phase(json!({ "phase": "Pending" })), RestartPodPhase::Waiting);
        assert_eq!(phase(json!({ "phase": "Running" })), RestartPodPhase::Running);
        assert_eq!(phase(json!({ "phase": "Succeeded" })), RestartPodPhase::Succeeded);
        let failed = |message: &str| RestartPodPhase::Failed(message.to_owned());
        let ended = |message: &str| {
            let state =
                json!({ "terminated": { "reason": "Error", "message": message, "exitCode": 1 } });
            json!({ "phase": "Failed", "containerStatuses": [{ "name": "restart", "state": state }] })
        };
        assert_eq!(phase(ended("rolled back:\n no health\n")), failed("rolled back: no health"));
        assert_eq!(phase(ended("")), failed("Error"));
        let mut late = ended("");
        (late["reason"], late["message"]) =
            ("DeadlineExceeded".into(), "Pod was active on the node too long".into());
        assert_eq!(phase(late), failed("Pod was active on the node too long"));
    }

    #[test]
    fn unfinished_pull_waits() {
        assert_eq!(pull(&waiting("ContainerCreating", "", "")), PodPull::Waiting);
        assert_eq!(pull(&json!({ "state": {} })), PodPull::Waiting);
        let status = |status: Value| pull_of(&serde_json::from_value(status).unwrap());
        assert_eq!(status(json!({})), PodPull::Waiting);
        assert_eq!(status(json!({ "phase": "Pending" })), PodPull::Waiting);
        let rejected = json!({
            "phase": "Failed", "reason": "OutOfpods",
            "message": "Pod was rejected: Node didn't have enough resource: pods, requested: 1",
        });
        let PodPull::Failed(reason) = status(rejected) else { panic!("it was rejected") };
        assert!(
            reason.starts_with("the kubelet rejected the trial pod: Pod was rejected"),
            "{reason}"
        );
    }
}
