//! Objects of the management cluster.

use super::*;
use crate::fleet::inventory::{
    ClusterSettings, ClusterSource, EntryAccess, cluster_api, cluster_profile, labelled,
    selector::LabelSelector,
};

const V1BETA2: (&str, &str) = ("cluster.x-k8s.io/v1beta2", "Cluster");
const V1BETA1: (&str, &str) = ("cluster.x-k8s.io/v1beta1", "Cluster");

fn initialized() -> Value {
    json!({ "status": { "initialization": { "controlPlaneInitialized": true } } })
}

#[test]
fn cluster_names_its_secret() {
    let mut more = initialized();
    merge(&mut more, json!({ "metadata": { "labels": { "env": "prod" } } }));
    let found = cluster_api::found(&object(V1BETA2, more)).unwrap();
    assert_eq!(found.secret(), Some("a-kubeconfig"));
    assert_eq!(found.key.source, ClusterSource::ClusterApi);
    assert_eq!(found.key.object_name(), "a");
    assert_eq!(found.origin.api_version, "cluster.x-k8s.io/v1beta2");
    assert_eq!((found.origin.kind.as_str(), found.origin.uid.as_str()), ("Cluster", "1"));
    assert_eq!(found.labels["env"], "prod");
}

#[test]
fn initialised_control_planes_of_both_versions_count() {
    let condition = json!([{ "type": "ControlPlaneInitialized", "status": "True" }]);
    for (version, status) in [
        (V1BETA2, initialized()["status"].clone()),
        (V1BETA2, json!({ "conditions": condition })),
        (V1BETA2, json!({ "deprecated": { "v1beta1": { "conditions": condition } } })),
        (V1BETA1, json!({ "conditions": condition })),
        (V1BETA1, json!({ "v1beta2": { "conditions": condition } })),
        (V1BETA1, json!({ "controlPlaneReady": true })),
    ] {
        let found = cluster_api::found(&object(version, json!({ "status": status }))).unwrap();
        assert_eq!(reason(&found), None, "{status}");
    }
}

#[test]
fn unready_clusters_wait() {
    let condition = json!([
        { "type": "ControlPlaneInitialized", "status": "False" },
        { "type": "Available", "status": "True" },
    ]);
    for (more, expected) in [
        (json!({}), "the control plane is not initialised"),
        (json!({ "status": { "conditions": condition } }), "the control plane is not initialised"),
        (json!({ "spec": { "paused": true } }), "the Cluster is paused"),
        (
            json!({ "metadata": { "annotations": { "cluster.x-k8s.io/paused": "" } } }),
            "the Cluster is paused",
        ),
        (
            json!({ "metadata": { "deletionTimestamp": "2026-11-29T00:00:00Z" } }),
            "the object is being deleted",
        ),
    ] {
        let is_empty = more == json!({});
        let mut whole =
            if is_empty || expected.starts_with("the control") { json!({}) } else { initialized() };
        merge(&mut whole, more);
        let found = cluster_api::found(&object(V1BETA1, whole)).unwrap();
        assert_eq!(reason(&found), Some(("waiting", expected)));
    }
}

#[test]
fn annotations_are_settings() {
    let settings = |annotations: Value| {
        let mut more = initialized();
        merge(&mut more, json!({ "metadata": { "annotations": annotations } }));
        cluster_api::found(&object(V1BETA2, more)).unwrap().settings
    };
    let none = ClusterSettings::default;
    assert_eq!(settings(json!({})), none());
    let paused = settings(json!({ "image-swap.io/fleet": "paused" }));
    assert_eq!(paused, ClusterSettings { is_paused: true, ..none() });
    let removed = settings(json!({ "image-swap.io/fleet": "removed" }));
    assert_eq!(removed, ClusterSettings { is_removed: true, ..none() });
    let pinned = settings(json!({ "image-swap.io/fleet": "12" }));
    assert_eq!(pinned, ClusterSettings { pinned_revision: Some(12), ..none() });
    let others = json!({
        "image-swap.io/api-server": "api.example.org:6443", "image-swap.io/policy": "audit",
    });
    assert_eq!(
        settings(others),
        ClusterSettings {
            api_server: Some("api.example.org:6443".into()),
            policy: Some("audit".into()),
            ..none()
        }
    );
}

