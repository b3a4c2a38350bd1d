//! Input of the checks.

use crate::{
    declaration::registry::Registry,
    mirror::MirrorTable,
    rule::{Rule, RuleId, RuleSet, Target},
};

/// The rules of a declaration, with their text and the declared registry.
#[derive(Clone, Copy, Debug)]
pub struct Linter<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// The mirrors that nodes use for the rules.
    pub mirrors: &'a MirrorTable,
    /// The text that the rules were read from.
    pub text: &'a str,
    /// Key of the declaration whose value contains the rules; `None` for a file of rules alone.
    pub key: Option<&'static str>,
    /// The declared registry; `None` if none was declared.
    pub registry: Option<&'a Registry>,
}

impl<'a> Linter<'a> {
    pub(super) fn each(&self) -> impl Iterator<Item = (RuleId, &'a Rule)> + use<'a> {
        self.rules.rules().iter().enumerate()
    }

    /// Returns each rule that has a target, and the target.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&'a Rule, &'a Target)> + use<'a> {
        let rules = self.rules;
        self.each().filter_map(|(id, rule)| Some((rule, rules.target(id)?)))
    }

    pub(super) fn rule(&self, id: RuleId) -> &'a Rule {
        &self.rules.rules()[id]
    }
}
