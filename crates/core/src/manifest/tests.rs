use std::{borrow::Cow, fmt::Write as _};

use image_swap_text::{position::Position, yaml};

use super::*;
use crate::rule::{MapForm, Reason, RuleSet, parse};
use crate::workload::exempt::Exemptions;

pub(super) fn rewrite<'s>(
    source: &'s str,
    rules: &RuleSet,
    settings: &Settings,
) -> Result<Rewritten<'s>, yaml::Error> {
    Ok(Manifest::parse(source)?.rewrite(rules, settings))
}

/// Returns rules for Docker Hub, to `h.example/d`, and for quay.io, to an address that needs
/// quotes.
fn rules() -> RuleSet {
    let text = "docker.io::h.example/d\nquay.io::[::1]:5000/q";
    let (rules, unreadable) = parse::rules(text, MapForm::Lines);
    assert!(unreadable.is_empty());
    RuleSet::new(rules)
}

fn rewritten(source: &str) -> Rewritten<'_> {
    rewrite(source, &rules(), &Settings::default()).unwrap()
}

/// Returns settings with these fields.
fn with_fields(fields: &[&str]) -> Settings {
    let image_fields = fields.iter().map(|field| field.parse().unwrap()).collect();
    Settings { image_fields, ..Settings::default() }
}

/// Asserts that, with `settings`, every `IMAGE` in `text` (or `<>`, if there is one) is an
/// image that is rewritten.
#[track_caller]
fn rewrites_with(settings: &Settings, text: &str) {
    let mark = if text.contains("<>") { "<>" } else { "IMAGE" };
    let source = text.replace(mark, "org/app:1");
    let result = rewrite(&source, &rules(), settings).unwrap();
    assert_eq!(result.text, text.replace(mark, "h.example/d/org/app:1"));
    assert!(result.left.is_empty() && result.passed.is_empty(), "{result:?}");
}

/// Returns line, column, image and holder of the passed images in `source`. Asserts that
/// nothing changes.
#[track_caller]
fn passes(source: &str) -> Vec<(usize, usize, String, Holder)> {
    let result = rewritten(source);
    assert_eq!(result.text, source);
    let row = |it: Passed| (it.place.line, it.place.column, it.image, it.holder);
    result.passed.into_iter().map(row).collect()
}

#[track_caller]
fn rewrites(source: &str, expected: &str) {
    let result = rewritten(source);
    assert_eq!(result.text, expected);
    assert!(result.left.is_empty(), "{:?}", result.left);
}

/// Asserts that the text is unchanged. Returns the reason of each skipped image.
#[track_caller]
fn leaves(source: &str) -> Vec<SkipReason> {
    let result = rewritten(source);
    assert_eq!(result.text, source);
    assert!(matches!(result.text, Cow::Borrowed(_)), "an unchanged text is not copied");
    assert!(result.changes.is_empty());
    result.left.into_iter().map(|left| left.reason).collect()
}

/// Returns a pod with this `spec`, in flow style.
fn pod(spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{spec}}}\n")
}

// === Positions of images

#[test]
fn only_images_of_a_pod_are_rewritten() {
    let head = "\
# A pod.
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations: {image: nginx, note: 'image: nginx'}
spec:
  image: nginx            # no field of a pod
  initContainers:
  - name: init
";
    let before = "    image: busybox   # the comment stays
  containers:
  - {name: a, image: nginx:1.2, env: [{name: IMAGE, value: nginx}]}
  - image: 'org/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    name: b
  ephemeralContainers:
  - name: debug
    image: \"busybox\"
  volumes:
  - name: models
    image: {reference: org/models:1, pullPolicy: Always}
  - name: empty
    emptyDir: {}
";
    let after = "    image: h.example/d/library/busybox   # the comment stays
  containers:
  - {name: a, image: h.example/d/library/nginx:1.2, env: [{name: IMAGE, value: nginx}]}
  - image: 'h.example/d/org/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
    name: b
  ephemeralContainers:
  - name: debug
    image: \"h.example/d/library/busybox\"
  volumes:
  - name: models
    image: {reference: h.example/d/org/models:1, pullPolicy: Always}
  - name: empty
    emptyDir: {}
";
    rewrites(&[head, before].concat(), &[head, after].concat());
}

