//! The rules that are in force.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use image_swap_core::rule::RuleSet;

/// The rules that requests are answered by: a handle, cheap to clone.
///
/// Replacing them waits for nobody; a request that has begun is finished with
/// the rules it began with.
#[derive(Clone, Debug, Default)]
pub struct RulesInForce(Arc<ArcSwapOption<RuleSet>>);

impl RulesInForce {
    /// Puts `rules` in force.
    pub fn replace(&self, rules: RuleSet) {
        self.0.store(Some(Arc::new(rules)));
    }

    /// The rules in force; `None` before there are any.
    pub fn current(&self) -> Option<Arc<RuleSet>> {
        self.0.load_full()
    }
}
