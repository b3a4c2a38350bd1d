//! Names, labels and selectors.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::chart::{EVERYTHING, FLEET, Rendered, chart, deployment, workloads};

/// Kinds of objects outside namespaces.
const CLUSTER_SCOPED: [&str; 9] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "Namespace",
    "PriorityClass",
    "SecurityContextConstraints",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];
/// The template of the namespace jet-system, which outlives the release.
const NAMESPACE: &str = "namespace.yaml";
/// The template of the custom resource. Kubernetes prescribes its name.
const CRD: &str = "agent/crd.yaml";

/// Names of imageswap's objects, as its deployment and its own program make them.
const UPSTREAM: [&str; 10] = [
    "imageswap",
    "imageswap-env",
    "imageswap-maps",
    "imageswap-mwc-template",
    "imageswap-read",
    "imageswap-tls",
    "imageswap-tls-ca",
    "imageswap-webhook",
    "imageswap-write",
    "imageswap-pdb",
];

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn release_name_prefixes_every_name() {
    let chart = chart();
    for (release, prefix) in [
        ("image-swap", "image-swap"),
        ("my-image-swap", "my-image-swap"),
        ("tools", "tools-image-swap"),
    ] {
        let rendered = chart.named(release, &[""]);
        assert_eq!(rendered.objects["clusterrole.yaml"]["metadata"]["name"], prefix);
        for (path, object) in &rendered.objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            if path == NAMESPACE {
                assert_eq!(name, "jet-system");
                continue;
            }
            if path == CRD {
                assert_eq!(name, "nodemirrors.image-swap.io");
                continue;
            }
            let rest = name.strip_prefix(prefix).unwrap_or_else(|| panic!("{name}"));
            assert!(rest.is_empty() || rest.starts_with('-'), "{name}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn longest_release_name_results_in_valid_names() {
    let chart = chart();
    let release = "a".repeat(53);
    for (path, object) in &chart.named(&release, &[EVERYTHING, FLEET]).objects {
        if path == NAMESPACE {
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap();
        // The name of a DaemonSet is never a label, and that of its pods is cut.
        let limit = if object["kind"] == "DaemonSet" { 253 } else { 63 };
        assert!(name.len() <= limit && !name.ends_with('-'), "{name}");
        for value in object["metadata"]["labels"].as_object().unwrap().values() {
            assert!(value.as_str().unwrap().len() <= 63, "{value}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn nothing_collides_with_imageswap() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    for object in rendered.objects.values() {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(!UPSTREAM.contains(&name) && !name.starts_with("imageswap"), "{name}");
    }
    // The Service and the Deployment of imageswap select `app: imageswap`.
    for workload in workloads(&rendered) {
        assert!(workload["spec"]["template"]["metadata"]["labels"].get("app").is_none());
    }
    for labels in selectors(&rendered) {
        let is_own =
            |key: &str| key.starts_with("app.kubernetes.io/") || key.starts_with("image-swap.io/");
        assert!(labels.iter().all(|(key, _)| is_own(key)), "{labels:?}");
    }
}

type Labels = BTreeSet<(String, String)>;

fn labels(object: &Value) -> Labels {
    let pair = |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap().to_owned());
    object.as_object().unwrap().iter().map(pair).collect()
}

/// Returns every selector of pods, in objects of any kind.
fn selectors(rendered: &Rendered) -> Vec<Labels> {
    let of = |object: &Value| -> Option<Labels> {
        let spec = &object["spec"];
        match object["kind"].as_str().unwrap() {
            "DaemonSet" | "Deployment" | "PodDisruptionBudget" => {
                Some(labels(&spec["selector"]["matchLabels"]))
            }
            "NetworkPolicy" => Some(labels(&spec["podSelector"]["matchLabels"])),
            "Service" => Some(labels(&spec["selector"])),
            _ => None,
        }
    };
    let found: Vec<Labels> = rendered.objects.values().filter_map(of).collect();
    // Three DaemonSets, two Deployments, two NetworkPolicies, two Services, one budget.
    assert_eq!(found.len(), 10);
    found
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn selectors_match_only_their_own_component() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    // The agents of one runtime are a component too.
    let component = |object: &Value| {
        let labels = &object["metadata"]["labels"];
        ["app.kubernetes.io/component", "image-swap.io/runtime"].map(|key| labels[key].clone())
    };
    let pods: Vec<_> = workloads(&rendered)
        .into_iter()
        .map(|workload| {
            let template = labels(&workload["spec"]["template"]["metadata"]["labels"]);
            (component(workload), template)
        })
        .collect();
    for (path, object) in &rendered.objects {
        let spec = &object["spec"];
        let selector = match object["kind"].as_str().unwrap() {
            "DaemonSet" | "Deployment" | "PodDisruptionBudget" => &spec["selector"]["matchLabels"],
            "NetworkPolicy" => &spec["podSelector"]["matchLabels"],
            "Service" if !path.starts_with("monitoring/") => &spec["selector"],
            _ => continue,
        };
        let selector = labels(selector);
        let is_found = |(_, pod): &&([Value; 2], Labels)| selector.is_subset(pod);
        let found: Vec<_> = pods.iter().filter(is_found).map(|(name, _)| name.clone()).collect();
        assert_eq!(found, [component(object)], "{path}");
    }
}

/// Pins the selectors of workloads: they are immutable, and a changed one would break upgrades.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn selectors_equal_the_released_ones() {
    let chart = chart();
    let rendered = chart.named("tools", &[EVERYTHING]);
    for component in ["admission", "controller"] {
        let selector = labels(&deployment(&rendered, component)["spec"]["selector"]["matchLabels"]);
        let expected = [
            ("app.kubernetes.io/component", component),
            ("app.kubernetes.io/instance", "tools"),
            ("app.kubernetes.io/name", "image-swap"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(selector, Labels::from(expected));
    }
    for runtime in ["containerd", "crio", "k3s"] {
        let agents = &rendered.objects[&format!("agent/{runtime}.yaml")];
        let expected = [
            ("app.kubernetes.io/component", "agent"),
            ("app.kubernetes.io/instance", "tools"),
            ("app.kubernetes.io/name", "image-swap"),
            ("image-swap.io/runtime", runtime),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let selector = labels(&agents["spec"]["selector"]["matchLabels"]);
        assert_eq!(selector, Labels::from(expected));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn objects_have_labels_and_namespace_of_the_release() {
    let chart = chart();
    let rendered = chart.with(EVERYTHING);
    for (path, object) in rendered.objects.iter().filter(|(path, _)| *path != NAMESPACE) {
        let metadata = &object["metadata"];
        let labels = &metadata["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "image-swap", "{path}");
        assert_eq!(labels["app.kubernetes.io/instance"], "image-swap", "{path}");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "Helm", "{path}");
        assert_eq!(labels["app.kubernetes.io/version"], env!("CARGO_PKG_VERSION"), "{path}");
        assert!(labels["helm.sh/chart"].is_string(), "{path}");
        let cluster_scoped = CLUSTER_SCOPED.contains(&object["kind"].as_str().unwrap());
        let namespace = metadata.get("namespace").and_then(Value::as_str);
        let expected = match path.as_str() {
            "agent/role.yaml" | "agent/rolebinding.yaml" => "somewhere",
            path if path.starts_with("agent/") => "image-swap-agent",
            path if path.starts_with("trial/") => "image-swap-trial",
            path if path.starts_with("restart/") => "image-swap-restart",
            _ => "somewhere",
        };
        assert_eq!(namespace, (!cluster_scoped).then_some(expected), "{path}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn template_holds_one_object() {
    let chart = chart();
    for (path, text) in &chart.with(EVERYTHING).texts {
        let documents = text.lines().filter(|line| line.starts_with("kind: ")).count();
        assert_eq!(documents, 1, "{path}");
    }
}
