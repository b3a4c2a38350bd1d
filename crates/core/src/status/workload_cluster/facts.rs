//! Facts that the fleet controller knows about a workload cluster.

use crate::status::cluster_summary::ClusterSummary;

/// Knowledge of the fleet controller about a workload cluster. Texts are image-swap's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Access by the inventory.
    pub access: AccessState,
    /// True if an administrator paused the cluster.
    pub is_paused: bool,
    /// Last contact with the API server.
    pub contact: ClusterContact,
    /// UID of the namespace `kube-system`; empty before the first contact.
    pub uid: String,
    /// Entry that is the same cluster, as `NAMESPACE/NAME`, and is the one that counts; `None`
    /// without one.
    pub duplicate_of: Option<String>,
    /// Entries that are the same cluster and do not count, as `NAMESPACE/NAME`.
    pub duplicates: Vec<String>,
    /// Removal by an administrator.
    pub removal: RemovalProgress,
    /// Declaration that the cluster is to have.
    pub wanted: WantedDeclaration,
    /// Reason to refuse the Secret `registry-info` beside the cluster, whose last valid content is the
    /// declaration; `None` if it is valid or absent.
    pub refused_declaration: Option<String>,
    /// Wait for a wave, with the reason; `None` if the cluster may receive the declaration.
    pub wave: Option<String>,
    /// Wait for a wave of the bundle, with the reason; `None` if the cluster may receive the bundle, or
    /// receives nothing.
    pub bundle_wave: Option<String>,
    /// Result of the last application.
    pub outcome: ApplyOutcome,
    /// Number of the declaration that was last stored in the cluster, with the whole bundle or beside
    /// a former one; `None` before the first.
    pub stored: Option<u64>,
    /// Hash of the text of [`Self::stored`] without credentials; empty if it is not known.
    pub stored_hash: String,
    /// Hash of the bundle that was last stored in the cluster; empty if it is not known.
    pub stored_bundle: String,
    /// Fields and objects of other writers, which stay as they are.
    pub conflicts: Vec<String>,
    /// Fields and objects that another writer changes again and again.
    pub drift: Vec<String>,
    /// Later phases that wait for the end of conflicts, drift and failures, in words; empty if none
    /// do.
    pub waiting: &'static str,
    /// Heartbeat of the cluster.
    pub heartbeat: HeartbeatFacts,
}

/// Access to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessState {
    /// No access yet, for this reason; no error.
    Waiting(String),
    /// Access that is not used, for this reason.
    Refused(String),
    /// Access that is used.
    #[default]
    Usable,
}

/// Last contact with the API server of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClusterContact {
    /// No request has ended yet.
    #[default]
    Unknown,
    /// The API server answers.
    Reached,
    /// The API server does not answer, for this reason.
    Unreachable(String),
    /// No contact is made: the cluster pulls its declaration.
    Pulls,
}

/// Removal of image-swap from a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovalProgress {
    /// No removal.
    #[default]
    None,
    /// Requested, and not complete.
    Removing,
    /// Complete.
    Removed,
}

/// Declaration that a cluster is to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WantedDeclaration {
    /// No declaration since the fleet controller was installed.
    #[default]
    None,
    /// A declaration that was deleted on the management cluster.
    Orphaned,
    /// The declaration with this number.
    Revision(u64),
}

impl WantedDeclaration {
    /// Returns the number of the declaration; `None` without one.
    pub const fn revision(self) -> Option<u64> {
        match self {
            Self::Revision(number) => Some(number),
            Self::None | Self::Orphaned => None,
        }
    }
}

/// Result of the last application of bundle and declaration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// No application has ended yet.
    #[default]
    Pending,
    /// Everything was applied, apart from conflicts.
    Complete,
    /// A request failed, for this reason.
    Failed(String),
}

/// Heartbeat of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatFacts {
    /// Summary in the last heartbeat; `None` if it has none that can be read.
    pub summary: Option<ClusterSummary>,
    /// Receipt of the last heartbeat, in RFC 3339; `None` before the first.
    pub received: Option<String>,
    /// True if the next heartbeat is overdue.
    pub is_stale: bool,
}
