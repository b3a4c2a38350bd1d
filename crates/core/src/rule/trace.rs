//! Explains a decision about an image, step by step.

use super::{
    index::RuleId,
    parse::RuleKind,
    query::ImageQuery,
    ruleset::{Decision, Reason, RuleSet},
};
use crate::reference::Reference;

/// One step of the evaluation of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceStep {
    /// Stage that was evaluated.
    pub stage: TraceStage,
    /// Result of the stage.
    pub outcome: StageResult,
    /// Matching rules, the effective one first; empty if none matched.
    pub matched: Vec<RuleId>,
}

/// The stages of evaluation, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceStage {
    /// The image is below a target already.
    AlreadyMirrored,
    /// The image is an `[EXACT]` source.
    Exact,
    /// A `[REPLACE]` pattern matches the image.
    Replace,
    /// The key with the longest prefix of the name.
    Prefix,
    /// The name contains an element of `noswap_wildcards`.
    Noswap,
    /// There is a default.
    Default,
}

/// Result of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageResult {
    /// The stage decided.
    Decided,
    /// No rule matched; the number of rules that were candidates.
    No(usize),
    /// The stage was not evaluated, because an earlier one had decided.
    Skipped,
}

impl RuleSet {
    /// Returns the steps of the decision about `image`, which was parsed as `reference`.
    ///
    /// # Examples
    /// ```
    /// use image_swap_core::{
    ///     reference::Reference,
    ///     rule::{
    ///         RuleSet, StageResult, TraceStage,
    ///         parse::{self, MapForm},
    ///     },
    /// };
    ///
    /// let rules = parse::rules("quay.io::h.io/q, default::h.io/d", MapForm::List).0;
    /// let rules = RuleSet::new(rules);
    /// let image = "quay.io/a/b";
    /// let steps = rules.trace(image, &Reference::parse(image)?);
    /// let decided = steps.iter().find(|step| step.outcome == StageResult::Decided).unwrap();
    /// assert_eq!((decided.stage, &decided.matched[..]), (TraceStage::Prefix, &[0][..]));
    /// # Ok::<(), image_swap_core::reference::ReferenceError>(())
    /// ```
    pub fn trace(&self, image: &str, reference: &Reference<'_>) -> Vec<TraceStep> {
        let query = ImageQuery::new(image, reference, true);
        let Decision { reason, rule, .. } = self.decide(image, reference);
        let count = |kind| self.rules().iter().filter(|rule| rule.kind == kind).count();
        let targets = (0..self.rules().len()).filter(|id| self.target(*id).is_some()).count();
        // Kind of the deciding rule; the inner `None` stands for a rule of any kind.
        let is_mirrored = reason == Reason::AlreadyMirrored;
        let decided = rule.map(|id| (!is_mirrored).then_some(self.rules()[id].kind));
        let one = |rule: Option<RuleId>| rule.into_iter().collect::<Vec<_>>();
        let prefixed = self.prefixed(&query).map(|(rule, _)| rule).collect();
        let stages = [
            (TraceStage::AlreadyMirrored, None, one(self.already_mirrored(&query))),
            (TraceStage::Exact, Some(RuleKind::Exact), one(self.exact(&query))),
            (TraceStage::Replace, Some(RuleKind::Replace), one(self.replaced(&query))),
            (TraceStage::Prefix, Some(RuleKind::Prefix), prefixed),
            (TraceStage::Noswap, Some(RuleKind::Noswap), one(self.noswap(&query))),
            (TraceStage::Default, Some(RuleKind::Default), one(self.default_rule())),
        ];
        // No rule is evaluated for an image ID.
        let mut over = reason == Reason::ImageId;
        let step = |(stage, kind, matched)| {
            let outcome = if over {
                StageResult::Skipped
            } else if decided == Some(kind) {
                over = true;
                StageResult::Decided
            } else {
                StageResult::No(kind.map_or(targets, count))
            };
            TraceStep { stage, outcome, matched }
        };
        stages.into_iter().map(step).collect()
    }
}
