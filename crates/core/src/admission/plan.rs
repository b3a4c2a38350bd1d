//! What is to become of each image, and of the record of originals.

use std::borrow::Cow;

use super::{
    ImageOutcome, Settings,
    old_images::OldImages,
    originals::{Checksum, Originals, OriginalsDraft},
    pod::{ImageList, PodImage, PodView, PullSecretList},
    request::{Request, ReviewScope},
};
use crate::{
    reference::ReferenceError,
    rule::{Decision, Reason, RuleSet},
};

/// What is to become of an object.
#[derive(Debug, Default)]
pub(super) struct PatchPlan<'p> {
    /// One for each image that was considered, in the order of the text.
    pub(super) verdicts: Vec<ImageVerdict<'p>>,
    /// What the record of originals is to say; `None` if that is what it says.
    pub(super) originals: Option<Originals<'p>>,
    /// Whether the pull Secret is to be added to the pod's own.
    pub(super) adds_pull_secret: bool,
}

/// What is to become of one image.
#[derive(Debug)]
pub(super) struct ImageVerdict<'p> {
    pub(super) image: &'p PodImage<'p>,
    /// The image to use.
    pub(super) to: Cow<'p, str>,
    /// Whether that differs from the image as it came.
    pub(super) changed: bool,
    pub(super) outcome: ImageOutcome,
    /// Whether both images are known to be references: nothing in one has to be escaped.
    pub(super) are_references: bool,
    /// What is wrong with an invalid image.
    pub(super) error: Option<ReferenceError>,
    /// The reason of an exemption.
    pub(super) exemption: Option<&'p str>,
}

impl<'p> PatchPlan<'p> {
    /// What `rules` make of `request`.
    pub(super) fn of(request: &'p Request<'_>, rules: &RuleSet, settings: &'p Settings) -> Self {
        let (Some(scope), Some(object)) = (request.scope(), &request.object) else {
            return Self::default();
        };
        let judge = Judge::new(object, rules, settings);
        let is_update = scope == ReviewScope::Update;
        let before =
            OldImages::new(request.old_object.as_ref().filter(|_| scope != ReviewScope::Create));
        let recorded = if is_update { before.originals() } else { Originals::default() };
        let claimed = Originals::read(&object.record);
        let mut draft = OriginalsDraft::with_capacity(object.images.len());
        let mut verdicts = Vec::with_capacity(object.images.len());
        for (position, image) in object.images.iter().enumerate() {
            if !scope.covers(image.list) {
                continue;
            }
            let old = before.find(position, image);
            if is_update
                && image.list == ImageList::Volumes
                && let Some(old) = old.filter(|old| is_volume_of(image, old, &recorded, rules))
            {
                draft.record(image, Cow::Borrowed(&image.written), None);
                verdicts.push(ImageVerdict::kept(image, old));
                continue;
            }
            // The API server refuses every other change of a volume.
            let is_immutable = is_update && image.list == ImageList::Volumes;
            if is_immutable || old.is_some_and(|old| old.written == image.written) {
                let known = recorded.get(image);
                let claim = claimed.get(image).filter(|claim| known != Some(claim));
                let claim = claim.filter(|claim| yields(claim, image, rules));
                let swapped = match claim {
                    Some(_) => claimed.swapped(image).map(|_| Checksum::of(&image.written)),
                    None => recorded.swapped(image),
                };
                if let Some(original) = claim.or(known) {
                    draft.record(image, Cow::Owned(original.to_owned()), swapped);
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
                (Some(old), Some(_)) if !is_ours() => {
                    judge.keep(image, old, recorded.swapped(image))
                }
                _ => judge.decide(image),
            };
            if verdict.changed {
                let swapped = match verdict.outcome {
                    ImageOutcome::Kept => recorded.swapped(image),
                    _ => Some(Checksum::of(&verdict.to)),
                };
                draft.record(image, Cow::Borrowed(&image.written), swapped);
            } else if let Some(original) = claimed.get(image)
                && yields(original, image, rules)
            {
                let swapped = claimed.swapped(image).map(|_| Checksum::of(&image.written));
                draft.record(image, Cow::Owned(original.to_owned()), swapped);
            }
            verdicts.push(verdict);
        }
        let mut originals = draft.finish();
        let is_untouched =
            object.is_left_alone() || (scope == ReviewScope::Create && judge.exemption.is_some());
        let has_record = match scope {
            ReviewScope::Create => true,
            ReviewScope::Update => !verdicts.is_empty(),
            // The subresource takes no change of annotations.
            ReviewScope::Ephemeral => false,
        };
        let adds_pull_secret = scope == ReviewScope::Create
            && !is_untouched
            && matches!(object.pull_secrets, PullSecretList::Absent | PullSecretList::Others)
            && settings.pull_secret.as_ref().is_some_and(|covered| {
                // Swapped now, or when we were asked before.
                let is_swapped =
                    |it: &ImageVerdict<'_>| it.changed || originals.get(it.image).is_some();
                verdicts.iter().any(|it| is_swapped(it) && covered.covers(&it.to))
            });
        // The API server refuses a pod whose annotations are too large. One without a
        // record runs the same images.
        if !originals.is_empty()
            && !object.has_room_for(originals.len_at_most())
            && !object.has_room_for(originals.len())
        {
            originals = Originals::default();
        }
        let is_new = has_record && !is_untouched && originals != claimed;
        Self { verdicts, originals: is_new.then_some(originals), adds_pull_secret }
    }
}

/// Decides on the images of one object.
struct Judge<'p, 'r> {
    object: &'p PodView<'p>,
    rules: &'r RuleSet,
    settings: &'p Settings,
    /// The reason for which the whole pod is exempt.
    exemption: Option<&'p str>,
}

impl<'p, 'r> Judge<'p, 'r> {
    fn new(object: &'p PodView<'_>, rules: &'r RuleSet, settings: &'p Settings) -> Self {
        let exemption = object.exemption().map(|it| settings.exemptions.reason(it));
        Self { object, rules, settings, exemption }
    }

