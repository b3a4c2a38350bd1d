//! Admission: reads an AdmissionReview and writes the complete response.
//!
//! ```text
//! bytes -> Review (the relevant fields, borrowed) -> Plan (a verdict for each image) -> bytes
//! ```
//!
//! Pods of operators that compare them, and placeholders of injectors, are exempt
//! ([`crate::workload::exempt`]).
//!
//! Every request is allowed; the changes of a pod are a JSONPatch.
//!
//! - On CREATE every image is swapped: of containers, init containers, ephemeral
//!   containers and image volumes.
//! - On UPDATE only images that differ, by name, from `oldObject`. If the new image is the recorded
//!   original of the old one, the old one is kept. So neither a rule change nor a repeated
//!   `kubectl apply` restarts a running pod. Images of volumes are immutable: they are kept or
//!   unchanged, never swapped.
//! - On the subresource `ephemeralcontainers` only images of ephemeral containers
//!   that are new or differ.
//! - The controller's probe, a `ConfigMap` in a dry run, gets an annotation that
//!   proves that a replica received it.
//! - All other requests are allowed unchanged.
//!
//! A new pod with a swapped image that the declared credential covers gets the pull Secret in
//! addition to its own ([`Settings::pull_secret`]). In a stored pod the list is immutable.
//!
//! The annotation [`ORIGINAL_IMAGES`](crate::labels::ORIGINAL_IMAGES) records the original
//! images, unless it would exceed the size that the API server accepts.

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

/// The response to a review, with counts for logs and metrics.
#[derive(Clone, Debug)]
pub struct Reviewed<'b> {
    /// The complete AdmissionReview to send, as JSON.
    pub body: Vec<u8>,
    /// Object of the request.
    pub subject: Subject<'b>,
    /// Number of images by outcome.
    pub decisions: DecisionCounts,
    /// Number of replaced images; in [`Mode::Audit`], of images that enforcement would replace.
    pub changed: usize,
    /// True if the response contains a patch.
    pub patched: bool,
}

/// Answers the AdmissionReview in `body`.
///
/// # Errors
/// Returns the error if `body` is invalid JSON, or not an AdmissionReview of
/// `admission.k8s.io/v1` with a complete request.
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

/// Returns the images that would be swapped if `pod`, a stored pod as JSON, were created now.
/// Each is given by its key in the record of originals.
///
/// # Errors
/// Returns the position if `pod` is invalid JSON.
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
