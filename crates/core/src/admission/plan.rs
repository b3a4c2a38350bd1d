//! Plans the new image of each container and volume, and the record of originals.

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

/// The changes of an object.
#[derive(Debug, Default)]
pub(super) struct PatchPlan<'p> {
    /// Verdicts of all considered images, in the order of the text.
    pub(super) verdicts: Vec<ImageVerdict<'p>>,
    /// The new record of originals; `None` to keep the present one.
    pub(super) originals: Option<Originals<'p>>,
    /// True if the pull Secret is added to those of the pod.
    pub(super) adds_pull_secret: bool,
}

/// The verdict on one image.
#[derive(Debug)]
pub(super) struct ImageVerdict<'p> {
    pub(super) image: &'p PodImage<'p>,
    /// The image to use.
    pub(super) to: Cow<'p, str>,
    /// True if [`Self::to`] differs from the image in the request.
    pub(super) changed: bool,
    pub(super) outcome: ImageOutcome,
    /// True if both images are known to be references, which need no escapes in JSON.
    pub(super) are_references: bool,
    /// The error of an invalid image; `None` for a valid one.
    pub(super) error: Option<ReferenceError>,
    /// Reason of an exemption; `None` if the image is not exempt.
    pub(super) exemption: Option<&'p str>,
}

impl<'p> PatchPlan<'p> {
    /// Plans the changes that `rules` and `settings` make to the object of `request`.
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
            // The API server rejects every other change of a volume.
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
            // An image that an earlier call in this admission chain produced is not an
            // original, even if it equals the recorded one.
            let is_earlier_result = || {
                let claim = claimed.get(image).filter(|claim| known != Some(claim));
                claim.is_some_and(|claim| yields(claim, image, rules))
            };
            let verdict = match (old, known) {
                (Some(old), Some(_)) if !is_earlier_result() => {
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
            object.opts_out() || (scope == ReviewScope::Create && judge.exemption.is_some());
        let has_record = match scope {
            ReviewScope::Create => true,
            ReviewScope::Update => !verdicts.is_empty(),
            // The subresource accepts no change of annotations.
            ReviewScope::Ephemeral => false,
        };
        let adds_pull_secret = scope == ReviewScope::Create
            && !is_untouched
            && matches!(object.pull_secrets, PullSecretList::Absent | PullSecretList::Incomplete)
            && settings.pull_secret.as_ref().is_some_and(|covered| {
                // Swapped now, or in an earlier call in this admission chain.
                let is_swapped =
                    |it: &ImageVerdict<'_>| it.changed || originals.get(it.image).is_some();
                verdicts.iter().any(|it| is_swapped(it) && covered.covers(&it.to))
            });
        // The API server rejects a pod whose annotations are too large. A pod without a record
        // runs the same images.
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

/// Judge of the images of one object.
struct Judge<'p, 'r> {
    object: &'p PodView<'p>,
    rules: &'r RuleSet,
    settings: &'p Settings,
    /// Reason for which the whole pod is exempt; `None` if it is not.
    exemption: Option<&'p str>,
}

impl<'p, 'r> Judge<'p, 'r> {
    fn new(object: &'p PodView<'_>, rules: &'r RuleSet, settings: &'p Settings) -> Self {
        let exemption = object.exemption().map(|it| settings.exemptions.reason(it));
        Self { object, rules, settings, exemption }
    }

    fn is_disabled(&self, image: &PodImage<'_>) -> bool {
        self.object.opts_out() || image.never_pulled
    }

    /// Returns the verdict of the rules on `image`.
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

    /// Returns the verdict that `old` is kept if `image` is its recorded original, whatever the
    /// present rules and exemptions. `swapped` is the recorded checksum of the swapped image.
    ///
    /// An image that was set later, in an update that no webhook reviewed (no replica, or the
    /// pod was labelled), has another checksum. Keeping it would undo the user's next change.
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
    /// Returns the verdict that `old` is kept in the place of `image`.
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

/// Returns true if the volume's image `old` was swapped from `image`. A volume is immutable, so
/// the record of its creation holds; without a record, the present rules decide.
fn is_volume_of(
    image: &PodImage<'_>,
    old: &PodImage<'_>,
    recorded: &Originals<'_>,
    rules: &RuleSet,
) -> bool {
    image.written != old.written
        && (recorded.get(image) == Some(&*image.written) || yields(&image.written, old, rules))
}

/// Returns true if the rules swap `original` to `image`. A webhook may be called twice, and
/// manifests are copied, so the record in an object is trusted only on this condition.
fn yields(original: &str, image: &PodImage<'_>, rules: &RuleSet) -> bool {
    rules.swap(original).is_ok_and(|decision| decision.image == image.written)
}

/// Returns true if `image` cannot have been swapped from `original`. This is for records
/// without a checksum, which former versions wrote.
///
/// Proof is an invalid reference, or an image that the rules themselves swap, to another image
/// than `original`. Other rules may have been in effect at the time of the swap.
fn contradicts(original: &str, image: &str, rules: &RuleSet) -> bool {
    match rules.swap(image) {
        Ok(today) => {
            let is_of_original = |it: Decision<'_>| it.image == today.image;
            today.changed() && !rules.swap(original).is_ok_and(is_of_original)
        }
        Err(_) => true,
    }
}
