//! Restarts of container runtimes by the controller: `agent.restart: rolling`.

use std::{fs, path::Path};

use serde_json::json;

use crate::chart::{EVERYTHING, agents, argument, arguments, chart, charts, deployment, directory};

/// Copies the chart without the templates of restarts.
fn copy_without_restarts(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|it| (it.path(), to.join(it.file_name()))).unwrap();
        if path.ends_with("templates/restart") {
            continue;
        }
        if path.is_dir() {
            copy_without_restarts(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn chart_without_rolling_has_nothing_of_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("image-swap");
    copy_without_restarts(&directory(), &copy);
    let never =
        "agent: {restart: never, restartNamespace: r, maxUnavailable: 3, restartCommand: x}";
    for chart in charts() {
        let default = chart.with("");
        for values in ["", never] {
            assert_eq!(chart.with(values), default, "{values}");
            assert_eq!(chart.render(&copy, "image-swap", &[values]).unwrap(), default, "{values}");
        }
        for (path, text) in &default.texts {
            for trace in ["--restart", "--max-unavailable", "nonResourceURLs", "image-swap-restart"]
            {
                assert!(!text.contains(trace), "{path}: {trace}");
            }
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_of_an_earlier_chart_mean_never() {
    let earlier = "agent: {restart: null, restartNamespace: null, maxUnavailable: null, \
                   restartCommand: null}";
    for chart in charts() {
        assert_eq!(chart.with(earlier), chart.with(""));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rolling_adds_templates_of_its_own() {
    let chart = chart();
    let restarts = |values: &str| -> Vec<String> {
        let rendered = chart.with(values);
        rendered.objects.into_keys().filter(|path| path.starts_with("restart/")).collect()
    };
    let always = ["namespace", "policy", "policybinding", "role", "rolebinding"];
    let always = always.map(|name| format!("restart/{name}.yaml"));
    assert_eq!(restarts("agent: {restart: rolling}"), always);
    let mut all = always.to_vec();
    all.extend(["image", "resourcequota"].map(|name| format!("restart/{name}.yaml")));
    all.sort();
    assert_eq!(restarts(EVERYTHING), all);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn rolling_values_reach_agents_and_controller() {
    let chart = chart();
    let rendered = chart.with("agent: {restart: rolling}");
    for (runtime, agent) in agents(&rendered) {
        assert_eq!(argument(agent, "restart"), Some("rolling"), "{runtime}");
    }
    let controller = deployment(&rendered, "controller");
    for (name, value) in [
        ("restart-namespace", Some("image-swap-restart")),
        ("restart-image", Some(concat!("image-swap:", env!("CARGO_PKG_VERSION")))),
        ("restart-pull-secrets", None),
        ("max-unavailable", Some("1")),
        ("restart-command", None),
    ] {
        assert_eq!(argument(controller, name), value, "--{name}");
    }
    let more = "agent: {restartNamespace: r, maxUnavailable: 5}";
    let rendered = chart.named("image-swap", &[EVERYTHING, more]);
    let controller = deployment(&rendered, "controller");
    let image =
        concat!("harbor.example.org:8443/airgap-images/image-swap:", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("restart-namespace", "r"),
        ("restart-image", image),
        ("restart-pull-secrets", "image-swap-image,other"),
        ("max-unavailable", "5"),
        ("restart-command", r#"sh -c 'rc-service "containerd" restart'"#),
    ] {
        assert_eq!(argument(controller, name), Some(value), "--{name}");
    }
    assert_eq!(rendered.objects["restart/namespace.yaml"]["metadata"]["name"], "r");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn restart_pods_get_the_pull_secret_of_agents() {
    let never = chart().named("image-swap", &[EVERYTHING, "agent: {restart: never}"]);
    assert!(!never.objects.contains_key("restart/image.yaml"));
    let rendered = chart().with(EVERYTHING);
    let [agents, restart] =
        ["agent", "restart"].map(|it| &rendered.objects[&format!("{it}/image.yaml")]);
    assert_eq!(restart["metadata"]["namespace"], "image-swap-restart");
    for field in ["type", "data"] {
        assert_eq!(restart[field], agents[field], "{field}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn restart_namespace_outlives_the_release() {
    for chart in charts() {
        let rendered = chart.with("agent: {restart: rolling}");
        let metadata = &rendered.objects["restart/namespace.yaml"]["metadata"];
        assert_eq!(metadata["annotations"], json!({ "helm.sh/resource-policy": "keep" }));
        assert_eq!(metadata["labels"]["app.kubernetes.io/component"], "restart");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn restart_policy_matches_every_user() {
    let chart = chart();
    let values = "agent: {restart: rolling, restartNamespace: r}";
    let rendered = chart.named("tools", &[values]);
    let policy = &rendered.objects["restart/policy.yaml"];
    let binding = &rendered.objects["restart/policybinding.yaml"];
    assert_eq!(policy["metadata"]["name"], "tools-image-swap-restart");
    assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
    let spec = &policy["spec"];
    assert_eq!(spec["failurePolicy"], "Fail");
    assert!(spec.get("matchConditions").is_none());
    let selector = &spec["matchConstraints"]["namespaceSelector"]["matchLabels"];
    assert_eq!(*selector, json!({ "kubernetes.io/metadata.name": "r" }));
    let controller = "'system:serviceaccount:somewhere:tools-image-swap-controller'";
    assert!(spec["validations"].to_string().contains(controller));
}

/// Compares the policy with the flags by which the controller creates restart pods.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn restart_policy_has_the_controller_s_values() {
    let rendered = chart().with(EVERYTHING);
    let controller = deployment(&rendered, "controller");
    let policy = &rendered.objects["restart/policy.yaml"];
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let variable = |name: &str| {
        let found = variables.iter().find(|it| it["name"] == name).unwrap();
        found["expression"].as_str().unwrap()
    };
    let image = argument(controller, "restart-image").unwrap();
    let container = variable("expectedContainer");
    assert!(container.contains(&format!("dyn({image:?})")), "{container}");
    let find = |it: &&str| it.starts_with("--restart-command=");
    let command = arguments(controller).into_iter().find(find).unwrap();
    assert!(container.contains(&format!("{command:?}])")), "{container}");
    let secrets = argument(controller, "restart-pull-secrets").unwrap();
    let secrets: Vec<String> = secrets.split(',').map(|it| format!("{{'name': '{it}'}}")).collect();
    let spec = variable("expectedSpec");
    assert!(spec.contains(&format!("dyn([{}])", secrets.join(", "))), "{spec}");
}
