//! The status of a workload cluster, from what the fleet controller knows.

use super::{APPLIED, CONFLICT, HEALTHY, NodesInCluster, REACHABLE, WorkloadClusterStatus, reason};
use crate::status::{
    cluster_summary::ClusterSummary,
    node_mirror::{FALSE, NodeCondition, TRUE, UNKNOWN},
};

/// Maximum size of a message, in bytes.
const MESSAGE: usize = 500;
/// Maximum size of one of several entries in a message, in bytes.
const ENTRY: usize = 120;
/// Reason of conditions that are unknown without a connection.
const PULLS: &str = "the cluster pulls; the fleet controller does not connect to it";
/// Maximum number of entries in a message.
const ENTRIES: usize = 3;

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
    /// Wait for a wave, with the reason; `None` if the cluster may receive the declaration.
    pub wave: Option<String>,
    /// Result of the last application.
    pub outcome: ApplyOutcome,
    /// Number of the declaration that was last stored in the cluster with the whole bundle; `None`
    /// before the first.
    pub stored: Option<u64>,
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

/// Status, reason and message of a condition.
type Verdict = (&'static str, &'static str, String);

/// Returns the status of a cluster at the time `now`, in RFC 3339. `before` is the present status
/// of its object; `None` without one. If nothing changed, the result equals it.
pub fn status_of(
    facts: &ClusterFacts,
    before: Option<&WorkloadClusterStatus>,
    now: &str,
) -> WorkloadClusterStatus {
    // After a restart of the fleet controller, the last status holds until the first contact.
    if let Some(before) = before.filter(|it| facts.is_untried() && !it.conditions.is_empty()) {
        return before.clone();
    }
    let nothing = WorkloadClusterStatus::default();
    let before = before.unwrap_or(&nothing);
    let verdicts = [
        (APPLIED, facts.applied()),
        (CONFLICT, facts.conflict()),
        (HEALTHY, facts.healthy()),
        (REACHABLE, facts.reachable()),
    ];
    let error = error(&verdicts);
    let conditions =
        verdicts.into_iter().map(|(kind, verdict)| condition(kind, verdict, before, now));
    let is_reached = facts.is_in_contact();
    let is_removed = facts.removal == RemovalProgress::Removed;
    let summary = facts.heartbeat.summary.as_ref();
    let counted = |it: &ClusterSummary| {
        it.nodes.map(|it| NodesInCluster { total: it.total, applied: it.applied })
    };
    let nodes = summary.map_or(before.nodes, counted).filter(|_| !is_removed);
    let error_time = || before.last_error_time.clone().unwrap_or_else(|| now.to_owned());
    let received = facts.heartbeat.received.clone().filter(|_| facts.heartbeat.is_stale);
    WorkloadClusterStatus {
        cluster_uid: if is_uid(&facts.uid) {
            facts.uid.clone()
        } else {
            before.cluster_uid.clone()
        },
        wanted_revision: match facts.wanted {
            WantedDeclaration::Revision(number) => Some(number),
            WantedDeclaration::None | WantedDeclaration::Orphaned => None,
        },
        applied_revision: match facts.stored {
            _ if is_removed => None,
            None if !is_reached => before.applied_revision,
            stored => stored,
        },
        last_heartbeat_time: received,
        nodes,
        node_summary: nodes.map_or_else(String::new, |it| format!("{}/{}", it.applied, it.total)),
        webhook: match summary {
            _ if is_removed => String::new(),
            Some(summary) => summary.webhook.as_str().to_owned(),
            None => before.webhook.clone(),
        },
        pods_not_from_mirror: match summary {
            _ if is_removed => None,
            Some(summary) => summary.pods_not_from_mirror,
            None => before.pods_not_from_mirror,
        },
        last_error_time: error.is_some().then(error_time),
        last_error: error,
        conditions: conditions.collect(),
    }
}

impl ClusterFacts {
    /// Returns true if the fleet controller connects to the cluster.
    fn is_connecting(&self) -> bool {
        !self.is_paused && self.access == AccessState::Usable
    }

    /// Returns true if the state of the cluster is known, by its API server or by its heartbeats.
    fn is_in_contact(&self) -> bool {
        matches!(self.contact, ClusterContact::Reached | ClusterContact::Pulls)
    }

    /// Returns true if the fleet controller connects to the cluster, and has no answer yet.
    fn is_untried(&self) -> bool {
        self.is_connecting() && self.contact == ClusterContact::Unknown
    }

