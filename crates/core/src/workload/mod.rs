//! Workloads: where the images are in every built-in kind, and which pods are
//! left alone.
//!
//! Source: the Kubernetes API types (`k8s.io/api`: core/v1, apps, batch,
//! extensions). A custom resource is nobody's workload here, whatever it holds:
//! only its own controller knows what its fields mean.

pub mod exempt;

/// The pull policy (`imagePullPolicy` of a container, `pullPolicy` of an image
/// volume) under which no registry is asked, so that the image's name has to stay
/// what the node knows it by.
pub const PULL_NEVER: &str = "Never";
/// The lists of containers in a pod's spec.
pub const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Where an object of a built-in kind keeps its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// It is one: Pod.
    Pod,
    /// In `template`: `PodTemplate`.
    Template,
    /// In `spec.template`: Deployment, `ReplicaSet`, `StatefulSet`, `DaemonSet`, Job,
    /// `ReplicationController`.
    Controller,
    /// In `spec.jobTemplate.spec.template`: `CronJob`.
    CronJob,
}

impl Workload {
    /// What an object of this `apiVersion` and `kind` is, in any version of its
    /// group; `None` if it runs no pods or is not built in.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        Some(match (group(api_version.as_bytes()), kind) {
            (b"", "Pod") => Self::Pod,
            (b"", "PodTemplate") => Self::Template,
            (b"", "ReplicationController")
            | (b"apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
            | (b"batch", "Job")
            | (b"extensions", "Deployment" | "ReplicaSet" | "DaemonSet" | "Job") => {
                Self::Controller
            }
            // CronJob was ScheduledJob in batch/v2alpha1.
            (b"batch", "CronJob" | "ScheduledJob") => Self::CronJob,
            _ => return None,
        })
    }

    /// The fields that lead from the object to the one that has the pod's
    /// `metadata` and `spec`.
    pub const fn template_path(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::Template => &["template"],
            Self::Controller => &["spec", "template"],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
        }
    }
}

/// Returns the group in an `apiVersion`; empty for the core group (`v1`).
fn group(api_version: &[u8]) -> &[u8] {
    let slash = api_version.iter().position(|byte| *byte == b'/');
    slash.and_then(|slash| api_version.get(..slash)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_group_in_every_version() {
        for (api_version, kind, path) in [
            ("v1", "Pod", ""),
            ("v1", "PodTemplate", "template"),
            ("v1", "ReplicationController", "spec.template"),
            ("apps/v1", "Deployment", "spec.template"),
            ("apps/v1beta2", "ReplicaSet", "spec.template"),
            ("apps/v1beta1", "StatefulSet", "spec.template"),
            ("extensions/v1beta1", "DaemonSet", "spec.template"),
            ("batch/v1", "Job", "spec.template"),
            ("batch/v1beta1", "CronJob", "spec.jobTemplate.spec.template"),
            ("batch/v2alpha1", "ScheduledJob", "spec.jobTemplate.spec.template"),
        ] {
            let workload = Workload::of(api_version, kind).expect(kind);
            assert_eq!(workload.template_path().join("."), path, "{api_version} {kind}");
        }
    }

    #[test]
    fn a_known_name_in_a_foreign_group_is_not_ours() {
        for (api_version, kind) in [
            ("serving.knative.dev/v1", "Deployment"),
            ("apps/v1", "Pod"),
            ("v1", "Deployment"),
            ("argoproj.io/v1alpha1", "CronJob"),
            ("v1", "Service"),
            ("", ""),
        ] {
            assert_eq!(Workload::of(api_version, kind), None, "{api_version} {kind}");
        }
    }
}
