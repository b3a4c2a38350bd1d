//! Properties of every pod of the release, except those of agents.

use serde_json::{Value, json};

use crate::chart::{EVERYTHING, PAGE, Rendered, argument, chart, charts, deployment, of_kind};

/// Returns the pod templates of both Deployments.
fn templates(rendered: &Rendered) -> Vec<&Value> {
    let templates: Vec<&Value> = of_kind(rendered, "Deployment")
        .into_iter()
        .map(|workload| &workload["spec"]["template"])
        .collect();
    assert_eq!(templates.len(), 2, "two Deployments");
    templates
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn pods_are_exempt_by_label_with_any_values() {
    let chart = chart();
    let opposite = "podLabels: {image-swap.io/exempt: 'false', k8s.twr.io/imageswap: enabled, \
                    app.kubernetes.io/component: none, team: platform}";
    for (values, team) in [("", json!(null)), (opposite, json!("platform"))] {
        for template in templates(&chart.with(values)) {
            let labels = &template["metadata"]["labels"];
            assert_eq!(labels["image-swap.io/exempt"], "true");
            assert_eq!(labels["k8s.twr.io/imageswap"], "disabled", "a live imageswap leaves us");
            assert_ne!(labels["app.kubernetes.io/component"], "none");
            assert_eq!(labels["team"], team);
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn pods_meet_the_restricted_pod_security_level() {
    let chart = chart();
    for template in templates(&chart.with(PAGE)) {
        let pod = &template["spec"];
        assert_eq!(
            pod["securityContext"],
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
        );
        for key in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"] {
            assert!(pod.get(key).is_none(), "{key}");
        }
        let container = &pod["containers"][0];
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            })
        );
        assert!(container["resources"]["limits"]["memory"].is_string());
        assert!(container["resources"]["requests"]["memory"].is_string());
        // A limit on CPU would slow admission down when it matters.
        assert!(container["resources"]["limits"].get("cpu").is_none());
        assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn pods_select_linux_and_architectures_of_the_image() {
    let chart = chart();
    let architectures = |template: &Value| {
        let affinity = &template["spec"]["affinity"]["nodeAffinity"];
        let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
        let term = &required["nodeSelectorTerms"][0]["matchExpressions"][0];
        assert_eq!((&term["key"], &term["operator"]), (&json!("kubernetes.io/arch"), &json!("In")));
        term["values"].clone()
    };
    for template in templates(&chart.with("")) {
        assert_eq!(template["spec"]["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
        assert_eq!(architectures(template), json!(["amd64", "arm64"]));
    }
    let values = "architectures: [arm64]\nnodeSelector: {pool: tools, kubernetes.io/os: windows}";
    for template in templates(&chart.with(values)) {
        let selector = json!({"kubernetes.io/os": "linux", "pool": "tools"});
        assert_eq!(template["spec"]["nodeSelector"], selector);
        assert_eq!(architectures(template), json!(["arm64"]));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn own_priority_class_needs_no_quota() {
    let chart = chart();
    let ours = chart.with("");
    let class = &ours.objects["priorityclass.yaml"];
    assert_eq!(class["metadata"]["name"], "image-swap");
    // The highest priority for users; higher ones are reserved for the system.
    assert_eq!(class["value"], 1_000_000_000);
    assert!(class.get("globalDefault").is_none());
    let other = chart.with("priorityClassName: system-cluster-critical");
    assert!(!other.objects.contains_key("priorityclass.yaml"));
    for (rendered, name) in [(&ours, "image-swap"), (&other, "system-cluster-critical")] {
        for template in templates(rendered) {
            assert_eq!(template["spec"]["priorityClassName"], name);
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rollout_replaces_replicas_after_new_ones_are_ready() {
    let chart = chart();
    let rendered = chart.with("");
    let admission = &deployment(&rendered, "admission")["spec"];
    assert_eq!(admission["replicas"], 2);
    let rolling =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    assert_eq!(admission["strategy"], rolling);
    assert_eq!(deployment(&rendered, "controller")["spec"]["strategy"], rolling);
    assert_eq!(deployment(&rendered, "controller")["spec"]["replicas"], 1);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn replicas_are_spread_if_possible() {
    let chart = chart();
    let rendered = chart.with("");
    let admission = &deployment(&rendered, "admission")["spec"];
    let spread = admission["template"]["spec"]["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<&Value> = spread.iter().map(|constraint| &constraint["topologyKey"]).collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    for constraint in spread {
        assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
        assert_eq!(constraint["labelSelector"], admission["selector"]);
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn both_deployments_are_probed_on_the_admin_port() {
    let chart = chart();
    let rendered = chart.with("adminPort: 9090");
    for component in ["admission", "controller"] {
        let deployment = deployment(&rendered, component);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(
            container["readinessProbe"]["httpGet"],
            json!({"path": "/readyz", "port": "admin"})
        );
        assert_eq!(
            container["livenessProbe"]["httpGet"],
            json!({"path": "/healthz", "port": "admin"})
        );
        let ports = container["ports"].as_array().unwrap();
        let admin = ports.iter().find(|port| port["name"] == "admin").unwrap();
        assert_eq!(admin["containerPort"], 9090);
        assert_eq!(argument(deployment, "admin-listen"), Some("0.0.0.0:9090"));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn replica_has_time_to_stop() {
    let chart = chart();
    let rendered = chart.with("");
    let admission = deployment(&rendered, "admission");
    let seconds = |name| argument(admission, name).unwrap().parse::<u64>().unwrap();
    let grace = &admission["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    assert!(grace.as_u64().unwrap() > seconds("shutdown-delay") + seconds("drain-timeout"));
    assert!(seconds("shutdown-delay") > 0, "until every API server knows");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rollout_on_host_network_frees_a_port() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    let admission = deployment(&rendered, "admission");
    let pod = &admission["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
    assert_eq!(admission["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 1);
    assert_eq!(argument(admission, "listen"), Some("0.0.0.0:10260"));
    let controller = deployment(&rendered, "controller");
    assert!(controller["spec"]["template"]["spec"].get("hostNetwork").is_none());
}

/// Forbids hooks with pods: an image that cannot be pulled would block uninstallation.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn uninstallation_begins_without_the_registration() {
    for chart in charts() {
        let rendered = chart.with("");
        let hooks = rendered.objects.iter().filter_map(|(path, object)| {
            let annotations = &object["metadata"]["annotations"];
            (annotations["helm.sh/hook"] == "pre-delete").then_some((path, object, annotations))
        });
        let mut weights = Vec::new();
        for (path, object, annotations) in hooks {
            let policy = &annotations["helm.sh/hook-delete-policy"];
            assert_eq!(policy, "before-hook-creation,hook-succeeded", "{path}");
            let weight = annotations["helm.sh/hook-weight"].as_str().unwrap();
            let name = object["metadata"]["name"].as_str().unwrap();
            weights.push((weight.parse::<i32>().unwrap(), object["kind"].as_str().unwrap(), name));
            for field in ["spec", "data", "webhooks"] {
                assert!(object.get(field).is_none(), "{path}: {field}");
            }
        }
        weights.sort_unstable();
        let expected = [
            (-10, "ConfigMap", "image-swap-uninstall"),
            (0, "MutatingWebhookConfiguration", "image-swap-admission"),
        ];
        assert_eq!(weights, expected, "{}", chart.helm.major());
        // An administrator marks the anchor. Were the mark in the template too, Helm 4
        // would refuse to roll back a release that did not go after all.
        assert!(rendered.objects["clusterrole.yaml"]["metadata"].get("annotations").is_none());
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn tolerations_and_annotations_reach_both_deployments() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    for component in ["admission", "controller"] {
        let template = &deployment(&rendered, component)["spec"]["template"];
        let startup = json!({"key": "image-swap.io/not-configured", "operator": "Exists"});
        assert_eq!(template["spec"]["tolerations"], json!([{"operator": "Exists"}, startup]));
        assert_eq!(template["metadata"]["annotations"], json!({"note": "hello"}));
    }
}