#[test]
fn built_in_kinds_with_pod_template_are_rewritten() {
    let template = "{metadata: {name: t}, spec: {containers: [{name: a, image: IMAGE}]}}";
    let kinds = [
        ("v1", "PodTemplate", "template: TEMPLATE"),
        ("v1", "ReplicationController", "spec: {template: TEMPLATE}"),
        ("apps/v1", "Deployment", "spec: {template: TEMPLATE}"),
        ("apps/v1", "ReplicaSet", "spec: {template: TEMPLATE}"),
        ("apps/v1", "StatefulSet", "spec: {template: TEMPLATE}"),
        ("apps/v1", "DaemonSet", "spec: {template: TEMPLATE}"),
        ("extensions/v1beta1", "Deployment", "spec: {template: TEMPLATE}"),
        ("batch/v1", "Job", "spec: {template: TEMPLATE}"),
        ("batch/v1beta1", "CronJob", "spec: {jobTemplate: {spec: {template: TEMPLATE}}}"),
    ];
    for (api_version, kind, spec) in kinds {
        let spec = spec.replace("TEMPLATE", template);
        let text = format!("apiVersion: {api_version}\nkind: {kind}\n{spec}\n");
        rewrites(
            &text.replace("IMAGE", "nginx"),
            &text.replace("IMAGE", "h.example/d/library/nginx"),
        );
    }
}

#[test]
fn documents_without_object_are_unchanged() {
    let spec =
        "spec: {containers: [{image: nginx}], template: {spec: {containers: [{image: nginx}]}}}";
    for head in ["apiVersion: v1", "kind: null", "kind: Other", "a: b"] {
        let text = format!("{head}\n{spec}\n");
        assert!(leaves(&text).is_empty());
        let result = rewritten(&text);
        assert!(!result.is_manifest && result.passed.len() == 2, "{result:?}");
    }
    for text in ["", "# only a comment\n", "---\n---\n", "nginx\n", "- image: nginx\n", "null\n"] {
        assert!(leaves(text).is_empty());
    }
}

#[test]
fn malformed_objects_are_unchanged() {
    for spec in [
        "containers: {image: nginx}",
        "containers: nginx",
        "containers: [[{image: nginx}], nginx]",
        "containers: [{image: null}, {image: ~}, {image: }, {image: ''}]",
        "volumes: [{image: nginx}]",
        "template: {spec: {containers: [{image: nginx}]}}",
    ] {
        assert!(leaves(&pod(spec)).is_empty(), "{spec}");
    }
}

#[test]
fn items_of_every_list_are_rewritten() {
    let item = "{apiVersion: v1, kind: Pod, spec: {containers: [{image: IMAGE}]}}";
    let bare = "{spec: {containers: [{image: IMAGE}]}}";
    let bare_deployment = "{spec: {template: {spec: {containers: [{image: IMAGE}]}}}}";
    for (api_version, kind, item) in [
        ("v1", "List", item),
        ("v1", "PodList", item),
        ("v1", "PodList", bare),
        ("apps/v1", "DeploymentList", bare_deployment),
        ("config.kubernetes.io/v1", "ResourceList", item),
    ] {
        let text = format!("apiVersion: {api_version}\nkind: {kind}\nitems: [{item}, {item}]\n");
        rewrites(
            &text.replace("IMAGE", "nginx"),
            &text.replace("IMAGE", "h.example/d/library/nginx"),
        );
    }
    let text = format!("apiVersion: example.com/v1\nkind: PodList\nitems: [{bare}]\n");
    assert!(leaves(&text.replace("IMAGE", "nginx")).is_empty(), "of a foreign PodList");
}

// === Other kinds

#[test]
fn containers_of_every_kind_are_rewritten() {
    let settings = Settings::default();
    for (api_version, kind) in [
        ("argoproj.io/v1alpha1", "Rollout"),
        ("serving.knative.dev/v1", "Service"),
        ("apps.openshift.io/v1", "DeploymentConfig"),
        ("example.com/v1", "Deployment"),
        ("v1", "Service"),
    ] {
        rewrites_with(
            &settings,
            &format!(
                "apiVersion: {api_version}\nkind: {kind}\nspec:\n  template:\n    spec:\n      \
                 initContainers: [{{image: IMAGE}}]\n      containers:\n      - image: IMAGE\n      \
                 volumes: [{{image: {{reference: IMAGE}}}}]\n  deep: [{{er: {{containers: [{{image: \
                 IMAGE}}]}}}}]\n"
            ),
        );
    }
}

#[test]
fn objects_within_objects_are_rewritten() {
    let pod = "{apiVersion: v1, kind: Pod, spec: {containers: [{image: IMAGE}]}}";
    let cluster = "{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, spec: {imageName: IMAGE}}";
    for text in [
        format!(
            "apiVersion: template.openshift.io/v1\nkind: Template\nobjects: [{pod}, {cluster}]\n"
        ),
        format!("apiVersion: v1\nkind: List\nitems: [{cluster}, {pod}]\n"),
        format!(
            "apiVersion: example.com/v1\nkind: Bundle\nspec: {{manifests: [{pod}], one: {cluster}}}\n"
        ),
    ] {
        rewrites_with(&Settings::default(), &text);
    }
}

