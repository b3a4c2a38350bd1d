//! Why an image becomes what it becomes, step by step.

use super::{
    index::RuleId,
    parse::RuleKind,
    query::ImageQuery,
    ruleset::{Decision, Reason, RuleSet},
};
use crate::reference::Reference;

/// One question asked on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// What was asked.
    pub question: TraceStage,
    /// What it came to.
    pub outcome: StageResult,
    /// The rules that matched, the one that counts first.
    pub matched: Vec<RuleId>,
}

/// The questions, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStage {
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
        // The kind of the rule that decided; `None` inside: a rule of any kind.
        let is_mirrored = reason == Reason::AlreadyMirrored;
        let decided = rule.map(|id| (!is_mirrored).then_some(self.rules()[id].kind));
        let one = |rule: Option<RuleId>| rule.into_iter().collect::<Vec<_>>();
        let prefixed = self.prefixed(&asked).map(|(rule, _)| rule).collect();
        let questions = [
            (TraceStage::AlreadyMirrored, None, one(self.already_mirrored(&asked))),
            (TraceStage::Exact, Some(RuleKind::Exact), one(self.exact(&asked))),
            (TraceStage::Replace, Some(RuleKind::Replace), one(self.replaced(&asked))),
            (TraceStage::Prefix, Some(RuleKind::Prefix), prefixed),
            (TraceStage::Noswap, Some(RuleKind::Noswap), one(self.noswap(&asked))),
            (TraceStage::Default, Some(RuleKind::Default), one(self.default_rule())),
        ];
        // No rule is evaluated for an image ID.
        let mut over = reason == Reason::ImageId;
        let step = |(question, kind, matched)| {
            let outcome = if over {
                StageResult::NotAsked
            } else if decided == Some(kind) {
                over = true;
                StageResult::Decided
            } else {
                StageResult::No(kind.map_or(targets, count))
            };
            TraceStep { question, outcome, matched }
        };
        questions.into_iter().map(step).collect()
    }
}
