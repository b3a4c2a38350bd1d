//! Admission from the view of an API server: sends reviews and applies the patches.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::{
    admission::{Mode, Settings, review},
    rule::{MapForm, RuleSet, parse},
};
use image_swap_testkit::review as request;
use serde_json::{Value, json};

const RULES: &str = "docker.io::h.io/d,gcr.io::h.io/g,quay.io::";

fn rules(text: &str) -> RuleSet {
    RuleSet::new(parse::rules(text, MapForm::List).0)
}

fn answer(review_in: &Value, list: &str, settings: &Settings) -> Value {
    let body = serde_json::to_vec(review_in).unwrap();
    let reviewed = review(&body, &rules(list), settings).unwrap();
    let response: Value = serde_json::from_slice(&reviewed.body).unwrap();
    assert_eq!(response["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(response["kind"], "AdmissionReview");
    assert_eq!(response["response"]["uid"], review_in["request"]["uid"]);
    assert_eq!(response["response"]["allowed"], true);
    assert_eq!(
        response["response"].get("patch").is_some(),
        response["response"].get("patchType").is_some()
    );
    response["response"].clone()
}

fn patched(object: &Value, response: &Value) -> Value {
    let mut object = object.clone();
    if let Some(patch) = response.get("patch") {
        assert_eq!(response["patchType"], "JSONPatch");
        let patch = STANDARD.decode(patch.as_str().unwrap()).unwrap();
        let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    object
}

fn create(pod: &Value, list: &str) -> Value {
    let once =
        patched(pod, &answer(&request("CREATE", pod, &Value::Null), list, &Settings::default()));
    let again = answer(&request("CREATE", &once, &Value::Null), list, &Settings::default());
    assert_eq!(again.get("patch"), None, "a second pass changes nothing: {once}");
    once
}

fn originals(pod: &Value) -> Value {
    match pod["metadata"]["annotations"].get("image-swap.io/original-images") {
        Some(text) => {
            let mut record: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
            record.as_object_mut().unwrap().retain(|key, _| !key.starts_with("swapped:"));
            record
        }
        None => Value::Null,
    }
}

// guarantee: 2a, 2b
#[test]
fn only_images_of_a_new_pod_are_swapped() {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "annotations": {"x": "y"}}, "spec": {
        "future": {"image": "nginx"},
        "initContainers": [{"name": "i", "image": "busybox", "restartPolicy": "Always", "unknown": [1.50, null]}],
        "containers": [{"name": "a", "image": "nginx:1", "env": [{"name": "image", "value": "nginx"}]}, {"name": "b", "image": "gcr.io/p/b"}, {"name": "c", "image": "quay.io/c"}],
        "ephemeralContainers": [{"name": "e", "image": "redis"}],
        "volumes": [{"name": "v", "image": {"reference": "gcr.io/p/v:1", "pullPolicy": "IfNotPresent"}}, {"name": "w", "emptyDir": {}}]}});
    let out = create(&pod, RULES);
    let mut expected = pod.clone();
    expected["spec"]["initContainers"][0]["image"] = json!("h.io/d/library/busybox");
    expected["spec"]["containers"][0]["image"] = json!("h.io/d/library/nginx:1");
    expected["spec"]["containers"][1]["image"] = json!("h.io/g/p/b");
    expected["spec"]["ephemeralContainers"][0]["image"] = json!("h.io/d/library/redis");
    expected["spec"]["volumes"][0]["image"]["reference"] = json!("h.io/g/p/v:1");
    expected["metadata"]["annotations"]["image-swap.io/original-images"] =
        out["metadata"]["annotations"]["image-swap.io/original-images"].clone();
    assert_eq!(out, expected);
    assert_eq!(
        originals(&out),
        json!({"i": "busybox", "a": "nginx:1", "b": "gcr.io/p/b", "e": "redis", "volume:v": "gcr.io/p/v:1"})
    );
}

