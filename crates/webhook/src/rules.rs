//! The rules that are in force.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use image_swap_core::rule::RuleSet;

/// The rules that requests are answered by: a handle, cheap to clone.
///
/// Replacing them waits for nobody; a request that has begun is finished with
/// the rules it began with.
#[derive(Clone, Debug, Default)]
pub struct RulesInForce {
    rules: Arc<ArcSwapOption<RuleSet>>,
    revision: Arc<ArcSwap<Revision>>,
}

/// Which declaration rules are from, for those who ask whether two servers have
/// the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// Whose it is; empty if nobody said.
    pub source: String,
    /// The hash of its text; empty if nobody said, or there is none.
    pub hash: String,
}

impl RulesInForce {
    /// Puts `rules` in force.
    pub fn replace(&self, rules: RuleSet) {
        self.replace_by(rules, Revision::default());
    }

    /// The same, of a declaration that has a name.
    pub fn replace_by(&self, rules: RuleSet, revision: Revision) {
        self.rules.store(Some(Arc::new(rules)));
        // After the rules: who reads it may rely on them.
        self.revision.store(Arc::new(revision));
    }

    /// The rules in force; `None` before there are any.
    pub fn current(&self) -> Option<Arc<RuleSet>> {
        self.rules.load_full()
    }

    /// The same for the time of one answer: it writes nothing that threads share.
    pub(crate) fn now(&self) -> Guard<Option<Arc<RuleSet>>> {
        self.rules.load()
    }

    /// Which declaration they are from.
    pub fn revision(&self) -> Arc<Revision> {
        self.revision.load_full()
    }
}
