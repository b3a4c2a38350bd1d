//! What depends on the version of the API server.

use serde_json::{Value, json};

use crate::chart::{Rendered, argument, chart, deployment};

fn budget(rendered: &Rendered) -> &Value {
    &rendered.objects["admission/poddisruptionbudget.yaml"]
}

fn match_conditions(rendered: &Rendered) -> &str {
    argument(deployment(rendered, "controller"), "match-conditions").unwrap()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn a_drain_never_waits_for_a_broken_replica() {
    let chart = chart();
    for values in ["", "admission: {replicas: 1}", "admission: {replicas: 5}"] {
        let rendered = chart.with(values);
        let spec = &budget(&rendered)["spec"];
        assert_eq!(spec["maxUnavailable"], 1);
        assert!(spec.get("minAvailable").is_none(), "one replica could never satisfy it");
        assert_eq!(spec["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    }
    let off = chart.with("podDisruptionBudget: {enabled: false}");
    assert!(!off.objects.contains_key("admission/poddisruptionbudget.yaml"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn older_servers_are_spared_what_they_do_not_know() {
    let chart = chart();
    let always = json!("AlwaysAllow");
    for (version, api, eviction, conditions) in [
        ("1.20.2", "policy/v1beta1", None, "false"),
        ("v1.21.0", "policy/v1", None, "false"),
        ("1.25", "policy/v1", None, "false"),
        ("1.26.0", "policy/v1", Some(&always), "false"),
        ("v1.27.9-eks-5e0fdde", "policy/v1", Some(&always), "false"),
        ("v1.28.0-gke.100", "policy/v1", Some(&always), "true"),
        ("1.36.2", "policy/v1", Some(&always), "true"),
        ("", "policy/v1", Some(&always), "true"),
    ] {
        let rendered = chart.with(&format!("kubeVersion: '{version}'"));
        let budget = budget(&rendered);
        assert_eq!(budget["apiVersion"], api, "{version}");
        assert_eq!(budget["spec"].get("unhealthyPodEvictionPolicy"), eviction, "{version}");
        assert_eq!(match_conditions(&rendered), conditions, "{version}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn match_conditions_can_be_said_whatever_the_version_is() {
    let chart = chart();
    for (values, expected) in [
        ("{kubeVersion: '1.20.2', matchConditions: true}", "true"),
        ("{kubeVersion: '1.36.2', matchConditions: false}", "false"),
        ("{kubeVersion: '1.36.2', matchConditions: null}", "true"),
    ] {
        assert_eq!(match_conditions(&chart.with(values)), expected, "{values}");
    }
}
