//! Builds reviews as JSON and applies the patches with an independent crate.

mod audit;
mod create;
mod envelope;
mod ephemeral;
mod exempt;
mod hostile;
mod laws;
mod probe;
mod pull_secret;
mod record;
mod unchanged;
mod update;
mod warnings;

use crate::labels;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_testkit::review as mk_review;
use serde_json::{Value, json};

use super::{DecisionCounts, ImageOutcome, Mode, ReviewError, Settings, review};
use crate::rule::{
    RuleSet,
    parse::{self, MapForm},
};

/// Rules of the tests: two registries, and none for quay.io.
const RULES: &str = "docker.io::h.example/d,gcr.io::h.example/g";

fn rules(list: &str) -> RuleSet {
    RuleSet::new(parse::rules(list, MapForm::List).0)
}

fn settings(mode: Mode) -> Settings {
    Settings { mode, ..Settings::default() }
}

fn mk_container(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image, "resources": {}, "imagePullPolicy": "IfNotPresent"})
}

/// Returns a pod with a container for each pair of name and image.
fn mk_pod(containers: &[(&str, &str)]) -> Value {
    let containers: Vec<_> = containers.iter().map(|(n, i)| mk_container(n, i)).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": containers, "restartPolicy": "Always"},
    })
}

/// Returns such a pod with the record of originals.
fn mk_recorded_pod(containers: &[(&str, &str)], originals: &Value) -> Value {
    let mut pod = mk_pod(containers);
    pod["metadata"]["annotations"] =
        json!({labels::ORIGINAL_IMAGES: originals.to_string(), "other": "kept"});
    pod
}

/// A parsed response.
#[derive(Debug)]
struct Answer {
    /// Operations of the patch; empty without a patch.
    patch: Vec<Value>,
    /// Object with the patch applied.
    object: Value,
    warnings: Vec<String>,
    /// Decisions by name; null if there are none.
    decisions: Value,
    tally: DecisionCounts,
    changed: usize,
}

impl Answer {
    /// Returns the image of the first container called `name`.
    fn image(&self, name: &str) -> &str {
        let spec = &self.object["spec"];
        let lists = ["containers", "initContainers", "ephemeralContainers"];
        let mut containers = lists.iter().filter_map(|list| spec[list].as_array()).flatten();
        containers.find(|c| c["name"] == name).and_then(|c| c["image"].as_str()).unwrap()
    }

    /// Returns the record of originals without checksums; null if there is none.
    fn record(&self) -> Value {
        let text = self.object["metadata"]["annotations"][labels::ORIGINAL_IMAGES].as_str();
        let mut record = text.map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        if let Some(record) = record.as_object_mut() {
            record.retain(|key, _| !key.starts_with("swapped:"));
        }
        record
    }

    fn reason(&self, name: &str) -> &str {
        self.decisions[name]["reason"].as_str().unwrap_or("none")
    }
}

/// Sends `request` and asserts the properties of every response.
fn admit_with(request: &Value, rules: &RuleSet, mode: Mode) -> Answer {
    admit_with_settings(request, rules, &settings(mode))
}

/// Sends `request` with the given settings, with the same assertions.
fn admit_with_settings(request: &Value, rules: &RuleSet, settings: &Settings) -> Answer {
    let body = request.to_string();
    let reviewed = review(body.as_bytes(), rules, settings).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], request["request"]["uid"]);
    assert_eq!(response["allowed"], true);
    assert_eq!(response.get("patch").is_some(), response.get("patchType").is_some());
    assert_eq!(response.get("patch").is_some(), reviewed.patched);
    let mut object = request["request"]["object"].clone();
    let mut patch = Vec::new();
    if let Some(encoded) = response.get("patch") {
        assert_eq!(response["patchType"], "JSONPatch");
        let bytes = STANDARD.decode(encoded.as_str().unwrap()).unwrap();
        let operations: json_patch::Patch = serde_json::from_slice(&bytes).unwrap();
        json_patch::patch(&mut object, &operations).unwrap();
        patch = serde_json::from_slice(&bytes).unwrap();
        assert!(!patch.is_empty());
    }
    let warnings = response.get("warnings").cloned().unwrap_or_else(|| json!([]));
    let decisions = &response["auditAnnotations"]["decisions"];
    Answer {
        patch,
        object,
        warnings: serde_json::from_value(warnings).unwrap(),
        decisions: decisions.as_str().map_or(Value::Null, |d| serde_json::from_str(d).unwrap()),
        tally: reviewed.decisions,
        changed: reviewed.changed,
    }
}

fn admit(request: &Value) -> Answer {
    admit_with(request, &rules(RULES), Mode::Enforce)
}

fn create(pod: &Value) -> Answer {
    admit(&mk_review("CREATE", pod, &Value::Null))
}

fn update(pod: &Value, old: &Value) -> Answer {
    admit(&mk_review("UPDATE", pod, old))
}

/// Creates `pod`. Asserts that its first container is swapped from `from` to `to`, and that a
/// second review changes nothing.
fn swaps(pod: &Value, from: &str, to: &str) -> Answer {
    assert_eq!(pod["spec"]["containers"][0]["image"], from);
    let answer = create(pod);
    assert_eq!(answer.object["spec"]["containers"][0]["image"], to);
    leaves(&answer.object);
    answer
}

/// Creates `pod` and asserts that it gets no patch.
fn leaves(pod: &Value) -> Answer {
    let answer = create(pod);
    assert_eq!(answer.patch, [] as [Value; 0]);
    answer
}
