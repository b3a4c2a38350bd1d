//! The conditions of a workload cluster, from the facts about it.

use super::{
    AccessState, ApplyOutcome, ClusterContact, ClusterFacts, HeartbeatFacts, RemovalProgress,
    WantedDeclaration,
    message::{MESSAGE, bounded, listed},
    reason,
};
use crate::status::node_mirror::{FALSE, TRUE, UNKNOWN};

/// Reason of conditions that are unknown without a connection.
const PULLS: &str = "the cluster pulls; the fleet controller does not connect to it";

/// Status, reason and message of a condition.
pub(super) type Verdict = (&'static str, &'static str, String);

impl ClusterFacts {
    /// Returns true if the fleet controller connects to the cluster.
    fn is_connecting(&self) -> bool {
        !self.is_paused && self.access == AccessState::Usable
    }

    /// Returns true if the state of the cluster is known, by its API server or by its heartbeats.
    pub(super) fn is_in_contact(&self) -> bool {
        matches!(self.contact, ClusterContact::Reached | ClusterContact::Pulls)
    }

    /// Returns true if the fleet controller connects to the cluster, and has no answer yet.
    pub(super) fn is_untried(&self) -> bool {
        self.is_connecting() && self.contact == ClusterContact::Unknown
    }

    /// Returns the verdict of the condition `Applied`.
    pub(super) fn applied(&self) -> Verdict {
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
        if let Some(text) = &self.bundle_wave {
            let stored = format!("declaration {wanted} is stored; ");
            let message = format!("{}{text}", if is_stored { &stored } else { "" });
            return not(reason::WAITING_FOR_WAVE, &message);
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

    /// Returns the verdict of the condition `Conflict`.
    pub(super) fn conflict(&self) -> Verdict {
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

    /// Returns the verdict of the condition `Healthy`.
    pub(super) fn healthy(&self) -> Verdict {
        if let Some(verdict) = self.without_contact() {
            return verdict;
        }
        let not = |reason, message: String| (FALSE, reason, message);
        if let Some(refused) = &self.refused_declaration {
            let message = format!("the last valid declaration stays in force: {refused}");
            return not(reason::DECLARATION_REFUSED, message);
        }
        let HeartbeatFacts { summary, received, is_stale } = &self.heartbeat;
        let Some(received) = received.as_ref().filter(|_| !self.is_duplicate_or_removed()) else {
            if *is_stale && let Some(message) = self.without_first_heartbeat() {
                return not(reason::HEARTBEAT_STALE, message.to_owned());
            }
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
        if let Some(stored) = self.stored.filter(|it| !summary.reports(*it, &self.stored_hash)) {
            let found = match summary.registry_info_revision {
                Some(number) if number == stored => "an edited declaration".to_owned(),
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

    /// Returns the message about a cluster whose first heartbeat is overdue; `None` if none is
    /// expected.
    fn without_first_heartbeat(&self) -> Option<&'static str> {
        if self.is_duplicate_or_removed() {
            return None;
        }
        if self.contact == ClusterContact::Pulls {
            return Some(
                "the first heartbeat is overdue: apply the manifest of the enrolment in the \
                 cluster, or look there why the controller does not run",
            );
        }
        // Nothing runs in a cluster that waits for its first declaration.
        self.stored.is_some().then_some(
            "the first heartbeat is overdue: the controller of the cluster does not run, or \
             cannot write its Lease",
        )
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

    /// Returns the verdict of the condition `Reachable`.
    pub(super) fn reachable(&self) -> Verdict {
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
    pub(super) fn is_duplicate_or_removed(&self) -> bool {
        self.duplicate_of.is_some() || self.removal == RemovalProgress::Removed
    }
}
