//! Support for Kubernetes versions.

use serde_json::Value;

use crate::chart::{Rendered, chart, file};

fn budget(rendered: &Rendered) -> &Value {
    &rendered.objects["admission/poddisruptionbudget.yaml"]
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn drain_never_waits_for_a_broken_replica() {
    let chart = chart();
    for values in ["", "admission: {replicas: 1}", "admission: {replicas: 5}"] {
        let rendered = chart.with(values);
        let budget = budget(&rendered);
        assert_eq!(budget["apiVersion"], "policy/v1");
        let spec = &budget["spec"];
        assert_eq!(spec["maxUnavailable"], 1);
        assert!(spec.get("minAvailable").is_none(), "one replica could never satisfy it");
        assert_eq!(spec["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    }
    let off = chart.with("podDisruptionBudget: {enabled: false}");
    assert!(!off.objects.contains_key("admission/poddisruptionbudget.yaml"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_of_earlier_versions_change_nothing() {
    let chart = chart();
    let expected = chart.with("").objects;
    for values in [
        "kubeVersion: '1.20.2'",
        "kubeVersion: v1.27.9-eks-5e0fdde",
        "matchConditions: true",
        "matchConditions:",
        "{kubeVersion: '1.36.2', matchConditions: true}",
    ] {
        assert_eq!(chart.with(values).objects, expected, "{values}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn switched_off_match_conditions_are_refused() {
    let chart = chart();
    let message = chart.refuses("matchConditions: false");
    let expected = "matchConditions: expected true or null, found false; the chart supports \
                    Kubernetes 1.30 and later";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn oldest_supported_version_is_stated_everywhere() {
    assert!(file("Chart.yaml").contains("\nkubeVersion: \">=1.30.0-0\"\n"));
    assert!(file("README.md").contains("1.30 to 1.32 are expected to work"));
}
