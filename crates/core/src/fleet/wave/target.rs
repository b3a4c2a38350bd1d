//! Targets of rollouts.

use std::fmt::Debug;

/// Target of a rollout: the number of a declaration, or the hash of a bundle.
pub trait RolloutTarget: Clone + Debug + Default + PartialEq {
    /// Prefix of texts about the progress of a rollout; empty for declarations.
    const PREFIX: &'static str;

    /// Returns true if this target is of another release than `before`, the target of the last
    /// rollout. Former targets are invalid then.
    fn is_of_other_release(&self, before: &Self) -> bool;

    /// Returns the target that a cluster keeps until its wave begins.
    #[must_use]
    fn kept(&self) -> Self;

    /// Returns the name of the target in logs and Events.
    fn title(&self) -> String;
}

impl RolloutTarget for u64 {
    const PREFIX: &'static str = "";

    // The numbers of another release begin again.
    fn is_of_other_release(&self, before: &Self) -> bool {
        self < before
    }

    fn kept(&self) -> Self {
        *self
    }

    fn title(&self) -> String {
        format!("declaration {self}")
    }
}

impl RolloutTarget for String {
    const PREFIX: &'static str = "bundle: ";

    fn is_of_other_release(&self, _: &Self) -> bool {
        false
    }

    fn kept(&self) -> Self {
        Self::new()
    }

    fn title(&self) -> String {
        format!("bundle {self}")
    }
}