#[test]
fn annotations_may_be_missing_null_or_empty() {
    for metadata in [json!({}), json!({"annotations": null}), json!({"annotations": {}})] {
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "a", "image": "nginx"}], "initContainers": null}});
        let out = create(&pod, RULES);
        assert_eq!(out["spec"]["containers"][0]["image"], "h.io/d/library/nginx");
        assert_eq!(originals(&out), json!({"a": "nginx"}));
    }
}

#[test]
fn pod_without_matching_images_gets_no_patch() {
    for pod in [
        json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "h.io/d/x"}, {"name": "b", "image": "quay.io/b"}]}}),
        json!({"metadata": {}, "spec": {"containers": [{"name": "a"}, {"image": null}, {}]}}),
        json!({"metadata": {}, "spec": {}}),
        json!({"metadata": {}}),
        json!({"metadata": {"labels": {"k8s.twr.io/imageswap": "disabled"}}, "spec": {"containers": [{"name": "a", "image": "nginx"}]}}),
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"containers": [{"name": "a", "image": "nginx"}]}}),
        json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "nginx", "imagePullPolicy": "Never"}]}}),
    ] {
        let response = answer(&request("CREATE", &pod, &Value::Null), RULES, &Settings::default());
        assert_eq!(response.get("patch"), None, "{pod}");
    }
}

#[test]
fn invalid_image_stays_with_a_warning() {
    let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "Nginx"}, {"name": "b", "image": "nginx"}]}});
    let response = answer(&request("CREATE", &pod, &Value::Null), RULES, &Settings::default());
    assert_eq!(response["warnings"].as_array().unwrap().len(), 1);
    let out = patched(&pod, &response);
    assert_eq!(out["spec"]["containers"][0]["image"], "Nginx");
    assert_eq!(out["spec"]["containers"][1]["image"], "h.io/d/library/nginx");
}

// guarantee: 2c
#[test]
fn update_restarts_nothing() {
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "nginx:1"}, {"name": "b", "image": "redis"}]}});
    let stored = create(&pod, RULES);
    let update = |new: &Value, list: &str| {
        patched(new, &answer(&request("UPDATE", new, &stored), list, &Settings::default()))
    };
    // With other rules, an unchanged pod gets no patch.
    assert_eq!(update(&stored, "docker.io::k.io/other"), stored);
    // A repeated `kubectl apply` of the manifest: the images differ from the stored ones, and
    // equal the recorded originals.
    let mut applied = stored.clone();
    applied["spec"]["containers"][0]["image"] = json!("nginx:1");
    applied["spec"]["containers"][1]["image"] = json!("redis");
    assert_eq!(update(&applied, "docker.io::k.io/other"), stored);
    // A manifest that replaces all annotations has the same result.
    applied["metadata"] = json!({"name": "a"});
    assert_eq!(update(&applied, RULES)["spec"], stored["spec"]);
    assert_eq!(originals(&update(&applied, RULES)), originals(&stored));
    // A new image is swapped by the present rules, and recorded.
    let mut new = stored.clone();
    new["spec"]["containers"][0]["image"] = json!("nginx:2");
    let out = update(&new, "docker.io::k.io/other");
    assert_eq!(out["spec"]["containers"][0]["image"], "k.io/other/library/nginx:2");
    assert_eq!(out["spec"]["containers"][1]["image"], stored["spec"]["containers"][1]["image"]);
    assert_eq!(originals(&out), json!({"a": "nginx:2", "b": "redis"}));
    // An old record must not affect an image that is not swapped now.
    new["spec"]["containers"][0]["image"] = json!("quay.io/nginx:3");
    let out = update(&new, RULES);
    assert_eq!(out["spec"]["containers"][0]["image"], "quay.io/nginx:3");
    assert_eq!(originals(&out), json!({"b": "redis"}));
}

// guarantee: 2c
#[test]
fn volumes_are_unchanged_on_update() {
    let old = json!({"metadata": {}, "spec": {"containers": [], "volumes": [{"name": "v", "image": {"reference": "nginx"}}]}});
    let response = answer(&request("UPDATE", &old, &old), RULES, &Settings::default());
    assert_eq!(response.get("patch"), None);
}

