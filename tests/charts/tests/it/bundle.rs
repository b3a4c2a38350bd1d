//! The objects of workload clusters, which the chart renders from its own templates.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::{
    control::effective::Effective,
    fleet::bundle::{Bundle, BundleObject, BundleSlots},
    labels,
};
use image_swap_testbed::HelmRelease;
use serde_json::{Value, json};

use crate::{
    chart::{Chart, EVERYTHING, FLEET, PAGE, arguments, chart, charts, directory},
    yaml,
};

/// Path of the `ConfigMap` below `templates`.
const PATH: &str = "fleet/bundle.yaml";
/// Annotation of an object that only some API servers serve: the API version.
const IF_SERVED: &str = "image-swap.io/if-served";
/// Annotation of an object for clusters that pull.
const IF_PULLED: &str = "image-swap.io/if-pulled";
/// Bytes of the largest `ConfigMap` that an API server stores.
const LARGEST: usize = 1024 * 1024;

/// Kind, namespace and name of an object.
type Identity = [String; 3];
/// Objects by their identities.
type Objects = BTreeMap<Identity, Value>;

/// Returns the text of the bundle of the release `tools`.
pub(crate) fn text(chart: Chart, values: &[&str]) -> String {
    let rendered = chart.named("tools", &[&[FLEET], values].concat());
    let object = &rendered.objects[PATH];
    assert_eq!(object["metadata"]["name"], "tools-image-swap-fleet-bundle");
    assert_eq!(object["metadata"]["namespace"], "tools-image-swap-fleet");
    assert_eq!(object["data"].as_object().unwrap().len(), 1);
    object["data"]["bundle.yaml"].as_str().unwrap().to_owned()
}

fn identity(object: &Value) -> Identity {
    let metadata = &object["metadata"];
    let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    [of(&object["kind"]), of(&metadata["namespace"]), of(&metadata["name"])]
}

/// Returns objects by their identities.
fn by_identity(objects: impl IntoIterator<Item = Value>) -> Objects {
    let mut found = BTreeMap::new();
    for object in objects {
        let earlier = found.insert(identity(&object), object);
        assert!(earlier.is_none(), "two of {earlier:?}");
    }
    found
}

/// Returns the objects of the bundle.
fn bundle(chart: Chart, values: &[&str]) -> Objects {
    by_identity(yaml::all(&text(chart, values)))
}

/// Returns the only object of a kind with a name.
fn find<'b>(objects: &'b Objects, kind: &str, name: &str) -> &'b Value {
    let is_it = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
    let found: Vec<&Value> = objects.values().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

/// Returns the objects that Helm installs as the release `image-swap`, without hooks.
fn release(chart: Chart, values: &[&str]) -> Objects {
    let release = HelmRelease {
        chart: &directory(),
        name: labels::IMAGE_SWAP,
        namespace: labels::IMAGE_SWAP,
        values,
    };
    let manifests = chart.helm.template(&release).unwrap();
    let objects = manifests.iter().map(|manifest| yaml::one(&manifest.text));
    by_identity(objects.filter(|object| {
        let is_hook = object["metadata"]["annotations"].get("helm.sh/hook").is_some();
        !is_hook || object["metadata"]["name"] == labels::JET_SYSTEM
    }))
}

fn remove(objects: &mut Objects, kind: &str, namespace: &str, name: &str) {
    let identity = [kind, namespace, name].map(str::to_owned);
    assert!(objects.remove(&identity).is_some(), "no {identity:?}");
}

/// Removes an annotation, and the mapping of annotations if it is empty then.
fn remove_annotation(object: &mut Value, name: &str) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    annotations.remove(name);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
}