#[test]
fn image_fields_of_well_known_resources_are_rewritten() {
    for (api_version, kind, spec) in [
        ("monitoring.coreos.com/v1", "Prometheus", "{image: IMAGE, thanos: {image: IMAGE}}"),
        ("monitoring.coreos.com/v1", "Alertmanager", "{image: IMAGE}"),
        ("kafka.strimzi.io/v1beta2", "Kafka", "{kafka: {image: IMAGE}, zookeeper: {image: IMAGE}}"),
        (
            "tekton.dev/v1",
            "Task",
            "{stepTemplate: {image: IMAGE}, steps: [{image: IMAGE}], sidecars: [{image: IMAGE}]}",
        ),
        (
            "tekton.dev/v1",
            "PipelineRun",
            "{pipelineSpec: {tasks: [{taskSpec: {steps: [{image: IMAGE}]}}]}}",
        ),
        (
            "argoproj.io/v1alpha1",
            "WorkflowTemplate",
            "{templates: [{container: {image: IMAGE}, sidecars: [{image: IMAGE}]}, {script: {image: IMAGE}}, {containerSet: {containers: [{image: IMAGE}]}}]}",
        ),
        (
            "argoproj.io/v1alpha1",
            "CronWorkflow",
            "{workflowSpec: {templates: [{initContainers: [{image: IMAGE}]}]}}",
        ),
        (
            "kubevirt.io/v1",
            "VirtualMachine",
            "{template: {spec: {volumes: [{name: d, containerDisk: {image: IMAGE}}, {name: e}]}}}",
        ),
        (
            "kubevirt.io/v1",
            "VirtualMachineInstance",
            "{volumes: [{containerDisk: {image: IMAGE}}]}",
        ),
        ("postgresql.cnpg.io/v1", "Cluster", "{imageName: IMAGE}"),
        (
            "sparkoperator.k8s.io/v1beta2",
            "SparkApplication",
            "{image: IMAGE, driver: {image: IMAGE}}",
        ),
        (
            "actions.summerwind.dev/v1alpha1",
            "RunnerDeployment",
            "{template: {spec: {image: IMAGE}}}",
        ),
        ("operators.coreos.com/v1alpha1", "CatalogSource", "{image: IMAGE}"),
        (
            "operators.coreos.com/v1alpha1",
            "ClusterServiceVersion",
            "{install: {spec: {deployments: [{spec: {template: {spec: {containers: [{image: IMAGE}]}}}}]}}, relatedImages: [{name: a, image: IMAGE}]}",
        ),
    ] {
        let text = format!("apiVersion: {api_version}\nkind: {kind}\nspec: {spec}\n");
        rewrites_with(&Settings::default(), &text);
    }
}

#[test]
fn further_fields_are_rewritten_on_request() {
    let text = "apiVersion: example.com/v1\nkind: My\nspec: {a: {image: IMAGE}, b: [{c: IMAGE}, {c: IMAGE}], d: [IMAGE]}\n";
    rewrites_with(
        &with_fields(&["My:spec/a/image", "kind=My,path=spec/b[]/c", "example.com/My:spec/d"]),
        text,
    );
    // Annotations count in built-in kinds, too, as do their containers.
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {annotations: {example.org/image: IMAGE}}\nspec: {template: {spec: {containers: [{image: IMAGE}]}}}\n";
    rewrites_with(&with_fields(&[r"Deployment:metadata/annotations/example.org\/image"]), text);
    let text = "apiVersion: v1\nkind: ConfigMap\ndata: {image: IMAGE}\n";
    rewrites_with(&with_fields(&["ConfigMap:data/image"]), text);
}

#[test]
fn variables_and_arguments_are_rewritten_on_request() {
    let settings = Settings { env: true, args: true, ..Settings::default() };
    rewrites_with(
        &settings,
        "\
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
      - image: <>
        env:
        - {name: RELATED_IMAGE_A, value: <>}
        - {name: B_IMAGE, value: \"<>\"}
        - {name: IMAGE_C, value: '<>'}
        - {name: OTHER, value: x}
        command: [/bin/x, --solver-image=<>, '--image', <>]
        args:
        - --acme-http01-solver-image=<>
        - \"-image=<>\"
        - >-
          --image=<>
        - --other=x
",
    );
    // A value that needs quotes is quoted as a whole.
    let text = pod("containers: [{args: [--image=quay.io/a, '--image=quay.io/b']}]");
    let result = rewrite(&text, &rules(), &settings).unwrap();
    assert_eq!(
        result.text,
        pod("containers: [{args: [\"--image=[::1]:5000/q/a\", '--image=[::1]:5000/q/b']}]")
    );
}

#[test]
fn resources_and_their_pods_opt_out() {
    let labels = "labels: {k8s.twr.io/imageswap: disabled}";
    for text in [
        format!("apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec: {{template: {{metadata: {{{labels}}}, spec: {{containers: [{{image: nginx}}]}}}}}}\n"),
        format!("apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {{{labels}}}\nspec: {{imageName: nginx}}\n"),
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nspec: {volumes: [{containerDisk: {image: nginx, imagePullPolicy: Never}}]}\n".to_owned(),
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{{labels}}}\nspec: {{containers: [{{env: [{{value: quay.io/a/b}}]}}]}}\n"),
    ] {
        assert_eq!(passes(&text), [], "{text}");
    }
    let own = format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{{labels}}}\nspec: {{template: {{spec: {{containers: [{{image: nginx}}]}}}}}}\n"
    );
    assert_eq!(rewritten(&own).changes.len(), 1, "the label of a controller is not that of pods");
}

