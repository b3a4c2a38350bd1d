//! The rules in force.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use image_swap_core::rule::RuleSet;

/// The rules that requests are answered by: a handle, cheap to clone.
///
/// Replacing them does not block; a request that has begun is finished with the rules it
/// began with.
#[derive(Clone, Debug, Default)]
pub struct RulesInForce {
    rules: Arc<ArcSwapOption<RuleSet>>,
    revision: Arc<ArcSwap<Revision>>,
}

/// The declaration that rules are from, to compare two servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Name of its source; empty if unknown.
    pub source: String,
    /// Hash of its text; empty if unknown, or without a declaration.
    pub hash: String,
}

impl RulesInForce {
    /// Puts `rules` in force.
    pub fn replace(&self, rules: RuleSet) {
        self.replace_by(rules, Revision::default());
    }

    /// Puts `rules` of a known declaration in force.
    pub fn replace_by(&self, rules: RuleSet, revision: Revision) {
        self.rules.store(Some(Arc::new(rules)));
        // After the rules: readers of the revision may rely on them.
        self.revision.store(Arc::new(revision));
    }

    /// Returns the rules in force; `None` before there are any.
    pub fn current(&self) -> Option<Arc<RuleSet>> {
        self.rules.load_full()
    }

    /// Borrows the rules for the time of one answer, without a write that threads share.
    pub(crate) fn now(&self) -> Guard<Option<Arc<RuleSet>>> {
        self.rules.load()
    }

    /// Returns the declaration that the rules are from.
    pub fn revision(&self) -> Arc<Revision> {
        self.revision.load_full()
    }
}
