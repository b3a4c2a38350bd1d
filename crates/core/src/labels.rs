//! Labels, annotations and fixed names of Kubernetes objects that image-swap reads or writes.
//!
//! Other processes and other releases read them: a value never changes.

use serde::{Deserialize, de::IgnoredAny};

/// Name of the Secret in Spectro Cloud Palette's format.
pub const REGISTRY_INFO: &str = "registry-info";
/// Namespace of the Secret in Spectro Cloud Palette's format.
pub const JET_SYSTEM: &str = "jet-system";
/// Namespace whose UID identifies a cluster.
pub const KUBE_SYSTEM: &str = "kube-system";
/// Label of image-swap's own pods. No entry of the webhook configuration matches them.
pub const EXEMPT: &str = "image-swap.io/exempt";
/// Label of the `ConfigMap` that the controller creates as a dry run to probe whether the
/// API server reaches a replica. Its value is the release's name.
pub const PROBE: &str = "image-swap.io/probe";
/// Annotation of a probe: [`NOT_REACHED`] in the request, [`REACHED`] in a replica's patch.
pub const PROBE_REACHED: &str = "image-swap.io/reached";
/// Value of [`PROBE_REACHED`] in the request.
pub const NOT_REACHED: &str = "no";
/// Value of [`PROBE_REACHED`] in the response of a replica.
pub const REACHED: &str = "yes";
/// Warning in the response to a probe. The API server returns it even if a quota or a
/// policy refuses the object afterwards.
pub const REACHED_WARNING: &str = "image-swap.io/probe-reached";
/// Annotation of a pod with the original images: a JSON object, containers by name and
/// volumes as `volume:NAME`.
pub const ORIGINAL_IMAGES: &str = "image-swap.io/original-images";
/// Label of a pull Secret. Its value is the name of the release that manages the Secret.
pub const MANAGED_BY: &str = "image-swap.io/managed-by";
/// Annotation of a pull Secret that an uninstalled release kept for the pods that name it.
/// The next release adopts the Secret.
pub const KEPT: &str = "image-swap.io/kept";
/// Annotation of the webhook configuration with the selector expressions that image-swap
/// wrote last, by entry.
pub const EXPRESSIONS: &str = "image-swap.io/expressions";
/// Annotation of a Node with the hash of the trust that its container runtime was
/// configured with.
pub const TRUSTS: &str = "image-swap.io/trusts";
/// Annotation of the release's anchor while the release is being removed.
pub const LEAVING: &str = "image-swap.io/leaving";
/// Annotation with the hash of a declaration, which covers no credential.
pub const HASH: &str = "image-swap.io/hash";
/// Annotation of a stored declaration with the program that created its `registry-info`: the fleet
/// controller. Empty for any other.
pub const DECLARED_BY: &str = "image-swap.io/declared-by";
/// Annotation with a number that increases when the declaration changes, its credential
/// included.
pub const REVISION: &str = "image-swap.io/revision";
/// Label of a Node with the runtime whose agent runs there: a value of
/// [`crate::control::node_runtime::AgentRuntime`].
pub const NODE_RUNTIME: &str = "image-swap.io/runtime";
/// Taint of a Node whose runtime is not configured yet. Its effect is [`NO_SCHEDULE`].
pub const NOT_CONFIGURED: &str = "image-swap.io/not-configured";
/// Effect of a taint that keeps new pods off a node.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// Annotation of a trial pod with the number of the declaration on trial.
pub const TRIAL: &str = "image-swap.io/trial";
/// Annotation of a restart pod, and of the Lease of its node, with the number of the
/// declaration that the restart brings into force. [`RESUME`] on a Lease ends it.
pub const RESTART: &str = "image-swap.io/restart";
/// Value of [`RESTART`] by which an administrator ends a Lease: the node is tried again.
pub const RESUME: &str = "resume";
/// Label of a Secret with the kubeconfig of a workload cluster, with the value [`ENABLED`], or with
/// the declaration of a cluster that pulls, with the value [`PULL`].
pub const FLEET_CLUSTER: &str = "image-swap.io/fleet-cluster";
/// Label of a Secret that a `ClusterProfile` may name, with the value [`ENABLED`]: its credential goes
/// to the server of the profile.
pub const FLEET_CREDENTIAL: &str = "image-swap.io/fleet-credential";
/// Value of labels that switch a feature on.
pub const ENABLED: &str = "enabled";
/// Label of a machine template: [`ENABLED`] adds the bootstrap script to a new one, [`DISABLED`] lets
/// an update remove it.
pub const BOOTSTRAP: &str = "image-swap.io/bootstrap";
/// Secret with the bootstrap script, beside the templates of machines.
pub const BOOTSTRAP_SECRET: &str = "image-swap-bootstrap";
/// Annotation of that Secret after an uninstallation: the objects that refer to it.
pub const REFERENCED_BY: &str = "image-swap.io/referenced-by";
/// Value of [`FLEET_CLUSTER`] on the Secret with the declaration of a cluster that pulls.
pub const PULL: &str = "pull";
/// Annotation of the object of a workload cluster: [`PAUSED`], [`REMOVED`], or the number of an
/// earlier declaration.
pub const FLEET: &str = "image-swap.io/fleet";
/// Value of [`FLEET`] by which the fleet controller leaves a cluster as it is.
pub const PAUSED: &str = "paused";
/// Value of [`FLEET`] by which the fleet controller removes image-swap from a cluster.
pub const REMOVED: &str = "removed";
/// Annotation of the object of a workload cluster: address of its API server for agents.
pub const API_SERVER: &str = "image-swap.io/api-server";
/// Annotation of the object of a workload cluster: value `policy` of the chart.
pub const POLICY: &str = "image-swap.io/policy";
/// Annotation of a heartbeat with the summary of the release, in JSON.
pub const SUMMARY: &str = "image-swap.io/summary";
/// Label with the name of the release that an object belongs to.
pub const RELEASE: &str = "image-swap.io/release";
/// Reporting controller of Events.
pub const CONTROLLER: &str = "image-swap.io/controller";
/// Suffix of the names of image-swap's entries in the webhook configuration, and of its
/// match conditions.
pub const WEBHOOK_SUFFIX: &str = ".image-swap.io";
/// Entry for ordinary pods.
pub const PODS_WEBHOOK: &str = "pods.image-swap.io";
/// Entry for pods of system namespaces.
pub const SYSTEM_WEBHOOK: &str = "system.image-swap.io";
/// Entry for updates of images.
pub const UPDATES_WEBHOOK: &str = "updates.image-swap.io";
/// Entry for probes.
pub const PROBE_WEBHOOK: &str = "probe.image-swap.io";
/// Webhook of new machine templates.
pub const BOOTSTRAP_WEBHOOK: &str = "bootstrap.image-swap.io";
/// Webhook of updates that lose the bootstrap script of a machine template.
pub const BOOTSTRAP_UPDATES_WEBHOOK: &str = "bootstrap-updates.image-swap.io";