    fn is_disabled(&self, image: &PodImage<'_>) -> bool {
        self.object.is_left_alone() || image.never_pulled
    }

    /// Returns what the rules make of `image`.
    fn decide(&self, image: &'p PodImage<'_>) -> ImageVerdict<'p> {
        let stays = |outcome| ImageVerdict {
            image,
            to: Cow::Borrowed(&*image.written),
            changed: false,
            outcome,
            are_references: false,
            error: None,
            exemption: None,
        };
        if self.is_disabled(image) {
            return stays(ImageOutcome::Decided(Reason::Disabled));
        }
        let exemptions = &self.settings.exemptions;
        let is_marked = self.object.is_marked();
        let of_image = || exemptions.image(&image.written, &image.name, is_marked);
        if let Some(reason) = self.exemption.or_else(of_image) {
            return ImageVerdict { exemption: Some(reason), ..stays(ImageOutcome::Exempt) };
        }
        match self.rules.swap(&image.written) {
            Ok(decision) => ImageVerdict {
                changed: decision.changed(),
                to: decision.image,
                are_references: true,
                ..stays(ImageOutcome::Decided(decision.reason))
            },
            Err(error) => ImageVerdict { error: Some(error), ..stays(ImageOutcome::InvalidImage) },
        }
    }

    /// Returns the same where `image` is the recorded original of `old`, which stays in
    /// its place if it was put there, whatever the rules and the exemptions are today.
    /// `swapped` is the checksum of what was put there. An image that another one
    /// replaced since, in an update that no webhook reviewed (with no replica, or the pod
    /// labelled), must not come back: that would undo the user's next change.
    fn keep(
        &self,
        image: &'p PodImage<'_>,
        old: &'p PodImage<'_>,
        swapped: Option<Checksum>,
    ) -> ImageVerdict<'p> {
        let was_replaced = || match swapped {
            Some(swapped) => swapped != Checksum::of(&old.written),
            None => contradicts(&image.written, &old.written, self.rules),
        };
        if self.is_disabled(image) || was_replaced() {
            return self.decide(image);
        }
        ImageVerdict::kept(image, old)
    }
}

impl<'p> ImageVerdict<'p> {
    /// Returns the verdict that `old` stays in the place of `image`.
    fn kept(image: &'p PodImage<'_>, old: &'p PodImage<'_>) -> Self {
        Self {
            image,
            to: Cow::Borrowed(&old.written),
            changed: true,
            outcome: ImageOutcome::Kept,
            are_references: false,
            error: None,
            exemption: None,
        }
    }
}

/// Returns true if the volume's image `old` was swapped from `image`. A volume is
/// immutable: what was recorded at its creation holds, and so does what the rules make
/// of it where there is no record.
fn is_volume_of(
    image: &PodImage<'_>,
    old: &PodImage<'_>,
    recorded: &Originals<'_>,
    rules: &RuleSet,
) -> bool {
    image.written != old.written
        && (recorded.get(image) == Some(&*image.written) || yields(&image.written, old, rules))
}

/// Whether the rules make `image` of `original`. A webhook may be asked twice, and
/// manifests are copied: what an object says of itself is believed on this condition.
fn yields(original: &str, image: &PodImage<'_>, rules: &RuleSet) -> bool {
    rules.swap(original).is_ok_and(|decision| decision.image == image.written)
}

/// Returns true if `image` cannot have been swapped from `original`: for records without
/// a checksum, as former versions wrote them. It is no reference at all, or the rules
/// swap it itself, and to another image than `original`. Anything less is no proof: other
/// rules may have been in force when it was swapped.
fn contradicts(original: &str, image: &str, rules: &RuleSet) -> bool {
    match rules.swap(image) {
        Ok(today) => {
            let is_of_original = |it: Decision<'_>| it.image == today.image;
            today.changed() && !rules.swap(original).is_ok_and(is_of_original)
        }
        Err(_) => true,
    }
}