    fn applied(&self) -> Verdict {
        let not = |reason, message: &str| (FALSE, reason, message.to_owned());
        if self.is_paused {
            return not(reason::PAUSED, "an administrator paused the cluster");
        }
        match &self.access {
            AccessState::Waiting(text) => return not(reason::WAITING, text),
            AccessState::Refused(text) => return not(reason::REFUSED, text),
            AccessState::Usable => {}
        }
        if let ClusterContact::Unreachable(text) = &self.contact {
            return not(reason::UNREACHABLE, text);
        }
        if let Some(other) = &self.duplicate_of {
            let message = format!("{other} is the same cluster, and has been known longer");
            return not(reason::DUPLICATE, &message);
        }
        match (self.removal, &self.outcome) {
            (RemovalProgress::Removed, _) => {
                return not(reason::REMOVED, "image-swap is removed from the cluster");
            }
            (RemovalProgress::Removing, ApplyOutcome::Failed(text)) => {
                return not(reason::FAILED, text);
            }
            (RemovalProgress::Removing, _) => {
                return not(reason::REMOVED, "image-swap is being removed from the cluster");
            }
            (RemovalProgress::None, _) => {}
        }
        let wanted = match self.wanted {
            WantedDeclaration::Revision(number) => number,
            WantedDeclaration::None => {
                let message = "waits for a declaration on the management cluster";
                return not(reason::WAITING, message);
            }
            WantedDeclaration::Orphaned => {
                let message = "the declaration was deleted on the management cluster; the cluster \
                               keeps its own";
                return not(reason::ORPHANED, message);
            }
        };
        let is_stored = self.stored == Some(wanted);
        if let Some(text) = self.wave.as_ref().filter(|_| !is_stored) {
            return not(reason::WAITING_FOR_WAVE, text);
        }
        if let ApplyOutcome::Failed(text) = &self.outcome {
            return not(reason::FAILED, &self.with_waiting(text));
        }
        if !self.conflicts.is_empty() {
            let message = format!("other writers hold {}", listed(&self.conflicts));
            return not(reason::CONFLICT, &self.with_waiting(&message));
        }
        if !self.drift.is_empty() && !is_stored {
            return not(reason::APPLYING, &self.repeated_drift());
        }
        if is_stored && self.is_in_contact() {
            let message = match &*self.duplicates {
                [] => format!("declaration {wanted} is stored"),
                others => {
                    format!("declaration {wanted} is stored; same cluster as {}", listed(others))
                }
            };
            return (TRUE, reason::IN_FORCE, message);
        }
        not(reason::APPLYING, &format!("declaration {wanted} is being applied"))
    }

    fn conflict(&self) -> Verdict {
        if let Some(verdict) = self.without_contact() {
            return verdict;
        }
        if !self.conflicts.is_empty() {
            return (TRUE, reason::CONFLICT, listed(&self.conflicts));
        }
        if self.contact == ClusterContact::Pulls {
            return (UNKNOWN, reason::NOT_COMPARED, PULLS.to_owned());
        }
        if self.stored.is_none() && self.outcome == ApplyOutcome::Pending {
            return (UNKNOWN, reason::NOT_COMPARED, "nothing has been applied yet".to_owned());
        }
        (FALSE, reason::NO_CONFLICT, String::new())
    }

    fn healthy(&self) -> Verdict {
        if let Some(verdict) = self.without_contact() {
            return verdict;
        }
        let not = |reason, message: String| (FALSE, reason, message);
        let HeartbeatFacts { summary, received, is_stale } = &self.heartbeat;
        let Some(received) = received.as_ref().filter(|_| !self.is_duplicate_or_removed()) else {
            let message = "waits for the first heartbeat".to_owned();
            return (UNKNOWN, reason::NO_HEARTBEAT, message);
        };
        if *is_stale {
            let message = format!("the last heartbeat arrived at {received}");
            return not(reason::HEARTBEAT_STALE, message);
        }
        let Some(summary) = summary else {
            let message = "the heartbeat has no summary that this version can read".to_owned();
            return not(reason::SUMMARY_INVALID, message);
        };
        if !self.drift.is_empty() {
            return not(reason::DRIFT, self.repeated_drift());
        }
        if !summary.problems.is_empty() {
            let words: Vec<&str> = summary.problems.iter().map(|it| it.message()).collect();
            return not(reason::PROBLEMS, words.join("; "));
        }
        if let Some(stored) = self.stored.filter(|it| summary.registry_info_revision != Some(*it)) {
            let found = match summary.registry_info_revision {
                Some(number) => format!("declaration {number}"),
                None => "another declaration".to_owned(),
            };
            let message = format!("{found} is in force, expected declaration {stored}");
            return not(reason::UPDATING, message);
        }
        if let Some(nodes) = summary.nodes.filter(|it| it.applied < it.total) {
            let message = format!(
                "the declaration is in force on {} of {} nodes",
                nodes.applied, nodes.total
            );
            return not(reason::UPDATING, message);
        }
        (TRUE, reason::HEALTHY, String::new())
    }

