//! Reviews of Cluster API's machine templates: a new one gets the bootstrap script, and an update
//! keeps it.
//!
//! The entry refers to the Secret [`BOOTSTRAP_SECRET`](crate::labels::BOOTSTRAP_SECRET), so a
//! changed script changes no template, and replaces no machine.

mod condition;
mod plan;
mod references;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use image_swap_text::base64;
use serde_json::{Value, json};

use self::plan::{TemplateOperation, plan};
pub use self::{
    condition::loss_conditions,
    references::{ScriptReference, listed},
};
use crate::render::cluster_api::{BootstrapProvider, MACHINE_KINDS, MachineKind};

/// A review that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateReviewError {
    /// Invalid JSON.
    #[error("expected an AdmissionReview as JSON, found invalid JSON")]
    Syntax,
    /// A review without an identity.
    #[error("expected an AdmissionReview with request.uid, found none")]
    Uid,
}

/// The answer to a review.
#[derive(Clone, Debug, PartialEq)]
pub struct ReviewedTemplate {
    /// The `AdmissionReview`, in JSON.
    pub body: Vec<u8>,
    /// True if the answer contains a patch.
    pub patched: bool,
}

/// Returns the kinds that are reviewed.
pub fn reviewed_kinds() -> impl Iterator<Item = &'static MachineKind> {
    MACHINE_KINDS.iter().filter(|kind| kind.provider == BootstrapProvider::Kubeadm)
}

/// Reviews the request `body`. `namespaces` contain the Secret with the script. Every object is
/// allowed.
///
/// # Errors
/// The request cannot be read.
pub fn review(
    body: &[u8],
    namespaces: &BTreeSet<String>,
) -> Result<ReviewedTemplate, TemplateReviewError> {
    let review: Value = serde_json::from_slice(body).map_err(|_| TemplateReviewError::Syntax)?;
    let request = &review["request"];
    let uid = request["uid"].as_str().filter(|uid| !uid.is_empty());
    let uid = uid.ok_or(TemplateReviewError::Uid)?;
    let patch = patch(request, namespaces);
    let mut response = json!({ "uid": uid, "allowed": true });
    let patched = !patch.is_empty();
    if patched {
        let text = Value::from(patch).to_string();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(base64::encode(text));
    }
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    });
    Ok(ReviewedTemplate { body: answer.to_string().into_bytes(), patched })
}

/// Returns the JSON patch for `request`; empty if the object stays as it is.
fn patch(request: &Value, namespaces: &BTreeSet<String>) -> Vec<Value> {
    let text = |value: &'_ Value| value.as_str().unwrap_or_default().to_owned();
    let (group, name) = (text(&request["kind"]["group"]), text(&request["kind"]["kind"]));
    let Some(kind) = reviewed_kinds().find(|kind| kind.group == group && kind.name == name) else {
        return Vec::new();
    };
    if !text(&request["subResource"]).is_empty() {
        return Vec::new();
    }
    let object = &request["object"];
    let operation = match &*text(&request["operation"]) {
        "CREATE" => TemplateOperation::Create {
            has_secret: namespaces.contains(&text(&request["namespace"])),
        },
        "UPDATE" => TemplateOperation::Update { before: &request["oldObject"] },
        _ => return Vec::new(),
    };
    plan(kind, &operation, object)
}
