//! Why an image becomes what it becomes, step by step.

use super::{
    index::{RuleId, StringPrefix},
    parse::RuleKind,
    query::ImageQuery,
    ruleset::{Decision, Reason, RuleSet},
};
use crate::reference::Reference;

/// One question asked on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// What was asked.
    pub question: Stage,
    /// What it came to.
    pub outcome: StageResult,
    /// The rules that matched, the one that counts first.
    pub matched: Vec<RuleId>,
}

/// The questions, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Does it lie below a target already?
    AlreadyMirrored,
    /// Is it an `[EXACT]` source?
    Exact,
    /// Does a `[REPLACE]` pattern match it?
    Replace,
    /// Which key is the longest beginning of its name?
    Prefix,
    /// Does its name hold one of `noswap_wildcards`?
    Noswap,
    /// Is there a default?
    Default,
}

/// What a question came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageResult {
    /// It decided.
    Decided,
    /// Nothing matched; so many rules could have.
    No(usize),
    /// An earlier question had decided.
    NotAsked,
}

impl RuleSet {
    /// How the decision about `image`, parsed as `reference`, came about.
    pub fn trace(&self, image: &str, reference: &Reference<'_>) -> Vec<TraceStep> {
        let asked = ImageQuery::new(image, reference, true);
        let Decision { reason, rule, .. } = self.decide(image, reference);
        let count = |kind| self.rules().iter().filter(|rule| rule.kind == kind).count();
        let targets = (0..self.rules().len()).filter(|id| self.target(*id).is_some()).count();
        let decided = match (reason, rule.map(|id| self.rules()[id].kind)) {
            (Reason::AlreadyMirrored, _) => Some(Stage::AlreadyMirrored),
            (_, Some(RuleKind::Exact)) => Some(Stage::Exact),
            (_, Some(RuleKind::Replace)) => Some(Stage::Replace),
            (_, Some(RuleKind::Prefix)) => Some(Stage::Prefix),
            (_, Some(RuleKind::Noswap)) => Some(Stage::Noswap),
            (_, Some(RuleKind::Default)) => Some(Stage::Default),
            (_, None) => None,
        };
        let prefixed = self.prefixed(&asked).map(|StringPrefix { rule, .. }| rule).collect();
        let one = |rule: Option<RuleId>| rule.into_iter().collect::<Vec<_>>();
        let questions = [
            (Stage::AlreadyMirrored, targets, one(self.already_mirrored(&asked))),
            (Stage::Exact, count(RuleKind::Exact), one(self.exact(&asked))),
            (Stage::Replace, count(RuleKind::Replace), one(self.replaced(&asked))),
            (Stage::Prefix, count(RuleKind::Prefix), prefixed),
            (Stage::Noswap, count(RuleKind::Noswap), one(self.noswap(&asked))),
            (Stage::Default, count(RuleKind::Default), one(self.default_rule())),
        ];
        // No rule is evaluated for an image ID.
        let mut over = reason == Reason::ImageId;
        let step = |(question, rules, matched)| {
            let outcome = if over {
                StageResult::NotAsked
            } else if decided == Some(question) {
                over = true;
                StageResult::Decided
            } else {
                StageResult::No(rules)
            };
            TraceStep { question, outcome, matched }
        };
        questions.into_iter().map(step).collect()
    }
}