#[test]
fn images_outside_of_known_fields_are_listed() {
    let field = |field: &str| Holder::Field(field.to_owned());
    let text = "\
apiVersion: example.com/v1
kind: My
metadata: {name: m}
spec:
  image: nginx
  other: [{thing: quay.io/a/b:1}]
  heroImage: cat.png
  url: https://quay.io/repository/a
status: {image: quay.io/a/b:1}
";
    assert_eq!(
        passes(text),
        [
            (5, 10, "nginx".to_owned(), field("example.com/My:spec/image")),
            (6, 19, "quay.io/a/b:1".to_owned(), field("example.com/My:spec/other/thing")),
        ]
    );
    let text =
        pod("containers: [{env: [{name: RELATED_IMAGE_A, value: a/b:1}], args: [--x-image=c/d]}]");
    let found: Vec<_> = passes(&text).into_iter().map(|row| (row.2, row.3)).collect();
    assert_eq!(found, [("a/b:1".to_owned(), Holder::Env), ("c/d".to_owned(), Holder::Argument)]);
    let text = "\
apiVersion: v1
kind: ConfigMap
data:
  a: |
    image: nginx
    # see quay.io/a/b:1, docker://quay.io/c.
    other: docker.io/d
  b: \"x\\nquay.io/e/f\\n\"
";
    let found: Vec<_> = passes(text).into_iter().map(|row| (row.0, row.1, row.2)).collect();
    let row = |line, column, image: &str| (line, column, image.to_owned());
    assert_eq!(
        found,
        [
            row(5, 12, "nginx"),
            row(6, 11, "quay.io/a/b:1"),
            row(6, 35, "quay.io/c"),
            row(7, 12, "docker.io/d"),
            row(8, 6, "quay.io/e/f"),
        ]
    );
    assert_eq!(passes("services: {web: {image: 'nginx:1'}}\n")[0].3, Holder::NoManifest);
    let text = "images: [a/b, c]\nimage:\n  registry: docker.io\n  repository: org/app\n\
                sidecarImage: {repository: org/side}\nother: {repository: org/x}\n";
    let found: Vec<_> = passes(text).into_iter().map(|row| (row.0, row.2, row.3)).collect();
    assert_eq!(
        found,
        [
            (1, "a/b".to_owned(), Holder::NoManifest),
            (4, "docker.io/org/app".to_owned(), Holder::Parts),
            (5, "org/side".to_owned(), Holder::NoManifest),
        ]
    );
    // Recorded images, and mirrored ones, are not reported.
    let before = r#"{"app": "quay.io/a/b"}"#;
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{annotations: {{image-swap.io/original-images: '{before}'}}}}\nx: h.example/d/library/nginx\n"
    );
    assert_eq!(passes(&text), []);
}

#[test]
fn files_without_manifest_are_recognised() {
    for (text, is_manifest) in [
        ("services: {web: {image: nginx}}\n", false),
        ("image: {repository: a, tag: b}\nkind: Deployment2\n", false),
        (
            "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n",
            false,
        ),
        ("a: b\n---\napiVersion: v1\nkind: ConfigMap\n", true),
        ("apiVersion: v1\nkind: List\nitems: []\n", true),
    ] {
        assert_eq!(rewritten(text).is_manifest, is_manifest, "{text}");
    }
}

#[test]
fn image_of_another_type_is_reported() {
    let text = pod(
        "containers: [{image: {{ .Values.image }}}, {image: {reference: nginx}}, {image: [nginx]}]",
    );
    assert_eq!(leaves(&text), [SkipReason::Template, SkipReason::NoScalar, SkipReason::NoScalar]);
    let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {{ .Values.image }}\n";
    assert_eq!(leaves(text), [SkipReason::Template]);
}

