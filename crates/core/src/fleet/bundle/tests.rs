//! Tests of bundles.

use std::collections::{BTreeMap, BTreeSet};

use image_swap_text::position::Position;
use proptest::prelude::*;

use super::*;

const BUNDLE: &str = r#"
apiVersion: v1
kind: Service
metadata:
  name: image-swap-admission
  namespace: image-swap
  labels: {app.kubernetes.io/component: admission}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: image-swap-admission
  namespace: image-swap
  labels: {app.kubernetes.io/component: admission}
spec:
  template:
    spec:
      imagePullSecrets: [{name: image-swap-image}, {name: other}]
      containers: [{name: admission, image: "docker.io/acme/image-swap:1", args: ["--mode=@mode@"]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: image-swap-restart}
spec: {validations: [{expression: "x == {'image': dyn(\"docker.io/acme/image-swap:1\")}"}]}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: image-swap-controller
  namespace: image-swap
  labels: {app.kubernetes.io/component: controller}
  annotations: {image-swap.io/policy: ignore}
spec:
  template:
    spec:
      imagePullSecrets: [{name: image-swap-image}]
      containers:
        - name: controller
          image: "docker.io/acme/image-swap:1"
          args:
            - controller
            - "--policy=@policy@"
            - "--restart-image=docker.io/acme/image-swap:1"
            - "--trial-image=docker.io/library/busybox"
            - "--restart-pull-secrets=image-swap-image"
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: image-swap-agent
  namespace: image-swap-agent
  labels: {app.kubernetes.io/component: agent}
spec:
  template:
    spec:
      initContainers: [{name: i, image: "docker.io/acme/image-swap:1", imagePullPolicy: Never}]
      containers:
        - name: agent
          image: "docker.io/acme/image-swap:1"
          env:
            - {name: NODE_NAME, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
            - {name: KUBERNETES_SERVICE_HOST, value: "@api-host@"}
            - {name: KUBERNETES_SERVICE_PORT, value: "@api-port@"}
---
apiVersion: v1
kind: Secret
metadata: {name: image-swap-image, namespace: image-swap}
type: kubernetes.io/dockerconfigjson
data: {.dockerconfigjson: "@pull-secret@"}
---
apiVersion: security.openshift.io/v1
kind: SecurityContextConstraints
metadata:
  name: image-swap-agent
  annotations: {image-swap.io/if-served: security.openshift.io/v1}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: image-swap}
---
apiVersion: v1
kind: Namespace
metadata: {name: image-swap-agent}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: nodemirrors.image-swap.io}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: image-swap-uninstall, namespace: image-swap, annotations: {helm.sh/hook: pre-delete}}
"#;

fn declaration(more: &[(&str, &str)]) -> Effective {
    let mut data = BTreeMap::from([
        ("DOMAIN", "h.example.org"),
        ("BASE_PATH", "airgap"),
        ("INSECURE", "false"),
        ("MIRROR_REGISTRIES", "docker.io::h.example.org/airgap/docker.io"),
    ]);
    data.extend(more.iter().copied());
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let secret = SecretData { kind: String::new(), data: data.collect() };
    Effective { origin: Origin::RegistryInfo, secret }
}

const LOGIN: [(&str, &str); 2] = [("USERNAME", "robot"), ("PASSWORD", "s3cret-of-the-robot")];

fn fill(
    declaration: &Effective,
    api_server: Option<&str>,
    policy: Option<&str>,
    served: &[&str],
) -> Result<Vec<BundleObject>, BundleError> {
    let served: BTreeSet<String> = served.iter().map(|it| (*it).to_owned()).collect();
    let namespace = "image-swap";
    Bundle::parse(BUNDLE).unwrap().fill(&BundleSlots {
        api_server,
        policy,
        ..BundleSlots::new(namespace, (7, declaration), &served)
    })
}

fn object<'o>(objects: &'o [BundleObject], kind: &str, name: &str) -> &'o Value {
    let found = objects.iter().find(|it| it.kind == kind && it.name == name);
    &found.unwrap_or_else(|| panic!("{kind} {name} in {objects:?}")).value
}

