use image_swap_core::rule::map::{self, Form};
use serde_json::{Value, json};

use super::*;

fn deployment(arguments: &[&str]) -> Deployment {
    let containers = json!([{ "name": "admission", "args": arguments }]);
    let spec = json!({ "selector": {}, "template": { "spec": { "containers": containers } } });
    serde_json::from_value(json!({ "spec": spec })).unwrap()
}

fn settings(arguments: &[&str]) -> Settings {
    let exemptions = exemptions(Some(&deployment(arguments)));
    Settings { disable_label: "example.org/swap".into(), exemptions, ..Settings::default() }
}

/// Returns the images of a pod that would be swapped.
fn to_swap(metadata: &Value, spec: &Value, settings: &Settings) -> Vec<String> {
    let rules = RuleSet::new(map::parse("docker.io::h.io/d", Form::List).0);
    let pod = serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
    read(&pod, Some(&rules), settings).to_swap.into_iter().collect()
}

#[test]
fn exemptions_are_those_of_the_replicas() {
    let metadata = json!({
        "labels": { "tier": "data" },
        "ownerReferences": [
            { "apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "a", "uid": "b" },
        ],
    });
    let spec = json!({ "containers": [{ "name": "main", "image": "postgres:17" }] });
    let off = "--default-exemptions=false";
    for (arguments, is_exempt) in [
        (vec![], true),
        (vec![off], false),
        (vec![off, "--exempt-labels=app=a,tier=data"], true),
        (vec![off, "--exempt-owners=Cluster.postgresql.cnpg.io"], true),
        (vec![off, "--exempt-owners=Pooler.postgresql.cnpg.io"], false),
        (vec![off, "--exempt-images=busybox,main=postgres:17"], true),
        (vec![off, "--exempt-images=side=postgres:17"], false),
    ] {
        let found = to_swap(&metadata, &spec, &settings(&arguments));
        assert_eq!(found.is_empty(), is_exempt, "{arguments:?}: {found:?}");
    }
}

#[test]
fn images_are_judged_as_at_admission() {
    let containers = |image: &str, policy: &str| json!({ "containers": [{ "name": "main", "image": image, "imagePullPolicy": policy }] });
    let settings = settings(&[]);
    let plain = containers("nginx", "Always");
    for (metadata, spec, expected) in [
        (json!({}), plain.clone(), 1),
        (json!({}), containers("nginx", "Never"), 0),
        (json!({}), containers("quay.io/a/b", "Always"), 0),
        // The placeholder of an injector.
        (json!({ "labels": { "istio.io/rev": "a" } }), containers("auto", "Always"), 0),
        (json!({ "labels": { "example.org/swap": "disabled" } }), plain.clone(), 0),
        (json!({ "labels": { "image-swap.io/exempt": "true" } }), plain.clone(), 0),
        (json!({ "annotations": { "kubernetes.io/config.mirror": "a" } }), plain, 0),
    ] {
        let found = to_swap(&metadata, &spec, &settings);
        assert_eq!(found.len(), expected, "{metadata} {spec}: {found:?}");
    }
    let volumes = json!({ "containers": [], "volumes": [
        { "name": "data", "image": { "reference": "busybox", "pullPolicy": "IfNotPresent" } },
        { "name": "old", "image": { "reference": "busybox", "pullPolicy": "Never" } },
    ] });
    assert_eq!(to_swap(&json!({}), &volumes, &settings), ["volume:data"]);
}

#[test]
fn nothing_is_swapped_without_rules() {
    let spec = json!({ "containers": [{ "name": "main", "image": "nginx" }] });
    let pod = serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap();
    assert!(read(&pod, None, &settings(&[])).to_swap.is_empty());
}