#[test]
fn schema_of_a_resource_is_unchanged() {
    let text = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {containers: [{image: nginx}]}\n";
    assert!(leaves(text).is_empty());
}

#[test]
fn any_number_of_comments_is_accepted() {
    let comments = "  # comment\n".repeat(10_000);
    let text = format!(
        "apiVersion: v1\nkind: Pod\nspec:\n{comments}  containers:\n{comments}  - name: a\n{comments}    image: nginx\n"
    );
    assert_eq!(rewritten(&text).changes.len(), 1);
    let text = format!(
        "apiVersion: v1 # a\n{comments}kind: List\nitems:\n- {{\n{comments}apiVersion: v1, kind: Pod, spec: {{containers: [\n{comments}{{image: nginx}}]}}}}\n"
    );
    assert_eq!(rewritten(&text).changes.len(), 1);
}

// guarantee: 2b
#[test]
fn only_image_bytes_of_kubectl_output_change() {
    for text in [
        "apiVersion: v1\nkind: Pod\nmetadata:\n  annotations:\n    note: 'first\n  second'\nspec:\n  containers:\n  - name: a\n    image: IMAGE\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {annotations: {\n\tnote: x\n\t}}\nspec:\n  containers:\n  - {args: [-f, -], image: IMAGE}# c\n",
        "apiVersion: v1\nkind: Pod\n---\n\u{feff}apiVersion: v1\nkind: Pod\nspec: {containers: [{image: 'IMAGE'}]}\n",
    ] {
        rewrites_with(&Settings::default(), text);
        rewrites_with(&Settings::default(), &text.replace('\n', "\r\n"));
    }
}

// === Exemptions

#[test]
fn exemptions_equal_those_of_admission() {
    for text in [
        pod("containers: [{image: nginx, imagePullPolicy: Never}]"),
        pod("volumes: [{image: {reference: nginx, pullPolicy: Never}}]"),
        pod("containers: [{image: nginx}]")
            .replace("{name: p}", "{labels: {k8s.twr.io/imageswap: disabled}}"),
        pod("containers: [{image: nginx}]")
            .replace("{name: p}", "{annotations: {kubernetes.io/config.mirror: 0a1b}}"),
    ] {
        assert!(leaves(&text).is_empty(), "{text}");
    }
    let deployment = "\
apiVersion: apps/v1
kind: Deployment
spec: {template: {metadata: {labels: {k8s.twr.io/imageswap: disabled}}, spec: {containers: [{image: nginx}]}}}
";
    assert!(leaves(deployment).is_empty());
}

#[test]
fn exempt_pods_and_placeholders_are_unchanged() {
    let owned = "{ownerReferences: [{apiVersion: v1, kind: Pod}, \
                 {apiVersion: postgresql.cnpg.io/v1, kind: Cluster, name: pg}]}";
    for text in [
        pod("containers: [{image: nginx}]").replace("{name: p}", owned),
        pod("containers: [{image: nginx}]").replace("{name: p}", "{labels: {application: spilo}}"),
        pod("containers: [{name: istio-proxy, image: auto}]"),
        pod("containers: [{image: auto}]")
            .replace("{name: p}", "{annotations: {inject.istio.io/templates: gateway}}"),
    ] {
        assert!(leaves(&text).is_empty(), "{text}");
        assert_eq!(rewritten(&text).exempt.len(), 1, "{text}");
        let all = Settings { exemptions: Exemptions::none(), ..Settings::default() };
        assert_eq!(rewrite(&text, &rules(), &all).unwrap().changes.len(), 1, "{text}");
    }
    let text = pod("containers: [{name: a, image: auto}, {name: istio-proxy, image: nginx}]");
    let changes = rewritten(&text).changes;
    assert_eq!(changes.len(), 2);
    // A pod's own opt-out needs no note.
    for text in [
        pod("containers: [{image: nginx}]")
            .replace("{name: p}", "{labels: {k8s.twr.io/imageswap: disabled}}"),
        pod("containers: [{image: nginx, imagePullPolicy: Never}]"),
    ] {
        assert_eq!(rewritten(&text).exempt, []);
    }
    // In a pod with a mark the other images are swapped, those of its volumes included.
    let text =
        pod("containers: [{image: auto}, {image: nginx}], volumes: [{image: {reference: redis}}]")
            .replace("{name: p}", "{labels: {sidecar.istio.io/inject: 'true'}}");
    assert_eq!(rewritten(&text).changes.len(), 2, "{text}");
}

#[test]
fn label_of_controller_does_not_exempt_pods() {
    let text = "\
apiVersion: apps/v1
kind: Deployment
metadata: {labels: {k8s.twr.io/imageswap: disabled}}
spec: {template: {spec: {containers: [{image: nginx}]}}}
";
    assert_eq!(rewritten(text).changes.len(), 1);
}

