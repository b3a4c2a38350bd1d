//! Writes the response.

use image_swap_text::{
    base64,
    json::{
        patch::{
            Op, Patch,
            Segment::{Index, Key, Keys},
        },
        push_nested_plain, push_nested_string, push_string,
    },
};

use super::{
    Mode,
    originals::Originals,
    plan::{ImageVerdict, PatchPlan},
    pod::{AnnotationState, ImageList, PullSecretList},
    request::Request,
};
use crate::{labels, pull_secret, reference::ReferenceError};

/// Maximal size of the decisions in the audit annotation, in bytes.
const DECISIONS_MAX: usize = 64 * 1024;
/// Maximal number of images with a warning; the API server drops warnings beyond 4096 bytes.
const WARNINGS_MAX: usize = 8;
/// Maximal length of a warning before the API server truncates it, in bytes.
const WARNING_MAX: usize = 256;
/// Maximal length of a name in a warning, in characters; valid names are shorter.
const NAME_MAX: usize = "volume:".len() + 63;

/// Returns the response, and true if it contains a patch.
pub(super) fn write(request: &Request<'_>, plan: &PatchPlan<'_>, mode: Mode) -> (Vec<u8>, bool) {
    // Approximate bytes that each image adds to patch, record and decisions.
    let mut out = Vec::with_capacity(512 + plan.verdicts.len() * 768);
    out.extend_from_slice(
        br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"#,
    );
    push_string(&mut out, &request.uid);
    out.extend_from_slice(br#","allowed":true"#);
    let mut patched = false;
    if request.is_probe() {
        push_reached(&mut out);
        patched = true;
    } else if mode == Mode::Enforce {
        patched = push_patch(&mut out, request, plan);
        push_warnings(&mut out, plan);
    }
    push_audit_annotations(&mut out, plan);
    out.extend_from_slice(b"}}");
    (out, patched)
}

/// Adds the annotation which proves that a replica received the probe, in any mode.
fn push_reached(out: &mut Vec<u8>) {
    let mut patch = Patch::with_capacity(128);
    let place = [Key("metadata"), Key("annotations"), Key(labels::PROBE_REACHED)];
    patch.set(Op::Add, &place, labels::REACHED);
    push_json_patch(out, patch);
    out.extend_from_slice(br#","warnings":["#);
    push_string(out, labels::REACHED_WARNING);
    out.push(b']');
}

fn push_json_patch(out: &mut Vec<u8>, patch: Patch) {
    out.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
    base64::push(out, &patch.finish());
    out.push(b'"');
}

fn push_patch(out: &mut Vec<u8>, request: &Request<'_>, plan: &PatchPlan<'_>) -> bool {
    let mut patch = Patch::with_capacity(256 + plan.verdicts.len() * 256);
    for verdict in plan.verdicts.iter().filter(|verdict| verdict.changed) {
        replace_image(&mut patch, verdict);
    }
    if let (Some(originals), Some(object)) = (&plan.originals, &request.object) {
        put_record(&mut patch, &object.record, originals);
    }
    if let (true, Some(object)) = (plan.adds_pull_secret, &request.object) {
        add_pull_secret(&mut patch, object.pull_secrets);
    }
    if patch.is_empty() {
        return false;
    }
    push_json_patch(out, patch);
    true
}

fn replace_image(patch: &mut Patch, verdict: &ImageVerdict<'_>) {
    let ImageVerdict { image, to, are_references, .. } = verdict;
    let (list, value) = match image.list {
        ImageList::InitContainers => ("spec/initContainers", "image"),
        ImageList::Containers => ("spec/containers", "image"),
        ImageList::EphemeralContainers => ("spec/ephemeralContainers", "image"),
        ImageList::Volumes => ("spec/volumes", "image/reference"),
    };
    let place = [Keys(list), Index(image.index), Keys(value)];
    if *are_references {
        patch.set_plain(Op::Replace, &place, to);
    } else {
        patch.set(Op::Replace, &place, to);
    }
}

/// Adds the operations that set the record to `originals`.
fn put_record(patch: &mut Patch, record: &AnnotationState<'_>, originals: &Originals<'_>) {
    let annotation = [Key("metadata"), Key("annotations"), Key(labels::ORIGINAL_IMAGES)];
    let value = |out: &mut Vec<u8>| originals.push_quoted(out);
    let member = |out: &mut Vec<u8>| {
        out.push(b'{');
        push_string(out, labels::ORIGINAL_IMAGES);
        out.push(b':');
        value(out);
        out.push(b'}');
    };
    match record {
        AnnotationState::Text(_) if originals.is_empty() => patch.remove(&annotation),
        AnnotationState::Text(_) => patch.set_with(Op::Replace, &annotation, value),
        AnnotationState::Absent => patch.set_with(Op::Add, &annotation, value),
        AnnotationState::NoAnnotations => patch.set_with(Op::Add, &annotation[..2], member),
        AnnotationState::NoMetadata => patch.set_with(Op::Add, &annotation[..1], |out| {
            out.extend_from_slice(br#"{"annotations":"#);
            member(out);
            out.push(b'}');
        }),
        AnnotationState::Blocked => {}
    }
}

/// Appends the pull Secret to those of the pod.
fn add_pull_secret(patch: &mut Patch, found: PullSecretList) {
    let list = [Key("spec"), Key("imagePullSecrets"), Key("-")];
    let item = |out: &mut Vec<u8>| {
        out.extend_from_slice(br#"{"name":"#);
        push_string(out, pull_secret::NAME);
        out.push(b'}');
    };
    match found {
        PullSecretList::Absent => patch.set_with(Op::Add, &list[..2], |out| {
            out.push(b'[');
            item(out);
            out.push(b']');
        }),
        PullSecretList::Incomplete => patch.set_with(Op::Add, &list, item),
        PullSecretList::Complete | PullSecretList::Blocked => {}
    }
}

fn push_warnings(out: &mut Vec<u8>, plan: &PatchPlan<'_>) {
    let mut count = 0;
    for verdict in &plan.verdicts {
        let Some(error) = &verdict.error else { continue };
        count += 1;
        if count > WARNINGS_MAX {
            continue;
        }
        out.extend_from_slice(if count == 1 { br#","warnings":["# } else { b"," });
        let key = verdict.image.record_key().unwrap_or_default();
        let name: String = key.chars().take(NAME_MAX).collect();
        let ReferenceError { expected, character, .. } = error;
        let mut warning = format!(
            "image-swap: image of {name:?} not swapped: expected {expected} at character \
             {character}"
        );
        warning.truncate(warning.floor_char_boundary(WARNING_MAX));
        push_string(out, &warning);
    }
    if count > WARNINGS_MAX {
        out.push(b',');
        let more = count - WARNINGS_MAX;
        push_string(out, &format!("image-swap: {more} more invalid images are not swapped"));
    }
    if count > 0 {
        out.push(b']');
    }
}

fn push_audit_annotations(out: &mut Vec<u8>, plan: &PatchPlan<'_>) {
    if plan.verdicts.is_empty() {
        return;
    }
    out.extend_from_slice(br#","auditAnnotations":{"decisions":"{"#);
    let start = out.len();
    for (index, verdict) in plan.verdicts.iter().enumerate() {
        let end = out.len();
        if index > 0 {
            out.push(b',');
        }
        push_decision(out, verdict);
        if out.len() - start > DECISIONS_MAX {
            out.truncate(end);
            out.extend_from_slice(if index > 0 { b"," } else { b"" });
            out.extend_from_slice(br#"\"truncated\":true"#);
            break;
        }
    }
    out.extend_from_slice(br#"}"}"#);
}

/// Writes a member of a JSON object, escaped within a JSON string.
fn push_decision(out: &mut Vec<u8>, verdict: &ImageVerdict<'_>) {
    let push_image = if verdict.are_references { push_nested_plain } else { push_nested_string };
    push_nested_string(out, &verdict.image.record_key().unwrap_or_default());
    out.extend_from_slice(br#":{\"from\":"#);
    push_image(out, &verdict.image.written);
    out.extend_from_slice(br#",\"to\":"#);
    push_image(out, &verdict.to);
    out.extend_from_slice(br#",\"reason\":"#);
    match verdict.exemption {
        Some(reason) => push_nested_string(out, &format!("{}: {reason}", verdict.outcome.as_str())),
        None => push_nested_plain(out, verdict.outcome.as_str()),
    }
    out.push(b'}');
}