/// Recommended label with the name of the application.
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// Recommended label with the component of the application.
pub const APP_COMPONENT: &str = "app.kubernetes.io/component";
/// Recommended label with the program that manages the object.
pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`APP_NAME`], and of [`APP_MANAGED_BY`] for objects of the controller.
pub const IMAGE_SWAP: &str = "image-swap";
/// Value of [`APP_COMPONENT`] for admission replicas.
pub const ADMISSION: &str = "admission";
/// Value of [`APP_COMPONENT`] for the agents of nodes.
pub const AGENT: &str = "agent";
/// Value of [`APP_COMPONENT`] for the pods that wait until agents have restored their nodes.
pub const AWAIT_RESTORE: &str = "await-restore";
/// Value of [`APP_COMPONENT`] for the pods that restart the runtime of a node.
pub const RESTART_COMPONENT: &str = "restart";
/// Label of an `EndpointSlice` with the name of its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotation of a mirror pod: the API server's copy of a static pod, which the kubelet
/// runs from a file.
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
/// Annotation in which `kubectl apply` keeps the last manifest.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Label by which a namespace or a pod opts out, unless the settings name another label.
pub const OPT_OUT: &str = "k8s.twr.io/imageswap";
/// Value of [`OPT_OUT`] that exempts.
pub const DISABLED: &str = "disabled";

