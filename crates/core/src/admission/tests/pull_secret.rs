//! The pull Secret, with which nodes pull swapped images.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_testkit::registry_info;
use serde_json::{Value, json};

use super::{
    Answer, Mode, RULES, Settings, admit_with_settings, mk_container, mk_pod, mk_review, rules,
};
use crate::{
    declaration::{Declaration, DeclarationSource},
    pull_secret::CoveredImages,
};

/// Returns settings of a release that declares `h.example` with a base path.
pub(super) fn settings(base_path: &str) -> Settings {
    let text = registry_info(&[
        ("DOMAIN", "h.example"),
        ("BASE_PATH", base_path),
        ("INSECURE", "false"),
        ("MIRROR_REGISTRIES", "docker.io::h.example/d"),
    ]);
    let declaration = Declaration::read(DeclarationSource::RegistryInfo, &text, 0).unwrap();
    Settings { pull_secret: CoveredImages::of(&declaration), ..Settings::default() }
}

fn admit(operation: &str, pod: &Value, old: &Value, settings: &Settings) -> Answer {
    admit_with_settings(&mk_review(operation, pod, old), &rules(RULES), settings)
}

/// Returns the pull Secrets of `pod` after its creation. Asserts that a second review changes
/// nothing.
fn created(pod: &Value, base_path: &str) -> Value {
    let settings = settings(base_path);
    let answer = admit("CREATE", pod, &Value::Null, &settings);
    let again = admit("CREATE", &answer.object, &Value::Null, &settings);
    assert_eq!(again.patch, [] as [Value; 0]);
    answer.object["spec"]["imagePullSecrets"].clone()
}

fn with(pod: &Value, secrets: &Value) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["imagePullSecrets"] = secrets.clone();
    pod
}

#[test]
fn pull_secret_is_appended_for_swapped_images() {
    let pod = mk_pod(&[("app", "nginx")]);
    let own = json!([{"name": "image-swap-pull"}]);
    for base_path in ["", "d"] {
        assert_eq!(created(&pod, base_path), own);
        assert_eq!(created(&with(&pod, &Value::Null), base_path), own);
        assert_eq!(created(&with(&pod, &json!([])), base_path), own);
        let others = json!([{"name": "other"}, {}, null, {"name": "image-swap-pull2"}]);
        let mut both = others.as_array().unwrap().clone();
        both.push(own[0].clone());
        assert_eq!(created(&with(&pod, &others), base_path), Value::Array(both));
    }
    // A pod that has the Secret already keeps its position.
    let first = json!([{"name": "image-swap-pull", "future": 1}, {"name": "other"}]);
    assert_eq!(created(&with(&pod, &first), ""), first);
    // No API server sends such a value; it is kept.
    assert_eq!(created(&with(&pod, &json!("odd")), ""), json!("odd"));
}

#[test]
fn images_of_every_list_add_pull_secret() {
    let mut pod = mk_pod(&[("app", "quay.io/a/b")]);
    assert_eq!(created(&pod, ""), Value::Null);
    pod["spec"]["initContainers"] = json!([mk_container("init", "busybox")]);
    assert_eq!(created(&pod, ""), json!([{"name": "image-swap-pull"}]));
    let mut pod = mk_pod(&[("app", "quay.io/a/b")]);
    pod["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": "gcr.io/a/model"}}]);
    assert_eq!(created(&pod, ""), json!([{"name": "image-swap-pull"}]));
}

#[test]
fn pod_without_covered_swap_gets_no_secret() {
    // The author of the pod wrote mirror names, and has a Secret for them.
    assert_eq!(created(&mk_pod(&[("app", "h.example/d/library/nginx")]), ""), Value::Null);
    // The image is swapped to the same host, outside of the credential's path.
    assert_eq!(created(&mk_pod(&[("app", "gcr.io/a/b")]), "d"), Value::Null);
    let mut disabled = mk_pod(&[("app", "nginx")]);
    disabled["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    assert_eq!(created(&disabled, ""), Value::Null);
    // The kubelet kills a mirror pod that differs from its file.
    let mut mirror = mk_pod(&[("app", "nginx")]);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    assert_eq!(created(&mirror, ""), Value::Null);
    let mut present = mk_pod(&[("app", "nginx")]);
    present["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    assert_eq!(created(&present, ""), Value::Null);
}

#[test]
fn removed_pull_secret_is_added_again() {
    let settings = settings("");
    let mut pod = admit("CREATE", &mk_pod(&[("app", "nginx")]), &Value::Null, &settings).object;
    pod["spec"]["imagePullSecrets"] = json!([{"name": "other"}]);
    let answer = admit("CREATE", &pod, &Value::Null, &settings);
    assert_eq!(
        answer.patch,
        [
            json!({"op": "add", "path": "/spec/imagePullSecrets/-", "value": {"name": "image-swap-pull"}})
        ]
    );
}

#[test]
fn stored_pod_keeps_its_pull_secrets() {
    let settings = settings("");
    let old = mk_pod(&[("app", "redis")]);
    let answer = admit("UPDATE", &mk_pod(&[("app", "nginx")]), &old, &settings);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    assert_eq!(answer.object["spec"].get("imagePullSecrets"), None);
}

#[test]
fn audit_or_missing_credential_adds_no_secret() {
    let pod = mk_pod(&[("app", "nginx")]);
    let audit = Settings { mode: Mode::Audit, ..settings("") };
    assert_eq!(admit("CREATE", &pod, &Value::Null, &audit).patch, [] as [Value; 0]);
    let answer = admit("CREATE", &pod, &Value::Null, &Settings::default());
    assert_eq!(answer.object["spec"].get("imagePullSecrets"), None);
}

#[test]
fn last_duplicate_list_counts() {
    let spec = r#""containers":[{"name":"a","image":"nginx"}]"#;
    for (lists, expected) in [
        (
            r#""imagePullSecrets":[{"name":"image-swap-pull"}],"imagePullSecrets":[{"name":"x"}]"#,
            "/-",
        ),
        (r#""imagePullSecrets":[{"name":"x"}],"imagePullSecrets":null"#, ""),
    ] {
        let body = mk_review("CREATE", &json!("POD"), &Value::Null).to_string();
        let pod = format!(r#"{{"kind":"Pod","spec":{{{lists},{spec}}}}}"#);
        let body = body.replace("\"POD\"", &pod);
        let reviewed = super::review(body.as_bytes(), &rules(RULES), &settings("")).unwrap();
        let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
        let place = format!("/spec/imagePullSecrets{expected}");
        assert!(patch.iter().any(|op| op["path"] == place), "{patch:?}");
    }
}
