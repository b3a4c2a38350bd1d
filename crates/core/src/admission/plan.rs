//! What is to become of each image, and of the record of originals.

use std::borrow::Cow;

use super::{
    Outcome, Settings,
    before::Before,
    originals::Originals,
    pod::{Image, List, Object, PullSecrets},
    request::{Request, Scope},
};
use crate::{
    reference::ReferenceError,
    rule::{Reason, RuleSet},
};

/// What is to become of an object.
#[derive(Debug, Default)]
pub(super) struct Plan<'p> {
    /// One for each image that was considered, in the order of the text.
    pub(super) verdicts: Vec<Verdict<'p>>,
    /// What the record of originals is to say; `None` if that is what it says.
    pub(super) originals: Option<Originals<'p>>,
    /// Whether the pull Secret is to be added to the pod's own.
    pub(super) adds_pull_secret: bool,
}

/// What is to become of one image.
#[derive(Debug)]
pub(super) struct Verdict<'p> {
    pub(super) image: &'p Image<'p>,
    /// The image to use.
    pub(super) to: Cow<'p, str>,
    /// Whether that differs from the image as it came.
    pub(super) changed: bool,
    pub(super) outcome: Outcome,
    /// Whether both images are known to be references: nothing in one has to be escaped.
    pub(super) are_references: bool,
    /// What is wrong with an invalid image.
    pub(super) error: Option<ReferenceError>,
}

impl<'p> Plan<'p> {
    /// What `rules` make of `request`.
    pub(super) fn of(request: &'p Request<'_>, rules: &RuleSet, settings: &Settings) -> Self {
        let (Some(scope), Some(object)) = (request.scope(), &request.object) else {
            return Self::default();
        };
        let is_update = scope == Scope::Update;
        let before = Before::new(request.old_object.as_ref().filter(|_| scope != Scope::Create));
        let recorded = if is_update { before.originals() } else { Originals::default() };
        let claimed = Originals::read(&object.record);
        let mut originals = Originals::default();
        let mut verdicts = Vec::with_capacity(object.images.len());
        for (position, image) in object.images.iter().enumerate() {
            if !scope.covers(image.list) {
                continue;
            }
            let old = before.find(position, image);
            let is_immutable = is_update && image.list == List::Volumes;
            if is_immutable || old.is_some_and(|old| old.written == image.written) {
                let known = recorded.get(image);
                let claim = claimed.get(image);
                let claim =
                    claim.filter(|claim| known == Some(claim) || yields(claim, image, rules));
                if let Some(original) = claim.or(known) {
                    originals.record(image, Cow::Owned(original.to_owned()));
                }
                continue;
            }
            let known = recorded.get(image).filter(|original| *original == image.written);
            // What we made of something else when we were asked before is no original,
            // even if it reads like one.
            let is_ours = || {
                let claim = claimed.get(image).filter(|claim| known != Some(claim));
                claim.is_some_and(|claim| yields(claim, image, rules))
            };
            let verdict = match (old, known) {
                (Some(old), Some(_)) if !is_ours() => Verdict::kept(image, old, object, rules),
                _ => Verdict::of(image, object, rules),
            };
            if verdict.changed {
                originals.record(image, Cow::Borrowed(&image.written));
            } else if let Some(original) = claimed.get(image)
                && yields(original, image, rules)
            {
                originals.record(image, Cow::Owned(original.to_owned()));
            }
            verdicts.push(verdict);
        }
        let has_record = match scope {
            Scope::Create => true,
            Scope::Update => !verdicts.is_empty(),
            // The subresource takes no change of annotations.
            Scope::Ephemeral => false,
        };
        let adds_pull_secret = scope == Scope::Create
            && !object.is_left_alone()
            && matches!(object.pull_secrets, PullSecrets::Absent | PullSecrets::Others)
            && settings.pull_secret.as_ref().is_some_and(|covered| {
                // Swapped now, or when we were asked before.
                let is_swapped = |it: &Verdict<'_>| it.changed || originals.get(it.image).is_some();
                verdicts.iter().any(|it| is_swapped(it) && covered.covers(&it.to))
            });
        let is_new = has_record && !object.is_left_alone() && originals != claimed;
        Self { verdicts, originals: is_new.then_some(originals), adds_pull_secret }
    }
}

impl<'p> Verdict<'p> {
    /// What the rules make of `image`.
    fn of(image: &'p Image<'_>, object: &Object<'_>, rules: &RuleSet) -> Self {
        let stays = |outcome, error| Self {
            image,
            to: Cow::Borrowed(&*image.written),
            changed: false,
            outcome,
            are_references: false,
            error,
        };
        if object.is_left_alone() || image.never_pulled {
            return stays(Outcome::Decided(Reason::Disabled), None);
        }
        match rules.swap(&image.written) {
            Ok(decision) => Self {
                image,
                changed: decision.changed(),
                outcome: Outcome::Decided(decision.reason),
                to: decision.image,
                are_references: true,
                error: None,
            },
            Err(error) => stays(Outcome::InvalidImage, Some(error)),
        }
    }

    /// The same where `image` is the recorded original of `old`, which stays in its
    /// place, whatever the rules are by now.
    fn kept(
        image: &'p Image<'_>,
        old: &'p Image<'_>,
        object: &Object<'_>,
        rules: &RuleSet,
    ) -> Self {
        let is_left_alone = object.is_left_alone() || image.never_pulled;
        if is_left_alone || contradicts(&image.written, &old.written, rules) {
            return Self::of(image, object, rules);
        }
        Self {
            image,
            to: Cow::Borrowed(&old.written),
            changed: true,
            outcome: Outcome::Kept,
            are_references: false,
            error: None,
        }
    }
}

/// Whether the rules make `image` of `original`. A webhook may be asked twice, and
/// manifests are copied: what an object says of itself is believed on this condition.
fn yields(original: &str, image: &Image<'_>, rules: &RuleSet) -> bool {
    rules.swap(original).is_ok_and(|decision| decision.image == image.written)
}

/// Whether `image` cannot have been swapped from `original`: the rules would swap
/// it itself, and it is another image. So it came while nobody was asked (with
/// the webhook away, or the pod labelled), and keeping it would undo a change.
/// The rules may have changed since; anything less than this is no proof.
fn contradicts(original: &str, image: &str, rules: &RuleSet) -> bool {
    original.rsplit('/').next() != image.rsplit('/').next()
        && rules.swap(image).is_ok_and(|decision| decision.changed())
}
