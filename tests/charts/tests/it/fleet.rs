//! The fleet controller: its objects on the management cluster, and its permissions.

use std::collections::BTreeSet;

use image_swap_testbed::HelmRelease;
use serde_json::{Value, json};

use crate::{
    chart::{
        EVERYTHING, FLEET, Rendered, arguments, chart, charts, directory, file, of_kind, strings,
    },
    yaml,
};

/// Service account of the fleet controller.
const ACCOUNT: &str = "image-swap-fleet";

fn component(object: &Value) -> &Value {
    &object["metadata"]["labels"]["app.kubernetes.io/component"]
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn release_without_fleet_is_unchanged() {
    for chart in charts() {
        for values in ["", EVERYTHING] {
            let expected = chart.with(values);
            for off in [
                "fleet: {enabled: false, namespaces: [clusters], values: {policy: audit}}",
                // As `helm upgrade --reuse-values` has it after an earlier version.
                "fleet: null",
            ] {
                assert_eq!(chart.named("image-swap", &[values, off]), expected, "{off}");
            }
            for (path, text) in &expected.texts {
                assert!(!path.starts_with("fleet/"), "{path}");
                for of_workload_cluster in ["@", "heartbeat", "if-served"] {
                    let is_path = text.lines().all(|line| {
                        !line.contains(of_workload_cluster) || line.contains("jsonPath: ")
                    });
                    assert!(is_path, "{path}: {of_workload_cluster}");
                }
            }
        }
        assert!(!chart.with(EVERYTHING).objects.values().any(|it| component(it) == "fleet"));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_changes_no_other_object() {
    for chart in charts() {
        let mut rendered = chart.named("image-swap", &[EVERYTHING, FLEET]);
        rendered.texts.retain(|path, _| !path.starts_with("fleet/"));
        rendered.objects.retain(|path, _| !path.starts_with("fleet/"));
        assert_eq!(rendered, chart.with(EVERYTHING));
    }
}

/// Returns each right of the fleet controller, with the namespace of the binding.
fn rights(rendered: &[Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let is_binding = |object: &&Value| object["kind"].as_str().unwrap().ends_with("Binding");
    for binding in rendered.iter().filter(is_binding) {
        if binding["subjects"][0]["name"] != ACCOUNT {
            continue;
        }
        let subject = json!([{
            "kind": "ServiceAccount", "name": ACCOUNT, "namespace": "image-swap-fleet",
        }]);
        assert_eq!(binding["subjects"], subject);
        let namespace = &binding["metadata"]["namespace"];
        let is_bound = |object: &&Value| {
            object["kind"] == binding["roleRef"]["kind"]
                && object["metadata"]["name"] == binding["roleRef"]["name"]
                && object["metadata"]["namespace"] == *namespace
        };
        let role = rendered.iter().find(is_bound).unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let part = |name: &str| strings(&rule[name]).join(" ");
            found.insert(format!(
                "{}: {}/{}: {}: {}",
                namespace.as_str().unwrap_or("*"),
                part("apiGroups"),
                part("resources"),
                part("resourceNames"),
                part("verbs"),
            ));
        }
    }
    found
}

fn objects(values: &[&str]) -> Vec<Value> {
    let release =
        HelmRelease { chart: &directory(), name: "image-swap", namespace: "somewhere", values };
    let manifests = chart().helm.template(&release).unwrap();
    manifests.iter().map(|manifest| yaml::one(&manifest.text)).collect()
}

/// Spells out every right: Secrets only in the listed namespaces, and no other cluster-wide right
/// than those to read its anchor and the identity of the cluster.
// guarantee: 6c
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rights_on_secrets_are_in_listed_namespaces() {
    let everywhere = [
        "*: rbac.authorization.k8s.io/clusterroles: image-swap-fleet: get".to_owned(),
        "*: /namespaces: kube-system: get".to_owned(),
    ];
    let own = [
        "/secrets: : get list create patch delete",
        "/configmaps: image-swap-fleet-bundle: list watch",
        "/configmaps: image-swap-fleet-state: get list watch create patch",
        "events.k8s.io/events: : create",
        "coordination.k8s.io/leases: image-swap-fleet-controller: get create patch update",
    ];
    let own = own.map(|right| format!("image-swap-fleet: {right}"));
    let release = ["somewhere: /secrets: image-swap-last-good: list watch".to_owned()];
    let secrets = "/secrets: : get list watch";
    let of_cluster_api = "cluster.x-k8s.io/clusters: : list watch";
    let of_inventory = "multicluster.x-k8s.io/clusterprofiles: : list watch";
    let reports = [
        "image-swap.io/workloadclusters: : list create patch delete",
        "image-swap.io/workloadclusters/status: : patch",
        "events.k8s.io/events: : create",
    ];
    for (sources, origins) in [
        ("[cluster-api, cluster-profile, kubeconfig]", vec![of_cluster_api, of_inventory]),
        ("[cluster-api]", vec![of_cluster_api]),
        ("[cluster-profile]", vec![of_inventory]),
        ("[kubeconfig]", vec![]),
    ] {
        let values = format!("fleet: {{namespaces: [clusters, edge], sources: {sources}}}");
        let mut expected: BTreeSet<String> =
            [&everywhere[..], &own, &release].concat().into_iter().collect();
        for namespace in ["clusters", "edge"] {
            let here = [vec![secrets], origins.clone(), reports.to_vec()].concat();
            expected.extend(here.iter().map(|right| format!("{namespace}: {right}")));
        }
        assert_eq!(rights(&objects(&[FLEET, &values])), expected, "{sources}");
    }
}

fn args(rendered: &Rendered) -> Vec<&str> {
    arguments(&rendered.objects["fleet/deployment.yaml"])
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_reach_the_fleet_controller() {
    let chart = chart();
    let common = |namespace: &str| {
        vec![
            "fleet".to_owned(),
            format!("--namespace={namespace}"),
            "--name=image-swap".to_owned(),
            "--release-namespace=somewhere".to_owned(),
        ]
    };
    let last = ["--admin-listen=0.0.0.0:8080", "--log-level=info", "--log-format=json"];
    let mut expected = common("image-swap-fleet");
    expected.extend(
        [
            "--namespaces=clusters",
            "--selector=env in (prod,test),!old",
            "--source=cluster-api,cluster-profile,kubeconfig,pull",
            "--credential-provider=gke=kubeconfig-secretreader",
            "--credential-provider=ocm=secretreader",
            "--workload-namespace=image-swap",
            "--canary=canary=true",
            "--wave-size=5",
            "--cluster-metrics",
        ]
        .map(str::to_owned),
    );
    expected.extend(last.map(str::to_owned));
    assert_eq!(args(&chart.with(FLEET)), expected);
    let minimum = "fleet: {enabled: true, namespace: hub, namespaces: [c], sources: [kubeconfig], \
                 workloadNamespace: mirrors}";
    let mut expected = common("hub");
    let rest = ["--namespaces=c", "--source=kubeconfig", "--workload-namespace=mirrors"];
    expected.extend(rest.map(str::to_owned));
    expected.extend(last.map(str::to_owned));
    assert_eq!(args(&chart.with(minimum)), expected);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_has_a_restricted_namespace_of_its_own() {
    for chart in charts() {
        let rendered = chart.named("image-swap", &[EVERYTHING, FLEET]);
        let namespace = &rendered.objects["fleet/namespace.yaml"]["metadata"];
        assert_eq!(namespace["name"], "image-swap-fleet");
        assert_eq!(namespace["annotations"], json!({"helm.sh/resource-policy": "keep"}));
        for mode in ["enforce", "warn", "audit"] {
            let label = format!("pod-security.kubernetes.io/{mode}");
            assert_eq!(namespace["labels"][label], "restricted");
        }
        for (path, object) in &rendered.objects {
            let is_of_fleet = object["metadata"]["namespace"] == "image-swap-fleet";
            assert!(!is_of_fleet || path.starts_with("fleet/"), "{path}");
        }
        let workloads = rendered.objects.iter().filter(|(_, object)| {
            object["spec"]["template"].is_object()
                && object["metadata"]["namespace"] == "image-swap-fleet"
        });
        assert_eq!(workloads.map(|(path, _)| path).collect::<Vec<_>>(), ["fleet/deployment.yaml"]);
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_pod_resembles_that_of_the_controller() {
    let rendered = chart().named("image-swap", &[EVERYTHING, FLEET]);
    let pod = |path: &str| rendered.objects[path]["spec"]["template"].clone();
    let (mut fleet, mut controller) =
        (pod("fleet/deployment.yaml"), pod("controller/deployment.yaml"));
    for (template, name) in [(&mut fleet, "fleet"), (&mut controller, "controller")] {
        let label = template.pointer_mut("/metadata/labels/app.kubernetes.io~1component").unwrap();
        assert_eq!(label.take(), name);
        let spec = &mut template["spec"];
        assert_eq!(spec["serviceAccountName"].take(), format!("image-swap-{name}"));
        let container = &mut spec["containers"][0];
        assert_eq!(container["name"].take(), name);
        container["args"].take();
        let resources = container["resources"].take();
        assert!(resources["limits"]["memory"].is_string() && resources["limits"]["cpu"].is_null());
    }
    assert_eq!(fleet, controller);
    let spec = |path: &str| rendered.objects[path]["spec"].clone();
    let strategy = spec("fleet/deployment.yaml")["strategy"].clone();
    assert_eq!(strategy, spec("controller/deployment.yaml")["strategy"]);
    // The pull Secret of its own namespace.
    let secret = &rendered.objects["fleet/image.yaml"];
    assert_eq!(secret["data"], rendered.objects["image.yaml"]["data"]);
    assert_eq!(secret["metadata"]["namespace"], "image-swap-fleet");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn selectors_of_the_fleet_match_its_pods() {
    let rendered = chart().named("image-swap", &[EVERYTHING, FLEET]);
    let spec = |path: &str| &rendered.objects[path]["spec"];
    let expected = json!({
        "app.kubernetes.io/name": "image-swap",
        "app.kubernetes.io/instance": "image-swap",
        "app.kubernetes.io/component": "fleet",
    });
    let deployment = spec("fleet/deployment.yaml");
    assert_eq!(deployment["selector"]["matchLabels"], expected);
    let policy = spec("fleet/networkpolicy.yaml");
    assert_eq!(policy["podSelector"]["matchLabels"], expected);
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    assert_eq!(policy["ingress"], spec("controller/networkpolicy.yaml")["ingress"]);
    assert_eq!(spec("fleet/service.yaml")["selector"], expected);
    let monitor = spec("fleet/servicemonitor.yaml");
    assert_eq!(monitor["selector"]["matchLabels"], expected);
    let service = &rendered.objects["fleet/service.yaml"]["metadata"]["labels"];
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(service[key], *value);
    }
    let without = chart().named("image-swap", &[FLEET, "networkPolicy: {enabled: false}"]);
    for path in ["networkpolicy", "service", "servicemonitor", "image"] {
        assert!(!without.objects.contains_key(&format!("fleet/{path}.yaml")), "{path}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn notes_name_the_command_for_the_fleet() {
    let chart = chart();
    let command = "image-swap fleet status --namespace=clusters";
    let notes = chart.notes(&[FLEET]);
    assert!(
        notes.contains(command) && notes.contains("in these namespaces: clusters\n"),
        "{notes}"
    );
    assert!(!chart.notes(&[""]).contains("fleet"));
}

/// Forbids hooks: an uninstallation of the management cluster changes no workload cluster.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn uninstallation_runs_nothing_of_the_fleet() {
    for chart in charts() {
        let rendered = chart.named("image-swap", &[EVERYTHING, FLEET]);
        let fleet = rendered.texts.iter().filter(|(path, _)| path.starts_with("fleet/"));
        for (path, text) in fleet {
            assert!(!text.contains("helm.sh/hook"), "{path}");
        }
        let kept = rendered.objects.iter().filter(|(path, object)| {
            let policy = &object["metadata"]["annotations"]["helm.sh/resource-policy"];
            path.starts_with("fleet/") && policy == "keep"
        });
        let kept: Vec<&str> = kept.map(|(path, _)| path.as_str()).collect();
        assert_eq!(kept, ["fleet/crd.yaml", "fleet/namespace.yaml"]);
        assert_eq!(of_kind(&rendered, "Job").len(), 0);
    }
}

/// Requires each template of the chart in the bundle, or a reason here.
#[test]
fn templates_are_in_the_bundle_or_excepted() {
    let bundle = file("templates/fleet/bundle.yaml");
    let excepted = [
        // The declaration comes from the fleet controller.
        "declaration",
        // Hooks of Helm, and the request to restore nodes.
        "agent/restore",
        // For the Grafana of the management cluster.
        "monitoring/dashboard",
        // Renders nothing.
        "validate",
    ];
    let templates = directory().join("templates");
    for folder in ["", "admission", "agent", "controller", "monitoring", "restart", "trial"] {
        for entry in std::fs::read_dir(templates.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let Some(stem) = name.strip_suffix(".yaml") else { continue };
            let path = if folder.is_empty() { stem.to_owned() } else { format!("{folder}/{stem}") };
            let is_listed = bundle.contains(&format!("\"{path}\""));
            assert_ne!(is_listed, excepted.contains(&path.as_str()), "{path}");
        }
    }
}
