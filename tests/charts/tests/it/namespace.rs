//! The namespace of the Secret registry-info.

use serde_json::json;

use crate::chart::{argument, chart, charts, deployment};

const PATH: &str = "namespace.yaml";

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn namespace_is_a_hook_that_outlives_the_release() {
    for chart in charts() {
        let rendered = chart.with("");
        let annotations = &rendered.objects[PATH]["metadata"]["annotations"];
        // An object of the release goes with a revision that does not have it.
        assert_eq!(annotations["helm.sh/hook"], "pre-install,pre-upgrade");
        // The default policy deletes a namespace that is there.
        assert_eq!(annotations["helm.sh/hook-delete-policy"], "hook-failed");
        assert!(rendered.objects[PATH]["metadata"].get("labels").is_none());
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn namespace_has_the_labels_of_the_values() {
    let values = "registryInfoNamespace: {labels: {team: platform, cost-center: '0815'}}";
    let rendered = chart().with(values);
    let labels = &rendered.objects[PATH]["metadata"]["labels"];
    assert_eq!(*labels, json!({ "team": "platform", "cost-center": "0815" }));
    // The controller creates a namespace that was deleted.
    let given = argument(deployment(&rendered, "controller"), "registry-info-labels");
    assert_eq!(given, Some("cost-center=0815,team=platform"));
    let plain = chart().with("");
    assert_eq!(argument(deployment(&plain, "controller"), "registry-info-labels"), None);
    let message = chart().refuses("registryInfoNamespace: {labels: {cost-center: 815}}");
    assert!(message.contains("/registryInfoNamespace/labels/cost-center"), "{message}");
}

/// Covers `helm install --namespace jet-system --create-namespace`, which creates the namespace.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn namespace_of_the_release_is_left_to_helm() {
    let chart = chart();
    let mut command = chart.helm.command(&["template", "image-swap", "--namespace=jet-system"]);
    let rendered = chart.helm.run(command.arg(crate::chart::directory())).unwrap();
    assert!(rendered.contains("kind: Deployment"));
    assert!(!rendered.contains("kind: Namespace\nmetadata:\n  name: jet-system"));
}
