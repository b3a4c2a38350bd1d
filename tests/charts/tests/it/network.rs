//! Network policies: permitted connections.

use serde_json::json;

use crate::chart::{EVERYTHING, chart, deployment};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn service_maps_443_to_the_container_port() {
    let chart = chart();
    let rendered = chart.with("admission: {port: 9443}");
    let service = &rendered.objects["admission/service.yaml"];
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "https", "port": 443, "targetPort": "https", "protocol": "TCP"}])
    );
    let admission = deployment(&rendered, "admission");
    let ports = &admission["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(ports[0], json!({"name": "https", "containerPort": 9443}));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn webhook_listens_on_port_10250() {
    let chart = chart();
    let rendered = chart.with("");
    let admission = deployment(&rendered, "admission");
    let ports = &admission["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(ports[0]["containerPort"], 10250);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn network_policy_admits_every_client_of_the_webhook() {
    let chart = chart();
    for (values, port) in [("", 10250), (EVERYTHING, 10260)] {
        let rendered = chart.with(values);
        let ingress = &rendered.objects["admission/networkpolicy.yaml"]["spec"]["ingress"];
        // No `from`: an API server has no label.
        assert_eq!(ingress[0], json!({"ports": [{"port": port, "protocol": "TCP"}]}));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn metrics_can_be_limited_to_their_readers() {
    let chart = chart();
    let open = json!({"ports": [{"port": 8080, "protocol": "TCP"}]});
    let from = json!([{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}]);
    let limited = json!({"ports": [{"port": 8080, "protocol": "TCP"}], "from": from});
    for (values, expected) in [("", open), (EVERYTHING, limited)] {
        let rendered = chart.with(values);
        for (component, rule) in [("admission", 1), ("controller", 0)] {
            let policy = &rendered.objects[&format!("{component}/networkpolicy.yaml")];
            assert_eq!(policy["spec"]["ingress"][rule], expected, "{component}");
            // Egress is not limited: the API server and the registry have no label to select.
            assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn network_policies_can_be_turned_off() {
    let chart = chart();
    let rendered = chart.with("networkPolicy: {enabled: false}");
    assert!(!rendered.objects.keys().any(|path| path.ends_with("networkpolicy.yaml")));
}
