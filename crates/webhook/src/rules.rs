//! The rules in force.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use image_swap_core::rule::RuleSet;

/// A handle of the rules that answer requests, cheap to clone.
///
/// A replacement does not block. A request in progress keeps the rules that were in force when
/// its review began.
#[derive(Clone, Debug, Default)]
pub struct RulesInForce {
    rules: Arc<ArcSwapOption<RuleSet>>,
    revision: Arc<ArcSwap<Revision>>,
}

/// The identity of a declaration, by which two servers are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Name of the declaration's source; empty if unknown.
    pub source: String,
    /// Hash of the declaration's text; empty if unknown, or without a declaration.
    pub hash: String,
}

impl RulesInForce {
    /// Puts `rules` in force, with an unknown revision.
    pub fn replace(&self, rules: RuleSet) {
        self.replace_by(rules, Revision::default());
    }

    /// Puts `rules` in force, which are of the declaration `revision`.
    pub fn replace_by(&self, rules: RuleSet, revision: Revision) {
        self.rules.store(Some(Arc::new(rules)));
        // Stored after the rules: a reader that sees the revision also sees its rules.
        self.revision.store(Arc::new(revision));
    }

    /// Returns the rules in force; `None` before the first [`Self::replace`].
    pub fn current(&self) -> Option<Arc<RuleSet>> {
        self.rules.load_full()
    }

    /// Borrows the rules for one answer, without a write to shared memory.
    pub(crate) fn now(&self) -> Guard<Option<Arc<RuleSet>>> {
        self.rules.load()
    }

    /// Returns the revision of the rules in force.
    pub fn revision(&self) -> Arc<Revision> {
        self.revision.load_full()
    }
}