#[test]
fn opt_out_label_is_a_setting() {
    let text =
        pod("containers: [{image: nginx}]").replace("{name: p}", "{labels: {spec: disabled}}");
    let settings = Settings { disable_label: "spec".to_owned(), ..Settings::default() };
    assert_eq!(rewrite(&text, &rules(), &settings).unwrap().text, text);
    assert_eq!(rewritten(&text).changes.len(), 1);
}

// === Scalars

#[test]
fn scalar_styles_are_kept() {
    for (old, new) in [
        ("nginx", "h.example/d/library/nginx"),
        ("'nginx'", "'h.example/d/library/nginx'"),
        ("\"nginx\"", "\"h.example/d/library/nginx\""),
        ("!!str nginx", "!!str h.example/d/library/nginx"),
        ("!!str &a nginx", "!!str &a h.example/d/library/nginx"),
        ("&a nginx # c", "&a h.example/d/library/nginx # c"),
        ("|-\n      nginx\n    # c", "|-\n      h.example/d/library/nginx\n    # c"),
        (">-  # c\n     nginx\n\n", ">-  # c\n     h.example/d/library/nginx\n\n"),
        ("\n      nginx", "\n      h.example/d/library/nginx"),
        // Escapes and folds are replaced.
        ("\"ngin\\x78\"", "\"h.example/d/library/nginx\""),
        ("\"ngi\\\n      nx\"", "\"h.example/d/library/nginx\""),
    ] {
        let text =
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: IMAGE\n    name: a\n";
        rewrites(&text.replace("IMAGE", old), &text.replace("IMAGE", new));
        let crlf = text.replace('\n', "\r\n");
        rewrites(
            &crlf.replace("IMAGE", &old.replace('\n', "\r\n")),
            &crlf.replace("IMAGE", &new.replace('\n', "\r\n")),
        );
    }
}

#[test]
fn new_value_is_quoted_if_needed() {
    rewrites(
        &pod("containers: [{image: quay.io/a}, {image: 'quay.io/b'}]"),
        &pod("containers: [{image: \"[::1]:5000/q/a\"}, {image: '[::1]:5000/q/b'}]"),
    );
}

#[test]
fn number_is_an_image_only_if_quoted() {
    let reason = leaves(&pod("containers: [{image: 1.5}, {image: on}, {image: !mine nginx}]"));
    assert_eq!(reason, [SkipReason::NoString; 3]);
    rewrites(
        &pod("containers: [{image: '1.5'}, {image: !!str 1.5}, {image: ! 7}]"),
        &pod("containers: [{image: 'h.example/d/library/1.5'}, \
             {image: !!str h.example/d/library/1.5}, {image: ! h.example/d/library/7}]"),
    );
}

#[test]
fn invalid_reference_is_reported_and_unchanged() {
    let text = pod("containers: [{name: a, image: 'Nginx'}, {name: b, image: 'a:'}]");
    let result = rewritten(&text);
    assert_eq!(result.text, text);
    let reasons: Vec<_> = result
        .left
        .iter()
        .map(|left| format!("{}: {}: {}", left.place.line, left.owner, left.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            "4: Pod p a: invalid image reference: expected a lowercase letter (repository names \
             have no uppercase) at character 1, found 'N'",
            "4: Pod p b: invalid image reference: expected a letter, digit or '_' to begin the tag \
             at character 3, found the end",
        ]
    );
}

#[test]
fn change_has_position_owner_images_and_reason() {
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: batch/v1
  kind: CronJob
  metadata: {namespace: shop, name: nightly}
  spec: {jobTemplate: {spec: {template: {spec: {
    # ä
    volumes: [{name: v, image: {reference: org/v}}], containers: [{name: 'ä', image: nginx}]}}}}}
";
    let found: Vec<_> = rewritten(text)
        .changes
        .into_iter()
        .map(|c| (c.place.line, c.place.column, c.owner.to_string(), c.from, c.to, c.reason))
        .collect();
    let what = |what: &str| format!("CronJob shop/nightly {what}");
    let to = |image: &str| format!("h.example/d/{image}");
    assert_eq!(
        found,
        [
            (9, 44, what("volume:v"), "org/v".into(), to("org/v"), Reason::Rule),
            (9, 86, what("ä"), "nginx".into(), to("library/nginx"), Reason::Rule),
        ]
    );
}

#[test]
fn object_without_name_uses_generate_name() {
    let text = pod("containers: [{image: nginx}]").replace("name: p", "generateName: p-");
    assert_eq!(rewritten(&text).changes[0].owner.to_string(), "Pod p-");
}

// === Anchors