/// The annotations of watched objects that the controller reads. All others are skipped.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ObservedAnnotations {
    /// [`ORIGINAL_IMAGES`]; `None` if no image of a pod was swapped.
    #[serde(rename = "image-swap.io/original-images")]
    pub original_images: Option<String>,
    /// [`MIRROR_POD`]; `None` for an ordinary pod.
    #[serde(rename = "kubernetes.io/config.mirror")]
    pub mirror: Option<IgnoredAny>,
    /// [`KEPT`]; `None` unless an uninstalled release kept a Secret.
    #[serde(rename = "image-swap.io/kept")]
    pub kept: Option<IgnoredAny>,
    /// [`TRIAL`]; `None` unless the pod is a trial pull.
    #[serde(rename = "image-swap.io/trial")]
    pub trial: Option<String>,
    /// [`RESTART`]; `None` unless the object is a restart pod or its Lease.
    #[serde(rename = "image-swap.io/restart")]
    pub restart: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Spells out every label and annotation, so that a rename of an item cannot change one.
    #[test]
    fn keys_and_values_never_change() {
        let all = [
            (REGISTRY_INFO, "registry-info"),
            (JET_SYSTEM, "jet-system"),
            (EXEMPT, "image-swap.io/exempt"),
            (PROBE, "image-swap.io/probe"),
            (PROBE_REACHED, "image-swap.io/reached"),
            (NOT_REACHED, "no"),
            (REACHED, "yes"),
            (REACHED_WARNING, "image-swap.io/probe-reached"),
            (ORIGINAL_IMAGES, "image-swap.io/original-images"),
            (MANAGED_BY, "image-swap.io/managed-by"),
            (KEPT, "image-swap.io/kept"),
            (EXPRESSIONS, "image-swap.io/expressions"),
            (TRUSTS, "image-swap.io/trusts"),
            (LEAVING, "image-swap.io/leaving"),
            (HASH, "image-swap.io/hash"),
            (DECLARED_BY, "image-swap.io/declared-by"),
            (REVISION, "image-swap.io/revision"),
            (NODE_RUNTIME, "image-swap.io/runtime"),
            (NOT_CONFIGURED, "image-swap.io/not-configured"),
            (NO_SCHEDULE, "NoSchedule"),
            (TRIAL, "image-swap.io/trial"),
            (RESTART, "image-swap.io/restart"),
            (RESUME, "resume"),
            (RELEASE, "image-swap.io/release"),
            (CONTROLLER, "image-swap.io/controller"),
            (WEBHOOK_SUFFIX, ".image-swap.io"),
            (PODS_WEBHOOK, "pods.image-swap.io"),
            (SYSTEM_WEBHOOK, "system.image-swap.io"),
            (UPDATES_WEBHOOK, "updates.image-swap.io"),
            (PROBE_WEBHOOK, "probe.image-swap.io"),
            (BOOTSTRAP_WEBHOOK, "bootstrap.image-swap.io"),
            (BOOTSTRAP_UPDATES_WEBHOOK, "bootstrap-updates.image-swap.io"),
            (BOOTSTRAP, "image-swap.io/bootstrap"),
            (BOOTSTRAP_SECRET, "image-swap-bootstrap"),
            (REFERENCED_BY, "image-swap.io/referenced-by"),
            (APP_NAME, "app.kubernetes.io/name"),
            (APP_COMPONENT, "app.kubernetes.io/component"),
            (APP_MANAGED_BY, "app.kubernetes.io/managed-by"),
            (IMAGE_SWAP, "image-swap"),
            (ADMISSION, "admission"),
            (AGENT, "agent"),
            (AWAIT_RESTORE, "await-restore"),
            (RESTART_COMPONENT, "restart"),
            (SERVICE_NAME, "kubernetes.io/service-name"),
            (MIRROR_POD, "kubernetes.io/config.mirror"),
            (LAST_APPLIED, "kubectl.kubernetes.io/last-applied-configuration"),
            (OPT_OUT, "k8s.twr.io/imageswap"),
            (DISABLED, "disabled"),
            (FLEET_CLUSTER, "image-swap.io/fleet-cluster"),
            (FLEET_CREDENTIAL, "image-swap.io/fleet-credential"),
            (ENABLED, "enabled"),
            (PULL, "pull"),
        ];
        for (constant, written) in all {
            assert_eq!(constant, written);
        }
    }

    #[test]
    fn partial_metadata_reads_the_constants() {
        let pod = json!({ ORIGINAL_IMAGES: "{}", MIRROR_POD: "hash", TRIAL: "3", "other": 1 });
        let pod: ObservedAnnotations = serde_json::from_value(pod).unwrap();
        assert!(pod.original_images.as_deref() == Some("{}") && pod.mirror.is_some());
        assert_eq!(pod.trial.as_deref(), Some("3"));
        let secret: ObservedAnnotations = serde_json::from_value(json!({ KEPT: "true" })).unwrap();
        assert!(secret.kept.is_some());
        let lease: ObservedAnnotations =
            serde_json::from_value(json!({ RESTART: RESUME })).unwrap();
        assert_eq!(lease.restart.as_deref(), Some("resume"));
    }
}
