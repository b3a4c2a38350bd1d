//! Admission: an AdmissionReview in, the complete answer out.
//!
//! ```text
//! bytes -> Review (what matters of it, borrowed) -> Plan (a verdict an image) -> bytes
//! ```
//!
//! Pods of operators that compare them, and placeholders of injectors, are exempt
//! ([`crate::workload::exempt`]).
//!
//! Every request is allowed; what a pod should look like instead is a JSONPatch.
//!
//! - On CREATE every image is swapped: of containers, init containers, ephemeral
//!   containers and image volumes.
//! - On UPDATE only images that differ, by name, from `oldObject`. Where the new image
//!   is the recorded original of the old one, the old one is kept, so that neither a
//!   rule change nor a repeated `kubectl apply` restarts a running pod. Images of
//!   volumes are immutable: they are kept or left as they are, never swapped.
//! - On the subresource `ephemeralcontainers` only images of ephemeral containers
//!   that are new or differ.
//! - The controller's probe, a `ConfigMap` that is created dry, gets an annotation
//!   that shows that it was here.
//! - Anything else is allowed as it is.
//!
//! A new pod with an image that was swapped to where the declared credential is for
//! gets the pull Secret beside its own ([`Settings::pull_secret`]). Later the list is
//! immutable.
//!
//! The annotation [`ORIGINAL_IMAGES`](crate::labels::ORIGINAL_IMAGES) records the original images, unless it would exceed the
//! size that the API server accepts.

mod error;
mod old_images;
mod originals;
mod outcome;
mod plan;
mod pod;
mod request;
mod response;
mod settings;

use std::collections::BTreeSet;

pub use self::error::{QuotedValue, ReviewError};
pub use self::outcome::{DecisionCounts, ImageOutcome};
pub use self::request::Subject;
pub use self::settings::{Mode, Settings, UnknownMode};
use self::{
    plan::PatchPlan,
    request::{Request, Review},
};
use crate::rule::RuleSet;

/// The answer to a review, and what became of it.
#[derive(Clone, Debug)]
pub struct Reviewed<'b> {
    /// The complete AdmissionReview to send, as JSON.
    pub body: Vec<u8>,
    /// What was asked about.
    pub subject: Subject<'b>,
    /// How often each outcome was reached: one an image that was considered.
    pub decisions: DecisionCounts,
    /// How many image values were replaced, or would have been in [`Mode::Audit`].
    pub changed: usize,
    /// Whether the answer holds a patch.
    pub patched: bool,
}

/// Answers the AdmissionReview in `body`.
///
/// # Errors
/// If `body` is no JSON, or no AdmissionReview of `admission.k8s.io/v1` with a
/// request that can be answered.
pub fn review<'b>(
    body: &'b [u8],
    rules: &RuleSet,
    settings: &Settings,
) -> Result<Reviewed<'b>, ReviewError> {
    let request = Review::read(body, settings)?.into_request()?;
    let plan = PatchPlan::of(&request, rules, settings);
    let mut decisions = DecisionCounts::default();
    for verdict in &plan.verdicts {
        decisions.count(verdict.outcome);
    }
    let (body, patched) = response::write(&request, &plan, settings.mode);
    Ok(Reviewed {
        body,
        decisions,
        changed: plan.verdicts.iter().filter(|verdict| verdict.changed).count(),
        patched,
        subject: request.into_subject(),
    })
}

/// Returns the images of `pod`, a stored pod as JSON, that would be swapped if the pod were
/// created now: each by its name in the record of originals.
///
/// # Errors
/// If `pod` is invalid JSON.
pub fn to_swap(
    pod: &[u8],
    rules: &RuleSet,
    settings: &Settings,
) -> Result<BTreeSet<String>, ReviewError> {
    let request = Request::creation(pod, settings)?;
    let plan = PatchPlan::of(&request, rules, settings);
    let changed = plan.verdicts.iter().filter(|verdict| verdict.changed);
    Ok(changed.filter_map(|verdict| Some(verdict.image.record_key()?.into_owned())).collect())
}

#[cfg(test)]
mod tests;
