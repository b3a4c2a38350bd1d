//! The custom resource of workload clusters.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::chart::{FLEET, chart, charts};

fn version(rendered: &crate::chart::Rendered) -> &Value {
    &rendered.objects["fleet/crd.yaml"]["spec"]["versions"][0]
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn report_is_beside_the_object_of_a_cluster() {
    for chart in charts() {
        let rendered = chart.with(FLEET);
        let crd = &rendered.objects["fleet/crd.yaml"];
        assert_eq!(crd["metadata"]["name"], "workloadclusters.image-swap.io");
        // Kept: its deletion would delete the reports of all workload clusters.
        assert_eq!(crd["metadata"]["annotations"], json!({"helm.sh/resource-policy": "keep"}));
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(crd["spec"]["names"]["kind"], "WorkloadCluster");
        assert_eq!(crd["spec"]["names"]["shortNames"], json!(["wlc"]));
        let version = version(&rendered);
        assert_eq!(version["name"], "v1alpha1");
        assert_eq!(version["subresources"], json!({ "status": {} }));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn columns_show_the_state_of_a_cluster() {
    let rendered = chart().with(FLEET);
    let version = version(&rendered);
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let visible = columns.iter().filter(|column| column.get("priority").is_none());
    let names: Vec<&str> = visible.map(|column| column["name"].as_str().unwrap()).collect();
    let expected = [
        "Wanted",
        "Revision",
        "Applied",
        "Reason",
        "Healthy",
        "Webhook",
        "Nodes",
        "Pods",
        "Heartbeat",
        "Age",
    ];
    assert_eq!(names, expected);
    // Each column of the status shows a field of the schema.
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let fields: BTreeSet<&str> = status.as_object().unwrap().keys().map(String::as_str).collect();
    for column in columns {
        let path = column["jsonPath"].as_str().unwrap();
        let Some(field) = path.strip_prefix(".status.") else { continue };
        let field = field.split('[').next().unwrap();
        assert!(fields.contains(field), "{path}");
    }
}
