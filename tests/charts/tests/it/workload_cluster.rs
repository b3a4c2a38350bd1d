//! The custom resource of workload clusters, and the types that programs read.

use std::collections::BTreeSet;

use image_swap_core::status::{
    node_mirror::NodeCondition,
    workload_cluster::{
        APPLIED, CONFLICT, ClusterObject, GROUP, HEALTHY, KIND, NodesInCluster, PLURAL, REACHABLE,
        VERSION, WorkloadClusterSpec, WorkloadClusterStatus,
    },
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::chart::{FLEET, Rendered, chart, charts};

const PATH: &str = "fleet/crd.yaml";

fn version(rendered: &Rendered) -> &Value {
    &rendered.objects[PATH]["spec"]["versions"][0]
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

fn keys_of(value: impl Serialize) -> BTreeSet<String> {
    keys(&serde_json::to_value(value).unwrap())
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn report_is_beside_the_object_of_a_cluster() {
    for chart in charts() {
        let rendered = chart.with(FLEET);
        let crd = &rendered.objects[PATH];
        assert_eq!(crd["metadata"]["name"], format!("{PLURAL}.{GROUP}"));
        // Kept: its deletion would delete the reports of all workload clusters.
        assert_eq!(crd["metadata"]["annotations"], json!({"helm.sh/resource-policy": "keep"}));
        assert_eq!(
            (&crd["spec"]["group"], &crd["spec"]["scope"]),
            (&json!(GROUP), &json!("Namespaced"))
        );
        assert_eq!(crd["spec"]["names"]["kind"], KIND);
        assert_eq!(crd["spec"]["names"]["plural"], PLURAL);
        assert_eq!(crd["spec"]["names"]["shortNames"], json!(["wlc"]));
        let version = version(&rendered);
        assert_eq!(version["name"], VERSION);
        assert_eq!(version["subresources"], json!({ "status": {} }));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn schema_of_a_report_has_the_names_of_the_types() {
    let rendered = chart().with(FLEET);
    let schema = &version(&rendered)["schema"]["openAPIV3Schema"]["properties"];
    let [spec, status] = ["spec", "status"].map(|part| &schema[part]["properties"]);
    assert_eq!(keys(spec), keys_of(WorkloadClusterSpec::default()));
    let source = &spec["source"]["properties"];
    assert_eq!(keys(source), keys_of(ClusterObject::default()));
    let written = WorkloadClusterStatus {
        cluster_uid: "uid".to_owned(),
        wanted_revision: Some(2),
        applied_revision: Some(1),
        last_heartbeat_time: Some("2026-01-01T00:00:00Z".to_owned()),
        nodes: Some(NodesInCluster::default()),
        node_summary: "0/0".to_owned(),
        webhook: "Fail".to_owned(),
        pods_not_from_mirror: Some(0),
        last_error: Some("error".to_owned()),
        last_error_time: Some("2026-01-01T00:00:00Z".to_owned()),
        conditions: vec![NodeCondition::default()],
    };
    assert_eq!(keys(status), keys_of(&written));
    assert_eq!(keys(&status["nodes"]["properties"]), keys_of(NodesInCluster::default()));
    let conditions = &status["conditions"];
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    assert_eq!(keys(&conditions["items"]["properties"]), keys_of(NodeCondition::default()));
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
        "Since",
        "Age",
    ];
    assert_eq!(names, expected);
    let paths: Vec<&str> =
        columns.iter().map(|column| column["jsonPath"].as_str().unwrap()).collect();
    for condition in [APPLIED, CONFLICT, HEALTHY, REACHABLE] {
        let path = format!(r#".status.conditions[?(@.type=="{condition}")].status"#);
        assert!(paths.contains(&path.as_str()), "{condition}: {paths:?}");
    }
    // Each column of the status shows a field of the schema.
    let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let fields = keys(status);
    for path in paths {
        let Some(field) = path.strip_prefix(".status.") else { continue };
        let field = field.split('[').next().unwrap();
        assert!(fields.contains(field), "{path}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn columns_of_a_report_are_documented() {
    let rendered = chart().with(FLEET);
    let columns = version(&rendered)["additionalPrinterColumns"].as_array().unwrap();
    let is_shown = |it: &&Value| it["priority"].is_null() && it["name"] != "Age";
    let name = |it: &Value| it["name"].as_str().unwrap().to_uppercase();
    let shown: BTreeSet<String> = columns.iter().filter(is_shown).map(name).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/fleet.md");
    let text = std::fs::read_to_string(path).unwrap();
    let table = text.split_once("Its columns:").unwrap().1.split_once("`--output wide`").unwrap().0;
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    assert_eq!(names.map(str::to_owned).collect::<BTreeSet<_>>(), shown);
    let since = columns.iter().find(|it| it["name"] == "Since").unwrap();
    assert_eq!(
        (&since["type"], &since["jsonPath"]),
        (&json!("date"), &json!(".status.lastErrorTime"))
    );
}
