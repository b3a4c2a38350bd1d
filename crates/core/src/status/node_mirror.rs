//! The custom resource `NodeMirror`: one object for each Node, of the same name.
//!
//! The controller creates the object and writes its spec. The agent of the node writes its
//! part of the status. `charts/image-swap/templates/agent/crd.yaml` has the schema.

use serde::{Deserialize, Serialize};

/// API group of the resource.
pub const GROUP: &str = "image-swap.io";
/// Version of the resource.
pub const VERSION: &str = "v1alpha1";
/// Kind of the resource.
pub const KIND: &str = "NodeMirror";
/// Plural name of the resource.
pub const PLURAL: &str = "nodemirrors";

/// Facts about a Node that its agent cannot read from the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeMirrorSpec {
    /// UID of the Node.
    pub node_uid: String,
    /// `status.nodeInfo.containerRuntimeVersion` of the Node, such as `containerd://2.4.1`.
    pub container_runtime_version: String,
}

/// Status of a node: by its agent, apart from the condition [`VERIFIED`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeMirrorStatus {
    /// UID of the Node that the agent reports about. Another UID than that of the Node means
    /// that nothing was applied.
    pub node_uid: String,
    /// Boot ID of the host. Another ID than that of the Node means that nothing was applied.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// Number of the declaration that the node is to have; `None` before the first.
    pub wanted_revision: Option<u64>,
    /// Number of the declaration in force; `None` before the first, and after a restore.
    pub applied_revision: Option<u64>,
    /// Command that an administrator runs on the host; `None` if there is nothing to do.
    pub command: Option<String>,
    /// Rules that the runtime cannot express, each with the reason; 20 at most.
    pub inexpressible: Vec<String>,
    /// Conditions by type.
    pub conditions: Vec<NodeCondition>,
}

impl NodeMirrorStatus {
    /// Returns the condition of the type `kind`; `None` if it is absent.
    pub fn condition(&self, kind: &str) -> Option<&NodeCondition> {
        self.conditions.iter().find(|it| it.kind == kind)
    }
}

/// Condition in the form of `metav1.Condition`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCondition {
    /// Type: [`APPLIED`], [`VERIFIED`], [`NEEDS_RESTART`] or [`DEGRADED`].
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Reason, for programs.
    pub reason: String,
    /// Reason, for people. Holds no credential.
    pub message: String,
    /// Time of the last change of [`Self::status`], in RFC 3339.
    pub last_transition_time: String,
}

/// Condition: the wanted declaration is in force on the node.
pub const APPLIED: &str = "Applied";
/// Condition: a pull through the mirrors has succeeded. Written by the controller.
pub const VERIFIED: &str = "Verified";
/// Condition: the runtime has to be restarted or reloaded before the declaration is in force.
pub const NEEDS_RESTART: &str = "NeedsRestart";
/// Condition: the declaration is in force with restrictions.
pub const DEGRADED: &str = "Degraded";

/// Status of a condition that holds.
pub const TRUE: &str = "True";
/// Status of a condition that does not hold.
pub const FALSE: &str = "False";
/// Status of a condition that is not known.
pub const UNKNOWN: &str = "Unknown";