#[test]
fn anchored_image_is_edited_if_always_an_image() {
    rewrites(
        &pod("initContainers: [{image: &i nginx}], containers: [{image: *i}, {image: *i}]"),
        &pod("initContainers: [{image: &i h.example/d/library/nginx}], \
             containers: [{image: *i}, {image: *i}]"),
    );
}

#[test]
fn anchored_list_of_containers_is_edited_once() {
    rewrites(
        &pod("initContainers: &c [{image: nginx}], containers: *c"),
        &pod("initContainers: &c [{image: h.example/d/library/nginx}], containers: *c"),
    );
}

#[test]
fn anchored_image_with_another_use_is_reported() {
    let text = pod("containers: [{image: &i nginx, env: [{name: X, value: *i}]}]");
    let place = Position { line: 4, column: 62 };
    assert_eq!(leaves(&text), [SkipReason::UsedElsewhere(place)]);
    // The anchor is also a key, and is defined there.
    assert_eq!(leaves(&pod("x: &i nginx, containers: [{image: *i}]")).len(), 1);
    assert_eq!(leaves(&pod("containers: [{image: &i nginx, env: {*i : 1}}]")).len(), 1);
    assert_eq!(leaves(&pod("x: &c {image: nginx}, containers: [*c]")).len(), 1);
    assert_eq!(leaves(&pod("containers: [{image: &i nginx}], volumes: [*i]")).len(), 1);
}

#[test]
fn anchored_value_without_matching_rule_is_not_reported() {
    assert!(leaves(&pod("x: &i ghcr.io/a/b, containers: [{image: *i}]")).is_empty());
}

#[test]
fn image_shared_with_exempt_container_is_reported() {
    let text = pod("containers: [{image: &i nginx}, {image: *i, imagePullPolicy: Never}]");
    assert_eq!(leaves(&text), [SkipReason::SharedWithExempt]);
    let text = pod(
        "containers: [{image: &i nginx, imagePullPolicy: Never}, {image: *i, imagePullPolicy: Never}]",
    );
    assert!(leaves(&text).is_empty());
}

#[test]
fn redefined_anchor_is_a_second_anchor() {
    rewrites(
        &pod("x: &i nginx, y: *i, containers: [{image: &i nginx}, {image: *i}]"),
        &pod(
            "x: &i nginx, y: *i, containers: [{image: &i h.example/d/library/nginx}, {image: *i}]",
        ),
    );
}

// === Merge keys

#[test]
fn merged_container_is_rewritten() {
    rewrites(
        &pod("containers: [&a {image: nginx, name: a}, {<<: *a, name: b}, {<<: [*a], name: c}]"),
        &pod("containers: [&a {image: h.example/d/library/nginx, name: a}, {<<: *a, name: b}, \
             {<<: [*a], name: c}]"),
    );
}

#[test]
fn overridden_image_is_ignored() {
    rewrites(
        &pod("containers: [&a {image: nginx, name: a}, \
             {<<: *a, image: ghcr.io/x, imagePullPolicy: Never}, \
             {<<: [{image: ghcr.io/x, imagePullPolicy: Never}, *a]}]"),
        &pod("containers: [&a {image: h.example/d/library/nginx, name: a}, \
             {<<: *a, image: ghcr.io/x, imagePullPolicy: Never}, \
             {<<: [{image: ghcr.io/x, imagePullPolicy: Never}, *a]}]"),
    );
}

#[test]
fn merged_fields_count() {
    // Label, policy and image are all merged.
    let never = "containers: [{<<: {imagePullPolicy: Never}, image: nginx}]";
    assert!(leaves(&pod(never)).is_empty());
    let overridden =
        "containers: [{<<: {imagePullPolicy: Never}, imagePullPolicy: Always, image: nginx}]";
    assert_eq!(rewritten(&pod(overridden)).changes.len(), 1);
    let text = pod("containers: [{image: nginx}]")
        .replace("{name: p}", "{<<: {labels: {<<: {k8s.twr.io/imageswap: disabled}}}}");
    assert!(leaves(&text).is_empty());
    let text = pod("<<: [{<<: {containers: [{image: nginx}]}}]");
    assert_eq!(rewritten(&text).changes.len(), 1);
}

#[test]
fn merge_outside_containers_is_another_use() {
    let text = pod("containers: [&a {image: nginx}], securityContext: {<<: *a}");
    assert_eq!(leaves(&text).len(), 1);
    let text = pod("containers: [&a {image: nginx}], volumes: [{image: {<<: *a}}]");
    assert_eq!(leaves(&text).len(), 1);
    let text = pod("containers: [{image: &i nginx}, {<<: *i}]");
    assert_eq!(leaves(&text).len(), 1);
}

