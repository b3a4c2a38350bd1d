//! Workloads: the paths of images in every built-in kind, and exempt pods.
//!
//! Source: the Kubernetes API types (`k8s.io/api`: core/v1, apps, batch, extensions). Custom
//! resources are not workloads here: only their controllers know the meaning of their fields.

pub mod exempt;

/// Pull policy (`imagePullPolicy` of a container, `pullPolicy` of an image volume) under which
/// the kubelet queries no registry. The node knows the image by its present name, so it is
/// never swapped.
pub const PULL_NEVER: &str = "Never";
/// The lists of containers in a pod's spec.
pub const CONTAINER_LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The path from an object of a built-in kind to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Workload {
    /// The object itself: Pod.
    Pod,
    /// `template`: `PodTemplate`.
    Template,
    /// `spec.template`: Deployment, `ReplicaSet`, `StatefulSet`, `DaemonSet`, Job,
    /// `ReplicationController`.
    Controller,
    /// `spec.jobTemplate.spec.template`: `CronJob`.
    CronJob,
}

impl Workload {
    /// Returns the kind of an object with this `apiVersion` and `kind`, in any version of its
    /// group. Returns `None` for kinds that run no pods or are not built in.
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
            // CronJob was called ScheduledJob in batch/v2alpha1.
            (b"batch", "CronJob" | "ScheduledJob") => Self::CronJob,
            _ => return None,
        })
    }

    /// Returns the path of fields from the object to the one with the pod's `metadata` and
    /// `spec`.
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
    fn kind_is_recognised_in_every_version() {
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
    fn known_name_in_other_group_is_ignored() {
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
