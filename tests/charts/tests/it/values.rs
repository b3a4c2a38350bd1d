//! Accepted values, and their effect on the objects.

use image_swap_core::declaration::{Declaration, DeclarationSource};

use crate::chart::{
    EVERYTHING, PAGE, Rendered, argument, arguments, chart, deployment, file, of_kind,
    top_level_block,
};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_of_palette_render_unchanged() {
    let chart = chart();
    let rendered = chart.with(PAGE);
    for path in ["admission/deployment.yaml", "controller/deployment.yaml", "declaration.yaml"] {
        assert!(rendered.objects.contains_key(path), "{path}");
    }
    let notes = chart.notes(&[PAGE]);
    assert!(notes.contains("belong to another program. They are not run."), "{notes}");
    assert!(notes.contains("harbor.example.org (Internal Registry)"), "{notes}");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn block_at_top_level_is_equivalent() {
    let chart = chart();
    assert_eq!(chart.with(&top_level_block()).objects, chart.with(PAGE).objects);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn is_eks_cluster_changes_nothing() {
    let chart = chart();
    let other = PAGE.replace("isEKSCluster: true", "isEKSCluster: false");
    assert_ne!(other, PAGE);
    assert_eq!(chart.with(&other), chart.with(PAGE));
    assert_eq!(chart.notes(&[&other]), chart.notes(&[PAGE]));
}

/// Returns true if a Secret has data. That of Helm's hook for the Secret of the agents has none.
fn has_secrets(rendered: &Rendered) -> bool {
    of_kind(rendered, "Secret").iter().any(|secret| secret.get("data").is_some())
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn installation_needs_no_values_besides_the_secret() {
    let chart = chart();
    for values in ["", "ociImageRegistry: {}", "config: {ociImageRegistry: {}}", "config:"] {
        let rendered = chart.with(values);
        assert!(!has_secrets(&rendered), "{values}");
        assert_eq!(argument(deployment(&rendered, "controller"), "chart-secret"), None);
        assert!(chart.notes(&[values]).contains("until the Secret registry-info\nexists."));
    }
}

/// Follows a step of Palette's documentation: open `values.yaml` and fill in the block.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_file_can_be_filled_in_place() {
    let chart = chart();
    let empty = file("values.yaml");
    let filled = empty.replace("  #  ", "    ");
    assert_ne!(filled, empty);
    let rendered = chart.with(&filled);
    assert!(rendered.objects.contains_key("declaration.yaml"));
    // And `image-swap check --values values.yaml` reads the same file.
    let declaration = Declaration::read(DeclarationSource::Values, &filled, 0).unwrap();
    assert_eq!(declaration.registry.as_ref().unwrap().domain, "harbor.example.org");
    assert!(declaration.serving().is_ok());
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn existing_secret_keeps_passwords_out_of_values() {
    let chart = chart();
    let rendered = chart.with("existingSecret: my-registry");
    assert!(!has_secrets(&rendered));
    let controller = deployment(&rendered, "controller");
    assert_eq!(argument(controller, "chart-secret"), Some("my-registry"));
    assert!(
        chart.notes(&["existingSecret: my-registry"]).contains("my-registry in somewhere declares")
    );
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn further_keys_of_palette_are_accepted() {
    let chart = chart();
    let palette = "\
global: {imagePullSecret: {dockerConfigJson: abc}}
mongo: {replicas: 3}
grpc: {external: false}
ingress: {enabled: true}
ui-system: {enabled: true}
reachSystem: {enabled: false}
config:
  installationMode: airgap
  env: {rootDomain: palette.example.com}
  imagePullSecret: {create: false, dockerConfigJson: ''}
";
    let rendered = chart.named("image-swap", &[PAGE, palette]);
    assert_eq!(rendered.objects, chart.with(PAGE).objects);
    let notes = chart.notes(&[PAGE, palette]);
    assert!(notes.contains("config.imagePullSecret is ignored"), "{notes}");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn notes_list_unknown_registry_keys() {
    let chart = chart();
    let misspelt = "config: {ociImageRegistry: {userName: robot}}";
    let notes = chart.notes(&[PAGE, misspelt]);
    assert!(notes.contains("WARNING: userName is not a key of ociImageRegistry"), "{notes}");
    assert!(!notes.contains("robot"), "{notes}");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn notes_warn_of_untrusting_nodes_and_audit() {
    let chart = chart();
    let warns = |values: &str, text: &str| chart.notes(&[PAGE, values]).contains(text);
    assert!(warns("", "Agents in image-swap-agent configure the nodes"));
    assert!(warns("agent: {enabled: false}", "Nodes are not configured"));
    let trust = "and must trust the registry";
    let declared = "config: {ociImageRegistry: {insecureSkipVerify: true}}";
    assert!(!warns(declared, trust), "agents configure the nodes");
    let warns = |values: &str, text: &str| {
        chart.notes(&[PAGE, "agent: {enabled: false}", values]).contains(text)
    };
    assert!(!warns("", trust));
    assert!(warns(declared, trust));
    let pem = "config: {ociImageRegistry: {caCert: '-----BEGIN CERTIFICATE-----'}}";
    assert!(warns(pem, trust));
    assert!(!warns("", "policy is audit"));
    assert!(warns("policy: audit", "policy is audit: no pod is changed"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_reach_the_controller() {
    let chart = chart();
    let rendered = chart.with("");
    let controller = deployment(&rendered, "controller");
    assert_eq!(arguments(controller)[0], "controller");
    for (name, value) in [
        ("namespace", "somewhere"),
        ("name", "image-swap"),
        ("service", "image-swap-admission"),
        ("service-port", "443"),
        ("policy", "fail"),
        ("timeout-seconds", "5"),
        ("exclude-label", "k8s.twr.io/imageswap"),
        ("pull-secrets", "true"),
        ("agent-namespace", "image-swap-agent"),
        ("trial-namespace", "image-swap-trial"),
        ("agent-fallback", "upstream"),
        ("agent-credentials", "true"),
        ("registry-check-interval", "5m"),
        ("adopt-after", "10m"),
        ("admin-listen", "0.0.0.0:8080"),
        ("log-format", "json"),
    ] {
        assert_eq!(argument(controller, name), Some(value), "--{name}");
    }
    assert_eq!(argument(controller, "trial-image"), None);
    let namespaces = argument(controller, "system-namespaces").unwrap();
    for known in ["kube-system", "calico-system", "kube-flannel", "longhorn-system", "rook-ceph"] {
        assert!(namespaces.split(',').any(|namespace| namespace == known), "{known}");
    }
    let switches = |rendered| -> Vec<String> {
        let arguments = arguments(deployment(rendered, "controller"));
        let switch = |argument: &&str| !argument.contains('=') && argument.starts_with("--");
        arguments.into_iter().filter(switch).map(str::to_owned).collect()
    };
    assert!(switches(&rendered).is_empty());
    assert_eq!(switches(&chart.with(EVERYTHING)), ["--opt-in", "--startup-taint", "--adopt", "--coexist"]);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_reach_the_webhook() {
    let chart = chart();
    let rendered = chart.with("");
    let admission = deployment(&rendered, "admission");
    assert_eq!(arguments(admission)[..2], ["webhook", "--in-cluster"]);
    for (name, value) in [
        ("namespace", "somewhere"),
        ("name", "image-swap"),
        ("listen", "0.0.0.0:10250"),
        ("admin-listen", "0.0.0.0:8080"),
        ("mode", "enforce"),
        ("disable-label", "k8s.twr.io/imageswap"),
    ] {
        assert_eq!(argument(admission, name), Some(value), "--{name}");
    }
    assert_eq!(argument(admission, "tls-secret"), None);
    for (policy, mode) in [("fail", "enforce"), ("ignore", "enforce"), ("audit", "audit")] {
        let rendered = chart.with(&format!("policy: {policy}"));
        assert_eq!(argument(deployment(&rendered, "admission"), "mode"), Some(mode));
        assert_eq!(argument(deployment(&rendered, "controller"), "policy"), Some(policy));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn certificate_from_elsewhere_reaches_both() {
    let chart = chart();
    let rendered = chart.with("tls: {existingSecret: serving}");
    let given = |component, name| argument(deployment(&rendered, component), name);
    assert_eq!(given("admission", "tls-secret"), Some("serving"));
    assert_eq!(given("controller", "tls-existing-secret"), Some("serving"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn with_ipv6_alone_everything_listens_there() {
    let chart = chart();
    let rendered = chart.with("listenAddress: '[::]'");
    let given = |component, name| argument(deployment(&rendered, component), name);
    assert_eq!(given("admission", "listen"), Some("[::]:10250"));
    assert_eq!(given("admission", "admin-listen"), Some("[::]:8080"));
    assert_eq!(given("controller", "admin-listen"), Some("[::]:8080"));
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn exemptions_reach_the_replicas() {
    let chart = chart();
    let argument = |values: &str, name: &str| {
        let rendered = chart.with(values);
        argument(deployment(&rendered, "admission"), name).map(str::to_owned)
    };
    for name in ["default-exemptions", "exempt-owners", "exempt-labels", "exempt-images"] {
        for values in ["", "exemptions: null", "exemptions: {owners: null}"] {
            assert_eq!(argument(values, name), None, "{values}");
        }
    }
    let values = "exemptions: {defaults: false, owners: [A.b.c, D.e], labels: [a, b/c=d], \
                  images: ['p=r.example:5000/a:1']}";
    for (name, expected) in [
        ("default-exemptions", "false"),
        ("exempt-owners", "A.b.c,D.e"),
        ("exempt-labels", "a,b/c=d"),
        ("exempt-images", "p=r.example:5000/a:1"),
    ] {
        assert_eq!(argument(values, name).as_deref(), Some(expected));
    }
    for values in ["owners: [Cluster]", "labels: ['a b']", "images: ['a,b']", "unknown: []"] {
        chart.refuses(&format!("exemptions: {{{values}}}"));
    }
}