#[test]
fn objects_are_in_the_order_of_writing() {
    let served = ["security.openshift.io/v1"];
    let objects = fill(&declaration(&LOGIN), None, Some("fail"), &served).unwrap();
    let shown: Vec<String> = objects.iter().map(|it| format!("{:?} {it}", it.phase)).collect();
    let expected = [
        "Base Namespace image-swap",
        "Base Namespace jet-system",
        "Base Namespace image-swap-agent",
        "Base CustomResourceDefinition nodemirrors.image-swap.io",
        "Base SecurityContextConstraints image-swap-agent",
        "Base ClusterRole image-swap",
        "Base ValidatingAdmissionPolicy image-swap-restart",
        "Base Secret image-swap/image-swap-image",
        "Base Secret jet-system/registry-info",
        "Nodes Deployment image-swap/image-swap-controller",
        "Nodes DaemonSet image-swap-agent/image-swap-agent",
        "Webhook Service image-swap/image-swap-admission",
        "Webhook Deployment image-swap/image-swap-admission",
    ];
    assert_eq!(shown, expected);
    let scc = object(&objects, "SecurityContextConstraints", "image-swap-agent");
    assert_eq!(scc["metadata"], json!({ "name": "image-swap-agent" }));
    let anchor = object(&objects, "ClusterRole", "image-swap");
    assert_eq!(anchor["metadata"]["annotations"], json!({ LEAVING: "false" }));
    let info = object(&objects, "Secret", "registry-info");
    assert_eq!(info["metadata"]["annotations"], json!({ "image-swap.io/revision": "7" }));
    assert_eq!(info["data"]["DOMAIN"], base64::encode("h.example.org"));
    assert_eq!(info["type"], "Opaque");
}

