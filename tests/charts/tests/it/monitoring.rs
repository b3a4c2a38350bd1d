//! What Prometheus and Grafana are given.

use serde_json::{Value, json};

use crate::chart::{EVERYTHING, chart};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn nothing_of_it_is_there_by_default() {
    let chart = chart();
    let rendered = chart.with("");
    assert!(!rendered.objects.keys().any(|path| path.starts_with("monitoring/")));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_service_monitor_finds_its_service() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    let service = &rendered.objects["monitoring/service.yaml"];
    let monitor = &rendered.objects["monitoring/servicemonitor.yaml"];
    for (key, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&service["metadata"]["labels"][key], value);
        // The Service that the API server calls is not scraped.
        if key == "app.kubernetes.io/component" {
            let labels = &rendered.objects["admission/service.yaml"]["metadata"]["labels"];
            assert_ne!(&labels[key], value);
        }
    }
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(endpoint["interval"], "30s");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn the_dashboard_is_one_that_grafana_reads() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    let map = &rendered.objects["monitoring/dashboard.yaml"];
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let dashboard = map["data"]["image-swap.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    assert_eq!(dashboard["uid"], "image-swap");
    let panels = dashboard["panels"].as_array().unwrap();
    for (at, panel) in panels.iter().enumerate() {
        assert_eq!(panel["id"], at + 1);
        assert_eq!(panel["datasource"]["uid"], json!("${datasource}"));
        for target in panel["targets"].as_array().unwrap() {
            assert!(target["expr"].as_str().unwrap().contains("image_swap_"), "{target}");
        }
    }
    // Panels stand beside and below each other.
    let place = |panel: &Value, key: &str| panel["gridPos"][key].as_u64().unwrap();
    for (at, one) in panels.iter().enumerate() {
        for other in &panels[at + 1..] {
            let apart = |from: &str, size: &str| {
                place(one, from) + place(one, size) <= place(other, from)
                    || place(other, from) + place(other, size) <= place(one, from)
            };
            assert!(apart("x", "w") || apart("y", "h"), "{} and {}", one["title"], other["title"]);
        }
    }
}
