//! The Secret with which nodes pull what was swapped.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image_swap_testkit::registry_info;
use serde_json::{Value, json};

use super::{Answer, Mode, RULES, Settings, ask_settled, mk_container, mk_pod, mk_review, rules};
use crate::{
    declaration::{Declaration, DeclarationSource},
    pull_secret::CoveredImages,
};

/// Settings of a release that declares `h.example` with a base path.
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

fn ask(operation: &str, pod: &Value, old: &Value, settings: &Settings) -> Answer {
    ask_settled(&mk_review(operation, pod, old), &rules(RULES), settings)
}

/// The pull Secrets of `pod` once it was created; a second look changes nothing.
fn created(pod: &Value, base_path: &str) -> Value {
    let settings = settings(base_path);
    let answer = ask("CREATE", pod, &Value::Null, &settings);
    let again = ask("CREATE", &answer.object, &Value::Null, &settings);
    assert_eq!(again.patch, [] as [Value; 0]);
    answer.object["spec"]["imagePullSecrets"].clone()
}

fn with(pod: &Value, secrets: &Value) -> Value {
    let mut pod = pod.clone();
    pod["spec"]["imagePullSecrets"] = secrets.clone();
    pod
}

#[test]
fn a_swapped_pod_gets_it_behind_its_own() {
    let pod = mk_pod(&[("app", "nginx")]);
    let ours = json!([{"name": "image-swap-pull"}]);
    for base_path in ["", "d"] {
        assert_eq!(created(&pod, base_path), ours);
        assert_eq!(created(&with(&pod, &Value::Null), base_path), ours);
        assert_eq!(created(&with(&pod, &json!([])), base_path), ours);
        let theirs = json!([{"name": "theirs"}, {}, null, {"name": "image-swap-pull2"}]);
        let mut both = theirs.as_array().unwrap().clone();
        both.push(ours[0].clone());
        assert_eq!(created(&with(&pod, &theirs), base_path), Value::Array(both));
    }
    // One that has it already keeps it where it stands.
    let first = json!([{"name": "image-swap-pull", "future": 1}, {"name": "theirs"}]);
    assert_eq!(created(&with(&pod, &first), ""), first);
    // No API server sends such a thing; nothing of it is lost.
    assert_eq!(created(&with(&pod, &json!("odd")), ""), json!("odd"));
}

#[test]
fn every_list_with_an_image_of_the_declared_host_counts() {
    let mut pod = mk_pod(&[("app", "quay.io/a/b")]);
    assert_eq!(created(&pod, ""), Value::Null);
    pod["spec"]["initContainers"] = json!([mk_container("init", "busybox")]);
    assert_eq!(created(&pod, ""), json!([{"name": "image-swap-pull"}]));
    let mut pod = mk_pod(&[("app", "quay.io/a/b")]);
    pod["spec"]["volumes"] = json!([{"name": "v", "image": {"reference": "gcr.io/a/model"}}]);
    assert_eq!(created(&pod, ""), json!([{"name": "image-swap-pull"}]));
}

#[test]
fn a_pod_whose_images_we_did_not_swap_to_the_declared_host_gets_none() {
    // Written as they are by whoever made the pod, who has a Secret for them.
    assert_eq!(created(&mk_pod(&[("app", "h.example/d/library/nginx")]), ""), Value::Null);
    // Swapped to the same host, outside of what the credential is for.
    assert_eq!(created(&mk_pod(&[("app", "gcr.io/a/b")]), "d"), Value::Null);
    let mut disabled = mk_pod(&[("app", "nginx")]);
    disabled["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": "disabled"});
    assert_eq!(created(&disabled, ""), Value::Null);
    // A mirror pod that differs from its file is killed.
    let mut mirror = mk_pod(&[("app", "nginx")]);
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
    assert_eq!(created(&mirror, ""), Value::Null);
    let mut present = mk_pod(&[("app", "nginx")]);
    present["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    assert_eq!(created(&present, ""), Value::Null);
}

#[test]
fn it_comes_back_when_another_webhook_took_it_away() {
    let settings = settings("");
    let mut pod = ask("CREATE", &mk_pod(&[("app", "nginx")]), &Value::Null, &settings).object;
    pod["spec"]["imagePullSecrets"] = json!([{"name": "theirs"}]);
    let answer = ask("CREATE", &pod, &Value::Null, &settings);
    assert_eq!(
        answer.patch,
        [
            json!({"op": "add", "path": "/spec/imagePullSecrets/-", "value": {"name": "image-swap-pull"}})
        ]
    );
}

#[test]
fn a_pod_that_is_stored_keeps_its_list() {
    let settings = settings("");
    let old = mk_pod(&[("app", "redis")]);
    let answer = ask("UPDATE", &mk_pod(&[("app", "nginx")]), &old, &settings);
    assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    assert_eq!(answer.object["spec"].get("imagePullSecrets"), None);
}

#[test]
fn nobody_gets_any_in_audit_or_without_a_credential() {
    let pod = mk_pod(&[("app", "nginx")]);
    let audit = Settings { mode: Mode::Audit, ..settings("") };
    assert_eq!(ask("CREATE", &pod, &Value::Null, &audit).patch, [] as [Value; 0]);
    let answer = ask("CREATE", &pod, &Value::Null, &Settings::default());
    assert_eq!(answer.object["spec"].get("imagePullSecrets"), None);
}

#[test]
fn of_a_list_that_comes_twice_the_last_counts() {
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
