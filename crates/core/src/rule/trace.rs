//! Why an image becomes what it becomes, step by step.

use super::{
    asked::Asked,
    map::Kind,
    ruleset::{Decision, Reason, RuleSet},
    table::{Beginning, RuleId},
};
use crate::reference::Reference;

/// One question asked on the way to a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was asked.
    pub question: Question,
    /// What it came to.
    pub outcome: Outcome,
    /// The rules that matched, the one that counts first.
    pub matched: Vec<RuleId>,
}

/// The questions, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
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
pub enum Outcome {
    /// It decided.
    Decided,
    /// Nothing matched; so many rules could have.
    No(usize),
    /// An earlier question had decided.
    NotAsked,
}

impl RuleSet {
    /// How the decision about `image`, parsed as `reference`, came about.
    pub fn trace(&self, image: &str, reference: &Reference<'_>) -> Vec<Step> {
        let asked = Asked::new(image, reference, true);
        let Decision { reason, rule, .. } = self.decide(image, reference);
        let count = |kind| self.rules().iter().filter(|rule| rule.kind == kind).count();
        let targets = (0..self.rules().len()).filter(|id| self.target(*id).is_some()).count();
        let decided = match (reason, rule.map(|id| self.rules()[id].kind)) {
            (Reason::AlreadyMirrored, _) => Some(Question::AlreadyMirrored),
            (_, Some(Kind::Exact)) => Some(Question::Exact),
            (_, Some(Kind::Replace)) => Some(Question::Replace),
            (_, Some(Kind::Prefix)) => Some(Question::Prefix),
            (_, Some(Kind::Noswap)) => Some(Question::Noswap),
            (_, Some(Kind::Default)) => Some(Question::Default),
            (_, None) => None,
        };
        let prefixed = self.prefixed(&asked).map(|Beginning { rule, .. }| rule).collect();
        let one = |rule: Option<RuleId>| rule.into_iter().collect::<Vec<_>>();
        let questions = [
            (Question::AlreadyMirrored, targets, one(self.already_mirrored(&asked))),
            (Question::Exact, count(Kind::Exact), one(self.exact(&asked))),
            (Question::Replace, count(Kind::Replace), one(self.replaced(&asked))),
            (Question::Prefix, count(Kind::Prefix), prefixed),
            (Question::Noswap, count(Kind::Noswap), one(self.noswap(&asked))),
            (Question::Default, count(Kind::Default), one(self.default_rule())),
        ];
        // Of an image ID no rule is asked.
        let mut over = reason == Reason::ImageId;
        let step = |(question, rules, matched)| {
            let outcome = if over {
                Outcome::NotAsked
            } else if decided == Some(question) {
                over = true;
                Outcome::Decided
            } else {
                Outcome::No(rules)
            };
            Step { question, outcome, matched }
        };
        questions.into_iter().map(step).collect()
    }
}