#[test]
fn stale_record_is_removed_on_create() {
    let pod = json!({"metadata": {"annotations": {"image-swap.io/original-images": "{\"a\":\"nginx\",\"gone\":\"x\"}"}},
        "spec": {"containers": [{"name": "a", "image": "quay.io/other"}, {"name": "b", "image": "redis"}]}});
    assert_eq!(originals(&create(&pod, RULES)), json!({"b": "redis"}));
}

#[test]
fn added_ephemeral_container_is_swapped() {
    let old = json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "nginx"}], "ephemeralContainers": [{"name": "d", "image": "redis"}]}});
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "e", "image": "busybox"}));
    let mut review_in = request("UPDATE", &new, &old);
    review_in["request"]["subResource"] = json!("ephemeralcontainers");
    let out = patched(&new, &answer(&review_in, RULES, &Settings::default()));
    new["spec"]["ephemeralContainers"][1]["image"] = json!("h.io/d/library/busybox");
    assert_eq!(out, new);
}

#[test]
fn other_objects_are_allowed_unchanged() {
    let deployment = json!({"metadata": {}, "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "nginx"}]}}}});
    let mut review_in = request("CREATE", &deployment, &Value::Null);
    review_in["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"});
    review_in["request"]["resource"] =
        json!({"group": "apps", "version": "v1", "resource": "deployments"});
    assert_eq!(answer(&review_in, RULES, &Settings::default()).get("patch"), None);
    assert_eq!(
        answer(&request("DELETE", &Value::Null, &json!({})), RULES, &Settings::default())
            .get("patch"),
        None
    );
    let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "nginx"}]}});
    let mut status = request("UPDATE", &pod, &pod);
    status["request"]["subResource"] = json!("status");
    assert_eq!(answer(&status, RULES, &Settings::default()).get("patch"), None);
}

#[test]
fn audit_patches_nothing_and_reports() {
    let pod = json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "nginx"}]}});
    let settings = Settings { mode: Mode::Audit, ..Settings::default() };
    let response = answer(&request("CREATE", &pod, &Value::Null), RULES, &settings);
    assert_eq!(response.get("patch"), None);
    let decisions = response["auditAnnotations"]["decisions"].as_str().unwrap();
    assert!(decisions.contains("h.io/d/library/nginx"), "{decisions}");
}

#[test]
fn invalid_review_is_an_error() {
    let review_in =
        |text: &str| review(text.as_bytes(), &rules(RULES), &Settings::default()).map(|_| ());
    for text in [
        "",
        "x",
        "[]",
        "{",
        "null",
        "{}",
        "\"a\"",
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}"#,
        r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"Pod","request":{"uid":"u"}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u"}} trailing"#,
    ] {
        assert!(review_in(text).is_err(), "{text}");
    }
}

#[test]
fn escapes_and_unusual_names_are_kept() {
    let text = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},"operation":"CREATE","namespace":"n","object":{"metadata":{"annotations":{"a\"\\b~/c":"\ud83d\ude00"}},"spec":{"containers":[{"name":"\u0061","image":"ngin\u0078:1"},{"name":"q\"uote\\","image":"redis"}]}}}}"#;
    let reviewed = review(text.as_bytes(), &rules(RULES), &Settings::default()).unwrap();
    let response: Value = serde_json::from_slice(&reviewed.body).unwrap();
    let object = serde_json::from_str::<Value>(text).unwrap()["request"]["object"].clone();
    let out = patched(&object, &response["response"]);
    assert_eq!(out["spec"]["containers"][0]["image"], "h.io/d/library/nginx:1");
    assert_eq!(originals(&out), json!({"a": "nginx:1", "q\"uote\\": "redis"}));
    assert_eq!(out["metadata"]["annotations"]["a\"\\b~/c"], "😀");
}
