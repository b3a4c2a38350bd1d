//! `image-swap rewrite` as a KRM function.

use crate::run::{Ran, image_swap_in, root};

/// Returns the standard input that kustomize writes to a function, with its annotations.
fn resource_list(function_config: &str) -> String {
    let indented = function_config.trim_end().replace('\n', "\n  ");
    format!(
        "\
apiVersion: config.kubernetes.io/v1
kind: ResourceList
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata:
    name: web
    annotations:
      config.k8s.io/id: '1'
      internal.config.kubernetes.io/id: '1'
      kustomize.config.k8s.io/id: |
        group: apps
        kind: Deployment
        name: web
        version: v1
  spec:
    template:
      spec:
        containers:
        - image: nginx # kept
          name: web
- apiVersion: example.com/v1
  kind: Web
  metadata:
    name: custom
  spec:
    template:
      spec:
        containers:
        - image: nginx # kept
functionConfig:
  {indented}
"
    )
}

/// Returns a declaration with kustomize's annotations, and an image that no item contains.
fn declaring(head: &str, tail: &str) -> String {
    format!(
        "\
{head}
metadata:
  name: registry-info
  namespace: jet-system
  annotations:
    config.kubernetes.io/function: |
      exec:
        path: image-swap
        args: [rewrite]
    config.kubernetes.io/local-config: \"true\"
{tail}"
    )
}

const SECRET: &str = "\
type: Opaque
stringData:
  DOMAIN: h.example
  BASE_PATH: d
  USERNAME: ''
  PASSWORD: ''
  INSECURE: 'false'
  CA_CERT: ''
  MIRROR_REGISTRIES: docker.io::h.example/d
";
const VALUES: &str = "\
ociImageRegistry:
  endpoint: h.example
  name: Registry
  username: ''
  password: ''
  baseContentPath: d
  insecureSkipVerify: false
  caCert: ''
  mirrorRegistries: docker.io::h.example/d
";

fn function(args: &[&str], stdin: &str) -> Ran {
    image_swap_in(&root(), &[&["rewrite"], args].concat(), stdin)
}

fn indented(text: &str) -> String {
    format!("  {}\n", text.trim_end().replace('\n', "\n  "))
}

#[test]
fn declaration_is_taken_from_the_function_config() {
    let values = "apiVersion: image-swap.io/v1\nkind: ImageSwap";
    let map = "apiVersion: v1\nkind: ConfigMap";
    for config in [
        declaring("apiVersion: v1\nkind: Secret", SECRET),
        declaring(values, VALUES),
        declaring(values, &format!("config:\n{}", indented(VALUES))),
        declaring(values, &format!("spec:\n{}", indented(VALUES))),
        declaring(map, "data:\n  mirrorRegistries: docker.io::h.example/d\n"),
        declaring(map, "data:\n  MIRROR_REGISTRIES: docker.io::h.example/d\n"),
        declaring(
            map,
            "data:\n  maps: |\n    # a map\n    default::\n    docker.io::h.example/d\n",
        ),
    ] {
        let list = resource_list(&config);
        let ran = function(&[], &list);
        assert_eq!(ran.code, 0, "{config}\n{}", ran.stderr);
        let expected = list.replace("nginx # kept", "h.example/d/library/nginx # kept");
        assert_eq!(ran.stdout, expected);
    }
}

#[test]
fn images_of_the_function_config_stay() {
    let pod = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: nginx}]}";
    let list = resource_list(&format!("{pod}\n{VALUES}"));
    let ran = function(&[], &list);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, list.replace("nginx # kept", "h.example/d/library/nginx # kept"));
}

#[test]
fn function_config_in_the_documentation_works() {
    let page = std::fs::read_to_string(root().join("docs/rewrite.md")).unwrap();
    let block = page.split("```yaml\n# image-swap.yaml\n").nth(1).unwrap();
    let list = resource_list(block.split("```").next().unwrap());
    let ran = function(&[], &list);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mirrored = "harbor.example.org/airgap-images/docker.io/library/nginx # kept";
    assert_eq!(ran.stdout, list.replace("nginx # kept", mirrored));
}

#[test]
fn flag_overrides_the_function_config() {
    let list = resource_list(&declaring("apiVersion: v1\nkind: Secret", SECRET));
    let ran = function(&["--mirrors", "docker.io::other.example"], &list);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, list.replace("nginx # kept", "other.example/library/nginx # kept"));
}

#[test]
fn unusable_function_config_fails_the_function() {
    let secret = declaring("apiVersion: v1\nkind: Secret", SECRET);
    for (config, message) in [
        (secret.replace("h.example/d", "not_a_host/d"), "invalid-target"),
        (secret.replace("INSECURE: 'false'", "INSECURE: 'perhaps'"), "INSECURE"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n".to_owned(), "functionConfig"),
    ] {
        let ran = function(&[], &resource_list(&config));
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{config}");
        assert!(ran.stderr.contains(message), "{config}: {}", ran.stderr);
        assert!(ran.stderr.contains("invalid, nothing was applied"), "{}", ran.stderr);
    }
}

#[test]
fn list_without_function_config_requires_a_flag() {
    for list in [
        "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems: []\n",
        "apiVersion: v1\nkind: List\nitems: []\nfunctionConfig: {}\n",
    ] {
        let ran = function(&[], list);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("--registry-info FILE"), "{}", ran.stderr);
    }
}

// guarantee: 6b
#[test]
fn rejected_function_config_hides_its_password() {
    let config = declaring("apiVersion: v1\nkind: Secret", SECRET)
        .replace("PASSWORD: ''", "PASSWORD: hunter2hunter2")
        .replace("USERNAME: ''", "USERNAME: robot")
        .replace("h.example/d", "not_a_host/d");
    let ran = function(&[], &resource_list(&config));
    assert_eq!(ran.code, 2);
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
}
