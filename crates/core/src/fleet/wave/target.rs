//! Targets of rollouts.

use std::fmt::Debug;

/// Target of a rollout: the number of a declaration, or the hash of a bundle.
pub trait RolloutTarget: Clone + Debug + Default + PartialEq {
    /// Begin of texts about the progress of a rollout.
    const PREFIX: &'static str;

    /// Returns true if former targets have no meaning any more, after a rollout of `before`.
    fn is_of_other_release(&self, before: &Self) -> bool;

    /// Returns the target that a cluster keeps until its wave begins.
    #[must_use]
    fn kept(&self) -> Self;

    /// Returns the target, for people.
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