/// Removes the one argument, and the one rule, of the controller that contain these texts.
fn remove_from_controller(objects: &mut Objects, argument: &str, rule: &str) {
    for (kind, path, text) in [
        ("Deployment", "/spec/template/spec/containers/0/args", argument),
        ("Role", "/rules", rule),
    ] {
        let identity = [kind, labels::IMAGE_SWAP, "image-swap-controller"].map(str::to_owned);
        let list = objects.get_mut(&identity).unwrap().pointer_mut(path).unwrap();
        let list = list.as_array_mut().unwrap();
        let length = list.len();
        list.retain(|item| !item.to_string().contains(text));
        assert_eq!(list.len() + 1, length, "{text}");
    }
}

/// Returns the release without what no workload cluster gets from the chart: the declaration.
fn without_declaration(mut release: Objects) -> Objects {
    remove(&mut release, "Secret", labels::IMAGE_SWAP, "image-swap-declaration");
    remove_from_controller(&mut release, "--chart-secret=", "image-swap-declaration");
    let jet_system = ["Namespace", "", labels::JET_SYSTEM].map(str::to_owned);
    let jet_system = release.get_mut(&jet_system).unwrap();
    remove_annotation(jet_system, "helm.sh/hook");
    remove_annotation(jet_system, "helm.sh/hook-delete-policy");
    release
}

