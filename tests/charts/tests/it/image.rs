//! The image of the pods.

use image_swap_core::reference::Reference;
use serde_json::json;

use crate::chart::{EVERYTHING, PAGE, Rendered, chart, of_kind, workloads};

/// Returns the one image of all containers.
fn image(rendered: &Rendered) -> String {
    let mut images: Vec<&str> = workloads(rendered)
        .iter()
        .map(|workload| {
            workload["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
        })
        .collect();
    assert_eq!(images.len(), 5);
    images.dedup();
    assert_eq!(images.len(), 1, "{images:?}");
    let reference = Reference::parse(images[0]).unwrap();
    assert!(reference.tag().is_some() || reference.digest().is_some());
    images[0].to_owned()
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn image_of_the_chart_comes_from_declared_registry() {
    let chart = chart();
    let expected = format!("harbor.example.org/airgap-images/image-swap:{VERSION}");
    assert_eq!(image(&chart.with(PAGE)), expected);
    assert!(chart.notes(&[PAGE]).contains(&expected));
    // Scheme, slashes and port, as people write them.
    let expected = format!("harbor.example.org:8443/airgap-images/image-swap:{VERSION}");
    assert_eq!(image(&chart.with(EVERYTHING)), expected);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn empty_base_path_leaves_no_empty_component() {
    let chart = chart();
    let values = PAGE.replace("\"airgap-images\"", "\"\"");
    assert_ne!(values, PAGE);
    assert_eq!(image(&chart.with(&values)), format!("harbor.example.org/image-swap:{VERSION}"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_name_any_other_image() {
    let chart = chart();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    for (values, expected) in [
        ("{}", format!("image-swap:{VERSION}")),
        ("{registry: r.io/tools}", format!("r.io/tools/image-swap:{VERSION}")),
        ("{registry: 'r.io:5000', repository: a/b, tag: v1}", "r.io:5000/a/b:v1".to_owned()),
        (
            &format!("{{registry: r.io, tag: v1, digest: '{digest}'}}"),
            format!("r.io/image-swap@{digest}"),
        ),
    ] {
        assert_eq!(image(&chart.with(&format!("image: {values}"))), expected);
    }
    // A named registry overrides the declared one.
    let named = chart.named("image-swap", &[PAGE, "image: {registry: r.io}"]);
    assert_eq!(image(&named), format!("r.io/image-swap:{VERSION}"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn notes_warn_of_an_image_without_registry() {
    let chart = chart();
    let warns = |values| chart.notes(&[values]).contains("image.registry is empty");
    assert!(warns(""));
    assert!(!warns(PAGE));
    assert!(!warns("image: {registry: r.io}"));
}

/// Covers the most common failure of a first installation.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn notes_name_image_and_remedy_of_pull_failures() {
    let notes = chart().notes(&[PAGE]);
    for expected in [
        &format!("Its pods run the image harbor.example.org/airgap-images/image-swap:{VERSION}"),
        "image-swap status --namespace=somewhere --name=image-swap",
        "kubectl get pods --namespace=somewhere --selector=app.kubernetes.io/instance=image-swap",
        "ImagePullBackOff",
        "image.registry, image.tag and image.pullSecrets",
        "`helm uninstall image-swap` works without",
    ] {
        assert!(notes.contains(expected), "{expected}? {notes}");
    }
}

// guarantee: 6a
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn credentials_are_only_for_the_declared_registry() {
    let chart = chart();
    let secrets = |rendered: &Rendered| {
        let mut all: Vec<_> = workloads(rendered)
            .iter()
            .map(|workload| workload["spec"]["template"]["spec"]["imagePullSecrets"].clone())
            .collect();
        all.dedup();
        assert_eq!(all.len(), 1);
        all.remove(0)
    };
    let docker = |rendered: &Rendered| {
        let docker = "kubernetes.io/dockerconfigjson";
        of_kind(rendered, "Secret").iter().filter(|secret| secret["type"] == docker).count()
    };
    let declared = chart.with(EVERYTHING);
    assert_eq!(secrets(&declared), json!([{"name": "image-swap-image"}, {"name": "other"}]));
    // Each namespace with pods has a copy of the Secret.
    assert_eq!(docker(&declared), 3);
    let own = &declared.objects["image.yaml"];
    for path in ["agent/image.yaml", "restart/image.yaml"] {
        assert_eq!(declared.objects[path]["data"], own["data"], "{path}");
    }
    let elsewhere = chart.named("image-swap", &[EVERYTHING, "image: {registry: r.io}"]);
    assert_eq!(secrets(&elsewhere), json!([{"name": "other"}]));
    assert_eq!(docker(&elsewhere), 0);
    let anonymous = chart.with(PAGE);
    assert_eq!(secrets(&anonymous), json!(null));
    assert_eq!(docker(&anonymous), 0);
}