#[test]
fn invalid_annotations_are_refused() {
    for (key, value, expected) in [
        ("image-swap.io/fleet", "pausd", "expected paused, removed or the number of a declaration"),
        ("image-swap.io/fleet", "0", "expected paused, removed or the number of a declaration"),
        ("image-swap.io/fleet", "+1", "expected paused, removed or the number of a declaration"),
        ("image-swap.io/fleet", "", "expected paused, removed or the number of a declaration"),
        ("image-swap.io/api-server", "https://a", "expected HOST or HOST:PORT"),
        ("image-swap.io/api-server", "a:0", "expected HOST or HOST:PORT"),
        ("image-swap.io/api-server", "[fd00]", "expected HOST or HOST:PORT"),
        ("image-swap.io/policy", "Fail", "expected fail, ignore or audit"),
    ] {
        let mut more = initialized();
        merge(&mut more, json!({ "metadata": { "annotations": { key: value } } }));
        let found = cluster_api::found(&object(V1BETA2, more)).unwrap();
        let message = format!("annotation {key}: {expected}; correct or remove it");
        assert_eq!(reason(&found), Some(("refused", message.as_str())));
        assert_eq!(found.settings, ClusterSettings::default());
    }
}

#[test]
fn oversized_objects_are_refused() {
    let mut more = initialized();
    merge(&mut more, json!({ "spec": { "topology": "x".repeat(600_000) } }));
    let found = cluster_api::found(&object(V1BETA2, more)).unwrap();
    assert!(reason(&found).unwrap().1.starts_with("the object has 600"), "{found:?}");
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the value in place")]
fn profile(list: &str, providers: Value) -> FoundCluster {
    let kind = ("multicluster.x-k8s.io/v1alpha1", "ClusterProfile");
    let profile = object(kind, json!({ "status": { list: providers } }));
    cluster_profile::found(&profile, &self::providers()).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the value in place")]
fn provider(name: &str, cluster: Value, extension: Value) -> Value {
    let mut whole = json!({
        "server": "https://a.example.org",
        "extensions": [{ "name": "client.authentication.k8s.io/exec", "extension": extension }],
    });
    merge(&mut whole, cluster);
    json!({ "name": name, "cluster": whole })
}

#[test]
fn profiles_name_their_secret_by_provider() {
    let token = provider("tokens", json!({}), json!({ "clusterName": "spoke-1" }));
    let user = provider("kubeconfigs", json!({}), json!({ "name": "spoke-2", "key": "value" }));
    let other = provider("gke", json!({}), json!({}));
    for list in ["accessProviders", "credentialProviders"] {
        let found = profile(list, json!([other, user]));
        assert_eq!(found.secret(), Some("spoke-2"), "{found:?}");
        // The order of an administrator decides, not that of the object.
        assert_eq!(profile(list, json!([user, token])).secret(), Some("spoke-1"));
    }
}

#[test]
fn access_provider_precedes_deprecated_one() {
    let of = |name: &str| provider("tokens", json!({}), json!({ "clusterName": name }));
    let status = json!({ "status": {
        "accessProviders": [of("new")], "credentialProviders": [of("deprecated")],
    } });
    let kind = ("multicluster.x-k8s.io/v1alpha1", "ClusterProfile");
    let found = cluster_profile::found(&object(kind, status), &providers()).unwrap();
    assert_eq!(found.secret(), Some("new"));
}

#[test]
fn unusable_profiles_are_refused() {
    let token = json!({ "clusterName": "s" });
    let exec = "extension client.authentication.k8s.io/exec";
    for (provider, expected) in [
        (
            provider("gke", json!({}), json!({})),
            "unsupported credential providers: gke; configure one with --credential-provider \
             NAME=secretreader or NAME=kubeconfig-secretreader"
                .to_owned(),
        ),
        (
            provider("tokens", json!({ "insecure-skip-tls-verify": true }), token.clone()),
            "status.accessProviders[].cluster.insecure-skip-tls-verify: it skips the check of the \
             certificate; use certificate-authority-data"
                .to_owned(),
        ),
        (
            provider("tokens", json!({ "proxy-url": "http://p" }), token.clone()),
            "status.accessProviders[].cluster.proxy-url: the fleet controller connects directly; \
             remove it"
                .to_owned(),
        ),
        (
            provider("tokens", json!({ "extensions": [] }), token),
            "the extension client.authentication.k8s.io/exec of the provider is missing".to_owned(),
        ),
        (
            provider("tokens", json!({}), json!({ "clusterName": "../x" })),
            format!("{exec}: clusterName: expected the name of a Secret"),
        ),
        (
            provider(
                "kubeconfigs",
                json!({}),
                json!({ "name": "s", "key": "value", "namespace": "kube-system" }),
            ),
            format!(
                "{exec}: namespace: expected the namespace of the ClusterProfile; move the Secret \
                 there"
            ),
        ),
        (
            provider("kubeconfigs", json!({}), json!({ "name": "s" })),
            format!("{exec}: key: expected the key of a Secret"),
        ),
    ] {
        let found = profile("accessProviders", json!([provider]));
        assert_eq!(reason(&found), Some(("refused", expected.as_str())));
    }
    let found = profile("accessProviders", json!([]));
    assert_eq!(reason(&found), Some(("waiting", "status.accessProviders is empty")));
}

#[test]
fn labelled_secret_is_found_if_selected() {
    let labels = json!({ "image-swap.io/fleet-cluster": "enabled", "env": "prod" });
    let secret = |labels: &Value| {
        let kind = ("meta.k8s.io/v1", "PartialObjectMetadata");
        object(kind, json!({ "metadata": { "labels": labels } }))
    };
    let found = |labels: &Value, selector: &str| {
        labelled::found(&secret(labels), &selector.parse().unwrap())
    };
    let entry = found(&labels, "env=prod").unwrap();
    assert_eq!(entry.secret(), Some("a"));
    assert_eq!(entry.key.object_name(), "a.kubeconfig");
    assert_eq!((entry.origin.api_version.as_str(), entry.origin.kind.as_str()), ("v1", "Secret"));
    assert_eq!(found(&labels, "env=test"), None);
    assert_eq!(found(&json!({ "image-swap.io/fleet-cluster": "disabled" }), ""), None);
    assert_eq!(found(&json!({ "env": "prod" }), ""), None);
    let pulls = found(&json!({ "image-swap.io/fleet-cluster": "pull" }), "").unwrap();
    let expected = "expected the name NAME.declaration";
    assert!(
        reason(&pulls).is_some_and(|(kind, reason)| kind == "refused" && reason.contains(expected))
    );
}

#[test]
fn cluster_that_pulls_needs_no_secret() {
    let labels = json!({ "image-swap.io/fleet-cluster": "pull" });
    let kind = ("meta.k8s.io/v1", "PartialObjectMetadata");
    let mut secret = object(kind, json!({ "metadata": { "labels": labels } }));
    secret["metadata"]["name"] = "edge.declaration".into();
    let entry = labelled::found(&secret, &LabelSelector::default()).unwrap();
    assert_eq!((entry.secret(), reason(&entry)), (None, None));
    assert_eq!(entry.access(None), EntryAccess::Pulls);
    assert_eq!((entry.key.source, &*entry.key.object_name()), (ClusterSource::Pull, "edge.pull"));
}