#[test]
fn slots_and_images_are_filled() {
    let objects = fill(&declaration(&LOGIN), Some("10.0.0.1:6443"), Some("audit"), &[]).unwrap();
    let swapped = "h.example.org/airgap/docker.io/acme/image-swap:1";
    let controller = object(&objects, "Deployment", "image-swap-controller");
    let spec = &controller["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["image"], swapped);
    let expected = json!([
        "controller",
        "--policy=audit",
        format!("--restart-image={swapped}"),
        "--trial-image=docker.io/library/busybox",
        "--restart-pull-secrets=image-swap-image",
    ]);
    assert_eq!(spec["containers"][0]["args"], expected);
    let policy = object(&objects, "ValidatingAdmissionPolicy", "image-swap-restart");
    let expected = format!("x == {{'image': dyn(\"{swapped}\")}}");
    assert_eq!(policy["spec"]["validations"][0]["expression"], expected);
    let admission = object(&objects, "Deployment", "image-swap-admission");
    let containers = &admission["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["args"], json!(["--mode=audit"]));
    let agent = object(&objects, "DaemonSet", "image-swap-agent");
    let spec = &agent["spec"]["template"]["spec"];
    assert_eq!(spec["initContainers"][0]["image"], "docker.io/acme/image-swap:1");
    assert_eq!(spec["containers"][0]["env"][1]["value"], "10.0.0.1");
    assert_eq!(spec["containers"][0]["env"][2]["value"], "6443");
    let pull = object(&objects, "Secret", "image-swap-image");
    let content = base64::decode(pull["data"][".dockerconfigjson"].as_str().unwrap()).unwrap();
    let content: Value = serde_json::from_slice(&content).unwrap();
    assert_eq!(content["auths"]["h.example.org/airgap"]["username"], "robot");
    assert!(!objects.iter().any(|it| it.kind == "SecurityContextConstraints"));
}

#[test]
fn slots_without_values_are_dropped() {
    let objects = fill(&declaration(&[]), None, None, &[]).unwrap();
    let controller = object(&objects, "Deployment", "image-swap-controller");
    let spec = &controller["spec"]["template"]["spec"];
    let arguments = spec["containers"][0]["args"].as_array().unwrap();
    let shown = format!("{arguments:?}");
    // The bundle has a policy of its own.
    assert!(shown.contains("--policy=ignore"), "{shown}");
    assert!(spec.get("imagePullSecrets").is_none());
    let admission = object(&objects, "Deployment", "image-swap-admission");
    let secrets = &admission["spec"]["template"]["spec"]["imagePullSecrets"];
    assert_eq!(*secrets, json!([{ "name": "other" }]));
    let containers = &admission["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["args"], json!(["--mode=enforce"]));
    let agent = object(&objects, "DaemonSet", "image-swap-agent");
    let env = &agent["spec"]["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env.as_array().unwrap().len(), 1);
    assert!(!objects.iter().any(|it| it.name == "image-swap-image"));
}

#[test]
fn absent_declaration_adds_no_secret() {
    let objects = fill(&Effective::none(), None, Some("fail"), &[]).unwrap();
    assert!(!objects.iter().any(|it| it.kind == "Secret"));
    let agent = object(&objects, "DaemonSet", "image-swap-agent");
    let image = &agent["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, "docker.io/acme/image-swap:1");
}

#[test]
fn invalid_settings_are_errors() {
    let good = declaration(&[]);
    assert!(fill(&good, Some("a b"), None, &[]).is_err());
    let error = fill(&good, None, Some("@policy@"), &[]).unwrap_err();
    assert!(error.message.contains("fail or ignore or audit, found policy"), "{error}");
    let mut broken = declaration(&[]);
    broken.secret.data.remove("DOMAIN");
    assert!(fill(&broken, None, None, &[]).is_err());
}

#[test]
fn errors_have_positions() {
    let all = [
        ("a: [", 1),
        ("---\nkind: Secret\n", 2),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a/b}\n", 1),
        ("apiVersion: v1\nkind: Secret\nmetadata:\n  name: yes\n", 4),
        ("- a\n", 1),
    ];
    for (text, line) in all {
        let error = Bundle::parse(text).unwrap_err();
        assert_eq!(error.place.line, line, "{text}: {error}");
    }
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\n---\n";
    let error = Bundle::parse(&secret.repeat(2)).unwrap_err();
    assert_eq!(error.place, Position { line: 5, column: 1 });
    assert!(error.message.contains("found Secret b/a on line 1"), "{error}");

    let text = "# x\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '@policy@'}\n";
    let (declaration, served) = (Effective::none(), BTreeSet::new());
    let error = Bundle::parse(text)
        .unwrap()
        .fill(&BundleSlots::new("image-swap", (1, &declaration), &served))
        .unwrap_err();
    assert_eq!(error.place.line, 2);
    assert!(error.message.contains("@policy@"), "{error}");
}

/// Returns all strings of `value`, those of keys included, and the decoded values of Secrets.
fn strings(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Some(bytes) = base64::decode(text) {
                out.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            out.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(fields) => {
            out.extend(fields.keys().cloned());
            fields.values().for_each(|field| strings(field, out));
        }
        _ => {}
    }
}

proptest! {
    // No slot survives, a credential is only in its Secrets, and phases are in order.
    #[test]
    fn filled_bundles_keep_their_promises(
        password in "[a-zA-Z0-9]{12,30}",
        has_login in any::<bool>(),
        api_server in prop::option::of("[a-z]{1,9}(:[1-9][0-9]{0,3})?"),
        policy in prop::option::of(prop::sample::select(vec!["fail", "ignore", "audit"])),
        is_openshift in any::<bool>(),
    ) {
        let password = format!("pw{password}");
        let login = [("USERNAME", "robot"), ("PASSWORD", password.as_str())];
        let declaration = declaration(if has_login { &login } else { &[] });
        let served: &[&str] = if is_openshift { &["security.openshift.io/v1"] } else { &[] };
        let objects = fill(&declaration, api_server.as_deref(), policy, served).unwrap();
        prop_assert!(objects.is_sorted_by_key(|it| it.phase));
        let mut names = BTreeSet::new();
        for it in &objects {
            prop_assert!(names.insert(it.path()), "{it} twice");
            let mut all = Vec::new();
            strings(&it.value, &mut all);
            for text in &all {
                for slot in SlotName::ALL {
                    prop_assert!(!text.contains(slot.as_str()), "{it}: {text}");
                }
            }
            let is_meant = it.kind == "Secret"
                && ["registry-info", "image-swap-image"].contains(&it.name.as_str());
            let has_password = all.iter().any(|text| text.contains(&password));
            prop_assert_eq!(has_password, is_meant && has_login, "{}", it);
            let shown = format!("{it:?} {it}");
            prop_assert!(!shown.contains(&password));
        }
    }
}