    /// Returns the message about fields that another writer changes again and again.
    fn repeated_drift(&self) -> String {
        let message = format!("another writer changes {} again and again", listed(&self.drift));
        self.with_waiting(&message)
    }

    /// Returns `message` with the phases that wait.
    fn with_waiting(&self, message: &str) -> String {
        if self.waiting.is_empty() {
            return message.to_owned();
        }
        // A long message must not hide the end.
        format!("{}; {}", bounded(message, MESSAGE - self.waiting.len() - 2), self.waiting)
    }

    fn reachable(&self) -> Verdict {
        match self.without_contact() {
            Some((_, reason::UNREACHABLE, message)) => (FALSE, reason::UNREACHABLE, message),
            None if self.contact == ClusterContact::Pulls => {
                (UNKNOWN, reason::NOT_CONNECTED, PULLS.to_owned())
            }
            Some(verdict) => verdict,
            None => (TRUE, reason::REACHED, String::new()),
        }
    }

    /// Returns the verdict of a condition that is not known without contact; `None` with contact.
    fn without_contact(&self) -> Option<Verdict> {
        let unknown = |reason, message: &str| Some((UNKNOWN, reason, message.to_owned()));
        match &self.contact {
            _ if !self.is_connecting() => {
                unknown(reason::NOT_CONNECTED, "the fleet controller does not connect to it")
            }
            ClusterContact::Unknown => {
                unknown(reason::NOT_CONNECTED, "the API server has not answered yet")
            }
            ClusterContact::Unreachable(text) => unknown(reason::UNREACHABLE, text),
            ClusterContact::Reached | ClusterContact::Pulls => None,
        }
    }

    /// Returns true if no heartbeat is expected from the cluster.
    fn is_duplicate_or_removed(&self) -> bool {
        self.duplicate_of.is_some() || self.removal == RemovalProgress::Removed
    }
}

/// Returns the present error; `None` without one.
fn error(verdicts: &[(&str, Verdict)]) -> Option<String> {
    const ERRORS: [&str; 9] = [
        reason::UNREACHABLE,
        reason::REFUSED,
        reason::DUPLICATE,
        reason::CONFLICT,
        reason::FAILED,
        reason::HEARTBEAT_STALE,
        reason::SUMMARY_INVALID,
        reason::PROBLEMS,
        reason::DRIFT,
    ];
    let of = |kind: &str| verdicts.iter().find(|(it, _)| *it == kind).map(|(_, it)| it);
    let found = [APPLIED, HEALTHY].into_iter().filter_map(of);
    let mut found = found.filter(|(_, reason, _)| ERRORS.contains(reason));
    found.next().map(|(.., message)| bounded(message, MESSAGE))
}

fn condition(
    kind: &str,
    (status, reason, message): Verdict,
    before: &WorkloadClusterStatus,
    now: &str,
) -> NodeCondition {
    let same = before.condition(kind).filter(|it| it.status == status);
    let since = same.map(|it| &*it.last_transition_time).filter(|it| !it.is_empty());
    NodeCondition {
        kind: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: bounded(&message, MESSAGE),
        last_transition_time: since.unwrap_or(now).to_owned(),
    }
}

/// Returns the first entries, and the number of the others.
fn listed(entries: &[String]) -> String {
    let first: Vec<String> = entries.iter().take(ENTRIES).map(|it| bounded(it, ENTRY)).collect();
    let first = first.join(", ");
    match entries.len().saturating_sub(ENTRIES) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Returns `text` without control characters, cut to `size` bytes.
fn bounded(text: &str, size: usize) -> String {
    const MARK: &str = "…";
    let plain = |it: char| if it.is_control() { ' ' } else { it };
    let text: String = text.chars().take(size + 1).map(plain).collect();
    if text.len() <= size {
        return text;
    }
    format!("{}{MARK}", &text[..text.floor_char_boundary(size - MARK.len())])
}

/// Returns true if `text` has the form of a UID. Another text may be the choice of a workload
/// cluster.
pub fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-')
}