/// Returns the bundle with values in its slots, and without what only a workload cluster has.
fn filled(mut text: String, pull_secret: &str) -> Objects {
    for (slot, value) in [
        ("@api-host@", "10.0.0.1"),
        ("@api-port@", "6443"),
        ("@policy@", "fail"),
        ("@mode@", "enforce"),
        ("@pull-secret@", pull_secret),
        ("managed-by: image-swap-fleet", "managed-by: Helm"),
    ] {
        text = text.replace(slot, value);
    }
    for argument in ["- --hub-secret=@hub-secret@\n", "- --bundle-hash=@bundle-hash@\n"] {
        text = text.replace(argument, "\n");
    }
    let mut found = by_identity(yaml::all(&text));
    remove(&mut found, "Namespace", "", labels::IMAGE_SWAP);
    found.retain(|_, object| object["metadata"]["annotations"].get(IF_PULLED).is_none());
    for object in found.values_mut() {
        remove_annotation(object, IF_SERVED);
        remove_annotation(object, labels::POLICY);
    }
    remove_from_controller(&mut found, "--heartbeat", "image-swap-heartbeat");
    found
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn bundle_equals_the_release_apart_from_slots() {
    for chart in charts() {
        for more in [
            "",
            "{agent: {enabled: false, restart: never}, managePullSecrets: false}",
            "{networkPolicy: {enabled: false}, registrationPolicy: {enabled: false}, \
             podDisruptionBudget: {enabled: false}, priorityClassName: high, adopt: false}",
        ] {
            // The dashboard is for the management cluster.
            let values = [EVERYTHING, more, "dashboard: {enabled: false}"];
            let rendered = release(chart, &values);
            let pull_secret = ["Secret", labels::IMAGE_SWAP, "image-swap-image"].map(str::to_owned);
            let pull_secret = rendered[&pull_secret]["data"][".dockerconfigjson"].clone();
            let expected = without_declaration(rendered);
            let found = filled(text(chart, &[EVERYTHING, more]), pull_secret.as_str().unwrap());
            assert!(found.keys().eq(expected.keys()), "{:?}", found.keys());
            for (identity, object) in &found {
                assert_eq!(object, &expected[identity], "{identity:?}");
            }
        }
    }
}

// guarantee: 6a
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn bundle_holds_no_credential_and_no_hook() {
    for chart in charts() {
        for values in [EVERYTHING, "{existingSecret: of-hub, tls: {existingSecret: of-hub}}"] {
            let text = text(chart, &[values]);
            for secret in ["robot$pull", "s3cr3t: 'with quotes'"] {
                assert!(!text.contains(secret), "{secret}");
                assert!(!text.contains(&STANDARD.encode(secret)), "{secret}");
            }
            let pair = STANDARD.encode("robot$pull:s3cr3t: 'with quotes'");
            let config = json!({"auths": {"harbor.example.org:8443": {"auth": &pair}}});
            for encoded in [&pair, &STANDARD.encode(config.to_string())] {
                assert!(!text.contains(encoded.as_str()), "{encoded}");
            }
            for text_of_hub in ["s3cr3t", "robot", "helm.sh/hook", "-declaration", "chart-secret"] {
                assert!(!text.contains(text_of_hub), "{text_of_hub}");
            }
            // Secrets that only the management cluster has.
            assert!(!text.contains("of-hub"), "{text}");
            for secret in bundle(chart, &[values]).values().filter(|it| it["kind"] == "Secret") {
                assert_eq!(secret["data"], json!({".dockerconfigjson": "@pull-secret@"}));
                assert!(secret.get("stringData").is_none());
            }
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn bundle_holds_nothing_of_the_fleet() {
    for chart in charts() {
        let objects = bundle(chart, &[EVERYTHING]);
        let text = text(chart, &[EVERYTHING]);
        assert!(!text.contains("workloadclusters") && !text.contains("tools-image-swap"));
        let owned =
            objects.values().filter(|object| object["metadata"]["name"] != labels::JET_SYSTEM);
        for object in owned {
            let labels = &object["metadata"]["labels"];
            assert_ne!(labels["app.kubernetes.io/component"], "fleet");
            assert_eq!(labels["app.kubernetes.io/name"], "image-swap");
            assert_eq!(labels["app.kubernetes.io/instance"], "image-swap");
            assert_eq!(labels["app.kubernetes.io/managed-by"], "image-swap-fleet");
        }
    }
}

/// Returns the texts between two `@`.
fn slots(text: &str) -> BTreeSet<&str> {
    let is_slot = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    text.split('@').skip(1).filter(is_slot).collect()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn slots_are_where_clusters_differ() {
    for chart in charts() {
        for values in ["", PAGE, EVERYTHING] {
            let found = text(chart, &[values]);
            let expected = [
                "api-host",
                "api-port",
                "bundle-hash",
                "hub-secret",
                "mode",
                "policy",
                "pull-secret",
            ];
            assert_eq!(slots(&found), BTreeSet::from(expected), "{values}");
        }
        let objects = bundle(chart, &["policy: audit"]);
        for (component, argument) in
            [("controller", "--policy=@policy@"), ("admission", "--mode=@mode@")]
        {
            let deployment = find(&objects, "Deployment", &format!("image-swap-{component}"));
            assert!(arguments(deployment).contains(&argument), "{deployment}");
            // The policy of a cluster without an own one.
            assert_eq!(deployment["metadata"]["annotations"], json!({ labels::POLICY: "audit" }));
        }
        for runtime in ["containerd", "crio", "k3s"] {
            let agents = find(&objects, "DaemonSet", &format!("image-swap-agent-{runtime}"));
            let env = &agents["spec"]["template"]["spec"]["containers"][0]["env"];
            assert_eq!(env[1], json!({"name": "KUBERNETES_SERVICE_HOST", "value": "@api-host@"}));
            assert_eq!(env[2], json!({"name": "KUBERNETES_SERVICE_PORT", "value": "@api-port@"}));
        }
    }
}

/// Reads the bundle as the fleet controller does.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_controller_fills_every_slot() {
    for chart in charts() {
        for values in ["", PAGE, EVERYTHING, "policy: audit"] {
            let bundle = Bundle::parse(&text(chart, &[values])).unwrap();
            let declaration = Effective::none();
            let fill = |api_server, policy, served: &[&str]| -> Vec<BundleObject> {
                let served = served.iter().map(|version| (*version).to_owned()).collect();
                let slots = BundleSlots {
                    api_server,
                    policy,
                    ..BundleSlots::new(labels::IMAGE_SWAP, (1, &declaration), &served)
                };
                bundle.fill(&slots).unwrap()
            };
            let least = fill(None, None, &[]);
            let versions = ["security.openshift.io/v1", "monitoring.coreos.com/v1"];
            let most = fill(Some("10.0.0.1:6443"), Some("ignore"), &versions);
            for object in least.iter().chain(&most) {
                assert_eq!(slots(&object.value.to_string()), BTreeSet::new(), "{object:?}");
            }
            let has = |objects: &[BundleObject], text: &str| {
                objects.iter().any(|object| object.value.to_string().contains(text))
            };
            let policy = if values.contains("audit") { "--policy=audit" } else { "--policy=fail" };
            assert!(has(&least, policy) && has(&most, "--policy=ignore"), "{values}");
            let host = "KUBERNETES_SERVICE_HOST";
            assert!(!has(&least, host) && has(&most, host), "{values}");
            let scc = "SecurityContextConstraints";
            assert!(!has(&least, scc) && has(&most, scc), "{values}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn objects_are_in_namespaces_of_the_bundle() {
    for chart in charts() {
        for (values, release) in
            [(EVERYTHING, "image-swap"), ("fleet: {workloadNamespace: mirrors}", "mirrors")]
        {
            let objects = bundle(chart, &[values]);
            let namespaces: BTreeSet<&str> = objects
                .values()
                .filter(|object| object["kind"] == "Namespace")
                .map(|object| object["metadata"]["name"].as_str().unwrap())
                .collect();
            let known = ["image-swap-agent", "image-swap-restart", "image-swap-trial"];
            for namespace in &namespaces {
                let is_known = known.contains(namespace) || *namespace == labels::JET_SYSTEM;
                assert!(is_known || *namespace == release, "{namespace}");
            }
            let is_pushed =
                |object: &&Value| object["metadata"]["annotations"].get(IF_PULLED).is_none();
            let used = objects.values().filter(is_pushed);
            let used = used.filter_map(|it| it["metadata"]["namespace"].as_str());
            for namespace in used {
                assert!(namespaces.contains(namespace), "{namespace}");
            }
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn namespace_of_the_release_has_a_level() {
    let chart = chart();
    for (values, level) in [("", "restricted"), (EVERYTHING, "privileged")] {
        let objects = bundle(chart, &[values]);
        let namespace = find(&objects, "Namespace", labels::IMAGE_SWAP);
        let labels = &namespace["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], level);
        // The removal deletes it, and keeps jet-system.
        assert!(namespace["metadata"].get("annotations").is_none());
        let jet_system = find(&objects, "Namespace", labels::JET_SYSTEM);
        assert_eq!(jet_system["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    let labelled = "agent: {namespaceLabels: {team: platform}}";
    let objects = bundle(chart, &[labelled]);
    let namespace = find(&objects, "Namespace", labels::IMAGE_SWAP);
    assert_eq!(namespace["metadata"]["labels"]["team"], "platform");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn objects_of_some_distributions_are_marked() {
    let objects = bundle(chart(), &[EVERYTHING]);
    let marked: BTreeMap<&str, &str> = objects
        .values()
        .filter_map(|object| {
            let version = object["metadata"]["annotations"].get(IF_SERVED)?;
            assert_eq!(*version, object["apiVersion"]);
            Some((object["kind"].as_str().unwrap(), version.as_str().unwrap()))
        })
        .collect();
    let expected = [
        ("PrometheusRule", "monitoring.coreos.com/v1"),
        ("SecurityContextConstraints", "security.openshift.io/v1"),
        ("ServiceMonitor", "monitoring.coreos.com/v1"),
    ];
    assert_eq!(marked, BTreeMap::from(expected));
    // OpenShift is a matter of the workload cluster, not of the value of the management cluster.
    find(&bundle(chart(), &[""]), "SecurityContextConstraints", "image-swap-agent");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn heartbeat_is_only_in_the_bundle() {
    for chart in charts() {
        let objects = bundle(chart, &[""]);
        let controller = find(&objects, "Deployment", "image-swap-controller");
        assert!(arguments(controller).contains(&"--heartbeat"));
        let role = find(&objects, "Role", "image-swap-controller")["rules"].as_array().unwrap();
        let right = json!({
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["image-swap-heartbeat"],
            "verbs": ["create", "patch"],
        });
        assert!(role.contains(&right), "{role:?}");
        let hub = chart.with(FLEET);
        for path in ["controller/deployment.yaml", "controller/role.yaml"] {
            assert!(!hub.texts[path].contains("heartbeat"), "{path}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_values_override_those_of_the_release() {
    let chart = chart();
    let overrides = "fleet: {values: {policy: audit, optIn: false, managePullSecrets: false, \
                     admission: {replicas: 3, hostNetwork: false}, image: {registry: r.io}, \
                     agent: {restart: never, startupTaint: false}, serviceMonitor: {interval: ''}, \
                     tolerations: [], tls: {existingSecret: serving}}}";
    let objects = bundle(chart, &[EVERYTHING, overrides]);
    let admission = find(&objects, "Deployment", "image-swap-admission");
    assert_eq!(admission["spec"]["replicas"], 3);
    assert_eq!(admission["metadata"]["annotations"], json!({ labels::POLICY: "audit" }));
    let pod = &admission["spec"]["template"]["spec"];
    assert!(pod.get("hostNetwork").is_none() && pod.get("tolerations").is_none(), "{pod}");
    let image = format!("r.io/image-swap:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod["containers"][0]["image"], image);
    let controller = find(&objects, "Deployment", "image-swap-controller");
    let arguments = arguments(controller);
    for absent in ["--opt-in", "--startup-taint", "--pull-secrets=true"] {
        assert!(!arguments.contains(&absent), "{absent}");
    }
    assert!(!arguments.iter().any(|argument| argument.starts_with("--restart")));
    assert!(arguments.contains(&"--tls-existing-secret=serving"));
    // Values of the management cluster that are not overridden.
    assert!(arguments.contains(&"--adopt"));
    let monitor = find(&objects, "ServiceMonitor", "image-swap");
    assert!(monitor["spec"]["endpoints"][0].get("interval").is_none());
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn config_map_of_the_bundle_is_small() {
    for chart in charts() {
        let bytes = text(chart, &[EVERYTHING]).len();
        assert!(bytes < LARGEST / 4, "{bytes}");
    }
}

/// Asserts that a cluster that pulls has further rights, and that a pushed one has none of them.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn only_clusters_that_pull_have_rights_for_it() {
    for chart in charts() {
        let bundle = Bundle::parse(&text(chart, &[EVERYTHING])).unwrap();
        assert_eq!(bundle.release_namespace(), Some(labels::IMAGE_SWAP));
        let (declaration, served) = (Effective::none(), BTreeSet::new());
        let fill = |hub_secret| {
            let slots = BundleSlots {
                hub_secret,
                ..BundleSlots::new(labels::IMAGE_SWAP, (1, &declaration), &served)
            };
            bundle.fill(&slots).unwrap()
        };
        let (pushed, pulled) = (fill(None), fill(Some("image-swap-hub")));
        let has = |objects: &[BundleObject], text: &str| {
            objects.iter().any(|object| object.value.to_string().contains(text))
        };
        assert!(has(&pulled, "--hub-secret=image-swap-hub") && !has(&pushed, "hub-secret"));
        assert!(!has(&pushed, "image-swap-hub"));
        let names = |objects: &[BundleObject]| -> BTreeSet<String> {
            objects.iter().map(ToString::to_string).collect()
        };
        let more: Vec<String> =
            names(&pulled).difference(&names(&pushed)).map(ToOwned::to_owned).collect();
        let expected = [
            "Role image-swap/image-swap-pull",
            "Role jet-system/image-swap-pull",
            "Role kube-system/image-swap-pull",
            "RoleBinding image-swap/image-swap-pull",
            "RoleBinding jet-system/image-swap-pull",
            "RoleBinding kube-system/image-swap-pull",
        ];
        assert_eq!(more, expected);
        assert!(!has(&pulled, IF_PULLED));
    }
}
