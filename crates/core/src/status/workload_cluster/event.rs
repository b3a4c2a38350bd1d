//! Events about a workload cluster, from changes of its status.

use super::{APPLIED, HEALTHY, WorkloadClusterStatus, derive::ERRORS};

/// Reason of the Event about the end of an error.
pub const RECOVERED: &str = "Recovered";

/// Event about a workload cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterEvent {
    /// True for a beginning error.
    pub is_warning: bool,
    /// Reason: that of the condition with the error, or [`RECOVERED`].
    pub reason: String,
    /// Text for administrators.
    pub note: String,
}

impl ClusterEvent {
    /// Returns the Event about the change from `before` to `after`: an error begins, ends, or has
    /// another reason. `None` for other changes.
    pub fn of(before: &WorkloadClusterStatus, after: &WorkloadClusterStatus) -> Option<Self> {
        let event = |is_warning, reason: &str, note: String| {
            Some(Self { is_warning, reason: reason.to_owned(), note })
        };
        match (before.error_reason(), after.error_reason()) {
            (was, Some(reason)) if was != Some(reason) => {
                event(true, reason, after.last_error.clone().unwrap_or_default())
            }
            (Some(was), None) => {
                event(false, RECOVERED, format!("{was} has ended; the state is {}", after.state()))
            }
            _ => None,
        }
    }
}

impl WorkloadClusterStatus {
    /// Returns the reason of the condition with the present error; `None` without an error.
    fn error_reason(&self) -> Option<&str> {
        let reasons = [APPLIED, HEALTHY].into_iter().filter_map(|kind| self.condition(kind));
        reasons.map(|it| &*it.reason).find(|it| ERRORS.contains(it))
    }
}
