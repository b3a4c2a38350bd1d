//! Settings and result of a removal.

use std::time::Duration;

use image_swap_core::fleet::bundle::BundleObject;

use super::{apply::ObjectFailure, error::RemoteError};

/// Settings of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Namespace of the release.
    pub namespace: String,
    /// Longest time to wait for the nodes in one call.
    pub wait: Duration,
    /// True to delete the objects although nodes are not restored.
    pub proceed: bool,
}

/// Result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalReport {
    /// True if nothing is left to remove.
    pub is_complete: bool,
    /// Number of nodes that are not restored.
    pub pending: usize,
    /// Names of these nodes. At most twenty.
    pub nodes: Vec<String>,
    /// Objects that stay.
    pub kept: Vec<KeptObject>,
    /// Objects that the API server does not delete.
    pub failures: Vec<ObjectFailure>,
}

/// Object that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptObject {
    /// Kind, namespace and name.
    pub object: String,
    /// Reason.
    pub reason: &'static str,
}

impl RemovalReport {
    /// Notes that `object` cannot be deleted.
    ///
    /// # Errors
    /// Returns `error` if the next request would fail as well.
    pub(super) fn note(
        &mut self,
        object: &BundleObject,
        error: RemoteError,
    ) -> Result<(), RemoteError> {
        if error.ends_requests() {
            return Err(error);
        }
        self.failures.push(ObjectFailure { object: object.to_string(), error });
        Ok(())
    }
}
