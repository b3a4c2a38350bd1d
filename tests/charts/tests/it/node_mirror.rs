//! The schema of the custom resource, and the types that programs read.

use std::collections::BTreeSet;

use image_swap_core::status::node_mirror::{
    APPLIED, DEGRADED, GROUP, KIND, NEEDS_RESTART, NodeCondition, NodeMirrorSpec, NodeMirrorStatus,
    PLURAL, VERIFIED, VERSION,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::chart::{chart, charts};

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn object(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn schema_has_the_names_of_the_types() {
    let rendered = chart().with("");
    let crd = &rendered.objects["agent/crd.yaml"]["spec"];
    assert_eq!((&crd["group"], &crd["scope"]), (&json!(GROUP), &json!("Cluster")));
    assert_eq!((&crd["names"]["kind"], &crd["names"]["plural"]), (&json!(KIND), &json!(PLURAL)));
    assert_eq!(crd["names"]["shortNames"], json!(["nmir"]));
    let version = &crd["versions"][0];
    assert_eq!(version["name"], VERSION);
    assert_eq!(version["subresources"], json!({ "status": {} }));
    let schema = &version["schema"]["openAPIV3Schema"]["properties"];
    let [spec, status] = ["spec", "status"].map(|part| &schema[part]["properties"]);
    assert_eq!(keys(spec), keys(&object(NodeMirrorSpec::default())));
    let written = object(NodeMirrorStatus::default());
    assert_eq!(keys(status), keys(&written));
    // An absent value is written as null.
    for (name, value) in written.as_object().unwrap() {
        assert_eq!(status[name]["nullable"] == true, value.is_null(), "{name}");
    }
    let conditions = &status["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    let condition = object(NodeCondition::default());
    assert_eq!(keys(&conditions["items"]["properties"]), keys(&condition));
    let required = conditions["items"]["required"].as_array().unwrap();
    let required: BTreeSet<&str> = required.iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(required, keys(&condition));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn columns_show_every_condition() {
    let rendered = chart().with("");
    let version = &rendered.objects["agent/crd.yaml"]["spec"]["versions"][0];
    let columns = version["additionalPrinterColumns"].to_string();
    for condition in [APPLIED, VERIFIED, NEEDS_RESTART, DEGRADED] {
        let path = format!(r#".status.conditions[?(@.type==\"{condition}\")].status"#);
        assert!(columns.contains(&path), "{condition}: {columns}");
    }
}

/// Keeps the custom resource: its deletion would delete the reports of all nodes.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn custom_resource_outlives_the_release() {
    for chart in charts() {
        let rendered = chart.with("");
        let annotations = &rendered.objects["agent/crd.yaml"]["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        // An object of the release, not a hook: an upgrade updates the schema.
        assert!(annotations.get("helm.sh/hook").is_none());
    }
}