/// Reasons of conditions.
pub mod reason {
    /// Applied: every file is in place.
    pub const IN_PLACE: &str = "InPlace";
    /// Applied: there is no declaration for the node yet.
    pub const NO_DECLARATION: &str = "NoDeclaration";
    /// Applied: the edits of image-swap were removed.
    pub const RESTORED: &str = "Restored";
    /// Applied, `NeedsRestart`: the runtime has to be restarted.
    pub const RESTART_REQUIRED: &str = "RestartRequired";
    /// `NeedsRestart`: the runtime has to reload its files.
    pub const RELOAD_REQUIRED: &str = "ReloadRequired";
    /// Applied: the host has a configuration that image-swap does not edit.
    pub const REFUSED: &str = "Refused";
    /// Applied: the declaration cannot be read.
    pub const INVALID_DECLARATION: &str = "InvalidDeclaration";
    /// Applied: a file could not be written; the host is as before.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// Applied: the restart of the runtime was rolled back; the host is as before.
    pub const RESTART_FAILED: &str = "RestartFailed";
    /// Applied: only the API of its operating system may change the host.
    pub const MANAGED: &str = "Managed";
    /// Applied: agents do not support the runtime.
    pub const UNSUPPORTED: &str = "Unsupported";
    /// Applied: no agent has reported for the present Node and boot.
    pub const AGENT_NOT_RUNNING: &str = "AgentNotRunning";
    /// `NeedsRestart`, Degraded: nothing is left to do.
    pub const NOTHING: &str = "Nothing";
    /// `NeedsRestart`: the start of the runtime is not known.
    pub const START_UNKNOWN: &str = "StartUnknown";
    /// Degraded: the runtime cannot express some of the rules.
    pub const INEXPRESSIBLE_RULES: &str = "InexpressibleRules";
    /// Degraded: another program changes the files of image-swap again and again.
    pub const DRIFT: &str = "Drift";
    /// Degraded: the plan has notes for an administrator.
    pub const NOTES: &str = "Notes";
    /// Verified: a trial pull through the mirrors has succeeded on a node of this runtime.
    pub const PULLED: &str = "Pulled";
    /// Verified: the trial pull has failed.
    pub const TRIAL_FAILED: &str = "TrialFailed";
    /// Verified: no image was known that the mirrors serve; the registry answers.
    pub const NO_TRIAL_IMAGE: &str = "NoTrialImage";
    /// Verified: the trial is not finished.
    pub const ON_TRIAL: &str = "OnTrial";
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_name_is_kept() {
        let spec = NodeMirrorSpec {
            node_uid: "u".into(),
            container_runtime_version: "containerd://2.4.1".into(),
        };
        let written = json!({ "nodeUid": "u", "containerRuntimeVersion": "containerd://2.4.1" });
        assert_eq!(serde_json::to_value(spec).unwrap(), written);
        let status = NodeMirrorStatus {
            node_uid: "u".into(),
            boot_id: "b".into(),
            wanted_revision: Some(2),
            applied_revision: Some(1),
            command: Some("systemctl restart containerd".into()),
            inexpressible: vec!["rule".into()],
            conditions: vec![NodeCondition {
                kind: APPLIED.into(),
                status: FALSE.into(),
                reason: reason::RESTART_REQUIRED.into(),
                message: "m".into(),
                last_transition_time: "2026-11-29T00:00:00Z".into(),
            }],
        };
        let written = json!({
            "nodeUid": "u", "bootID": "b", "wantedRevision": 2, "appliedRevision": 1,
            "command": "systemctl restart containerd", "inexpressible": ["rule"],
            "conditions": [{
                "type": "Applied", "status": "False", "reason": "RestartRequired", "message": "m",
                "lastTransitionTime": "2026-11-29T00:00:00Z",
            }],
        });
        assert_eq!(serde_json::to_value(&status).unwrap(), written);
        assert_eq!(serde_json::from_value::<NodeMirrorStatus>(written).unwrap(), status);
        assert_eq!(status.condition(APPLIED).map(|it| &*it.status), Some(FALSE));
        assert_eq!(serde_json::from_value::<NodeMirrorStatus>(json!({})).unwrap().boot_id, "");
    }

    #[test]
    fn names_never_change() {
        let names = [GROUP, VERSION, KIND, PLURAL, APPLIED, VERIFIED, NEEDS_RESTART, DEGRADED];
        let written = [
            "image-swap.io",
            "v1alpha1",
            "NodeMirror",
            "nodemirrors",
            "Applied",
            "Verified",
            "NeedsRestart",
            "Degraded",
        ];
        assert_eq!(names, written);
    }
}
