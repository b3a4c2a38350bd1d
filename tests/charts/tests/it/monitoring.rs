//! Objects for Prometheus and Grafana.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::chart::{EVERYTHING, FLEET, Rendered, chart};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn monitoring_is_off_by_default() {
    let chart = chart();
    let rendered = chart.with("");
    assert!(!rendered.objects.keys().any(|path| path.starts_with("monitoring/")));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn service_monitor_selects_its_service() {
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

/// Returns name, expression and duration of each alert of the release.
fn alerts(rendered: &Rendered) -> Vec<[String; 3]> {
    alerts_in(&rendered.objects["monitoring/prometheusrule.yaml"])
}

/// Returns name, expression and duration of each alert in `rule`.
fn alerts_in(rule: &Value) -> Vec<[String; 3]> {
    let groups = rule["spec"]["groups"].as_array();
    let [group] = &groups.unwrap()[..] else { panic!("expected one group, found {groups:?}") };
    let alerts = group["rules"].as_array().unwrap().iter().map(|rule| {
        ["alert", "expr", "for"].map(|key| rule[key].as_str().unwrap_or_default().to_owned())
    });
    alerts.collect()
}

/// Returns the same of each row in the table of a file in `docs`.
fn documented_alerts(file: &str) -> Vec<[String; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `ImageSwap"));
    let alerts = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        [cells[1].to_owned(), cells[2].to_owned(), cells[3].replace(' ', "")]
    });
    alerts.collect()
}

/// Asserts that each alert of `rule` has a severity and texts.
fn alerts_are_complete(rule: &Value) {
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    for alert in rule["spec"]["groups"][0]["rules"].as_array().unwrap() {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{alert}");
        // Prometheus fills in the label by which the expression is grouped.
        let [summary, expr] = [&alert["annotations"]["summary"], &alert["expr"]];
        let is_grouped = expr.as_str().unwrap().contains("max by");
        assert_eq!(summary.as_str().unwrap().contains("{{ $labels."), is_grouped, "{alert}");
        assert!(alert["annotations"]["description"].is_string(), "{alert}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn prometheus_rule_has_the_documented_alerts() {
    let rendered = chart().with(EVERYTHING);
    let found = alerts(&rendered);
    assert_eq!(found, documented_alerts("production.md"));
    assert_eq!(found.len(), 15);
    alerts_are_complete(&rendered.objects["monitoring/prometheusrule.yaml"]);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_has_its_documented_alerts() {
    let path = "fleet/prometheusrule.yaml";
    let rendered = chart().named("image-swap", &[EVERYTHING, FLEET]);
    let rule = &rendered.objects[path];
    let found = alerts_in(rule);
    assert_eq!(found, documented_alerts("fleet.md"));
    assert_eq!(found.len(), 8);
    // Each state that is an error has an alert.
    for reason in ["Unreachable", "Refused", "Duplicate", "Conflict", "Failed"] {
        let state = format!("{{state=\"{reason}\"}}");
        assert!(found.iter().any(|[_, expression, _]| expression.contains(&state)), "{reason}");
    }
    assert_eq!(rule["metadata"]["namespace"], "image-swap-fleet");
    alerts_are_complete(rule);
    let off = "prometheusRule: {enabled: false}";
    assert!(!chart().named("image-swap", &[EVERYTHING, FLEET, off]).objects.contains_key(path));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn alerts_depend_on_the_policy() {
    let names = |policy: &str| -> Vec<String> {
        let values = format!("{{policy: {policy}, prometheusRule: {{enabled: true}}}}");
        alerts(&chart().with(&values)).into_iter().map(|[name, ..]| name).collect()
    };
    let without = |left_out: &[&str]| -> Vec<String> {
        let is_left = |name: &String| !left_out.contains(&&**name);
        names("fail").into_iter().filter(is_left).collect()
    };
    assert_eq!(names("ignore"), without(&["ImageSwapFailurePolicyIgnore"]));
    assert_eq!(names("audit"), without(&["ImageSwapFailurePolicyIgnore", "ImageSwapNotEnforcing"]));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn grafana_reads_the_dashboard() {
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
    // Panels are placed beside and below each other.
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