#[test]
fn keys_of_containers_are_not_images() {
    assert_eq!(leaves(&pod("containers: [{image: &i nginx, ? *i : 1}]")).len(), 1);
    let text = pod("containers: [{image: &i nginx}, {<<: {? *i : 1}, image: ghcr.io/x}]");
    assert_eq!(leaves(&text).len(), 1);
}

#[test]
fn quoted_merge_key_is_a_field() {
    assert!(leaves(&pod("containers: [{'<<': {image: nginx}}]")).is_empty());
    let json =
        r#"{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"<<":{"image":"nginx"}}]}}"#;
    assert!(leaves(json).is_empty());
}

#[test]
fn self_multiplying_document_takes_linear_time() {
    // The document has 10 to the power of 60 containers, and as many merges.
    let mut text = String::from("apiVersion: v1\nkind: Pod\nm0: &m0 {image: nginx}\n");
    for level in 1..60 {
        let aliases = vec![format!("*m{}", level - 1); 10].join(", ");
        writeln!(text, "m{level}: &m{level} {{<<: [{aliases}]}}").unwrap();
    }
    text += "a0: &a0 [{image: nginx}]\n";
    for level in 1..60 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    text += "spec: {containers: [*m59, {image: nginx}], initContainers: *a59}\n";
    let result = rewritten(&text);
    assert_eq!(result.changes.len(), 1);
    assert_eq!(result.left.len(), 1, "the image at the bottom of the merges is used elsewhere");
}

#[test]
fn long_chain_of_merges_is_followed() {
    let mut text = pod("containers: [&m0 {image: nginx}]").replace("]}", ",\n");
    for level in 1..20_000 {
        writeln!(text, " &m{level} {{<<: *m{}}},", level - 1).unwrap();
    }
    text += "]}\n";
    assert_eq!(rewritten(&text).changes.len(), 1);
}

// === Texts

#[test]
fn documents_are_rewritten_one_by_one() {
    let one = pod("containers: [{image: nginx}]");
    let text = format!(
        "\u{feff}%YAML 1.2\n--- # first\n{one}...\n# between\n---\nother: nginx\n---\n{one}"
    );
    rewrites(&text, &text.replace("image: nginx", "image: h.example/d/library/nginx"));
}

#[test]
fn white_space_of_json_is_kept() {
    let text = "{\n\t\"kind\":\"Pod\" , \"apiVersion\": \"v1\",\r\n \"spec\": {\"x\": \"\\ud83d\\ude00\",\
                \"containers\": [ {\"image\":\"org\\/app\"},{\"image\":\"nginx\",\"image\":\"nginx\"} ]}}\n\n";
    let new = text
        .replace("\"org\\/app\"", "\"h.example/d/org/app\"")
        .replace("\"nginx\"", "\"h.example/d/library/nginx\"");
    rewrites(text, &new);
    rewrites(&text.repeat(2), &new.repeat(2));
    rewrites(&format!("\u{feff}{text}---\n{text}"), &format!("\u{feff}{new}---\n{new}"));
}

#[test]
fn invalid_text_is_rejected_with_position() {
    for (text, line) in [
        ("apiVersion: v1\nkind: [\n", 2),
        ("a: b\n---\na: b: c\n", 3),
        ("{\"a\": 1}\n{\"a\": tru}\n", 2),
        ("{a: b\n", 1),
        ("a: *b\n", 1),
    ] {
        let error = rewrite(text, &rules(), &Settings::default()).unwrap_err();
        assert_eq!(error.place.line, line, "{text}: {error}");
    }
}

#[test]
fn function_config_is_found_only_in_resource_list() {
    let config = |text: &str| {
        let manifest = Manifest::parse(text).unwrap();
        let found = manifest.function_config()?;
        Some(manifest.tree().get(found, "kind").is_some())
    };
    let list = "apiVersion: config.kubernetes.io/v1beta1\nkind: ResourceList\n";
    assert_eq!(config(&format!("{list}functionConfig: {{kind: Secret}}\n")), Some(true));
    assert_eq!(config(&format!("{list}x: &c {{kind: Secret}}\nfunctionConfig: *c\n")), Some(true));
    assert_eq!(config(&format!("{list}functionConfig: null\n")), None);
    assert_eq!(config(list), None);
    assert_eq!(config("apiVersion: v1\nkind: ResourceList\nfunctionConfig: {kind: a}\n"), None);
    assert_eq!(config(""), None);
}

#[test]
fn images_in_function_config_are_unchanged() {
    let item = "{apiVersion: v1, kind: Pod, spec: {containers: [{image: nginx}]}}";
    let text = format!(
        "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nfunctionConfig: {item}\nitems: []\n"
    );
    assert!(leaves(&text).is_empty());
}
