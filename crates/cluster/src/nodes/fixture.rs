//! Rows for the tests of this folder.

use image_swap_core::{
    control::node_runtime::NodeFacts,
    status::{NodeCondition, NodeMirrorStatus, node_mirror::APPLIED},
};

use super::observed::MirrorRow;

/// Returns the facts of a node with this runtime.
pub(super) fn facts(runtime: &str) -> NodeFacts {
    NodeFacts {
        os: "linux".into(),
        kubelet_version: "v1.34.1".into(),
        container_runtime_version: runtime.into(),
        ..NodeFacts::default()
    }
}

/// Returns the `NodeMirror` of the Node `name`, whose UID is its name, in the boot `b`: status and
/// reason of the condition Applied, and the applied number.
pub(super) fn mirror(name: &str, (status, reason): (&str, &str), applied: u64) -> MirrorRow {
    let status = NodeMirrorStatus {
        node_uid: name.into(),
        boot_id: "b".into(),
        applied_revision: Some(applied),
        conditions: vec![NodeCondition {
            kind: APPLIED.into(),
            status: status.into(),
            reason: reason.into(),
            message: "m".into(),
            ..NodeCondition::default()
        }],
        ..NodeMirrorStatus::default()
    };
    MirrorRow { owner: name.into(), status, ..MirrorRow::default() }
}
