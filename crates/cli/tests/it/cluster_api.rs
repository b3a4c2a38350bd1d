//! `image-swap render kubeadm-patch` and `cluster-class-patch`.

use std::{fs, path::Path, process::Command};

use image_swap_testbed::Parts;
use image_swap_text::yaml::{NodeId, Tree};

use crate::run::{example, image_swap, image_swap_with};

/// Objects with and without lists, of all kinds of the component.
const OBJECTS: &str = include_str!("cases/cluster_api.yaml");
const COMMAND: &str = "sh /etc/image-swap/bootstrap.sh || true";
const RULES: &str = "quay.io::harbor.example.org/airgap-images/quay.io";
const KINDS: [&str; 7] = [
    "KubeadmControlPlane",
    "KubeadmConfigTemplate",
    "KubeadmConfig",
    "RKE2ControlPlane",
    "RKE2ConfigTemplate",
    "KThreesControlPlane",
    "KThreesConfigTemplate",
];

/// Returns the output of `render` with these arguments.
fn rendered(args: &[&str]) -> String {
    let ran = image_swap(&[&["render"], args].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

#[test]
fn entries_are_the_script_and_its_command() {
    let secret = example("registry-secret.yaml");
    let script = rendered(&["bootstrap", "-f", &secret]);
    let entries = rendered(&["kubeadm-patch", "-f", &secret, "--output", "entries"]);
    let tree = Tree::parse(&entries).unwrap();
    let file = tree.items(tree.get(tree.documents[0], "files").unwrap())[0];
    let content = tree.get(file, "content").and_then(|id| tree.scalar(id));
    assert_eq!(content, Some(&*script));
    assert!(entries.contains("# spec.kubeadmConfigSpec of KubeadmControlPlane\n"), "{entries}");
    assert!(entries.ends_with(&format!("preKubeadmCommands:\n  - \"{COMMAND}\"\n")), "{entries}");
}

// guarantee: 6b
#[test]
fn credentials_are_printed_only_on_request() {
    let secret = fs::read_to_string(example("registry-secret.yaml")).unwrap();
    let secret = secret
        .replace("USERNAME: \"\"", "USERNAME: robot")
        .replace("PASSWORD: \"\"", "PASSWORD: hunter2");
    for command in ["kubeadm-patch", "cluster-class-patch"] {
        let args = ["render", command, "-f", "-"];
        let ran = image_swap_with(&args, &secret);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(!ran.stdout.contains("Authorization"), "{}", ran.stdout);
        assert!(ran.stderr.contains("--show-credentials"), "{}", ran.stderr);
        let ran = image_swap_with(&[&args[..], &["--show-credentials"]].concat(), &secret);
        assert!(ran.stdout.contains("Basic cm9ib3Q6aHVudGVyMg=="), "{}", ran.stdout);
    }
}

#[test]
fn unusable_flags_are_refused() {
    for (args, expected) in [
        (&["kubeadm-patch", "--kind", "Machine"][..], "KubeadmConfigTemplate"),
        (&["kubeadm-patch", "--kind", "RKE2ControlPlane", "--restart-command", "a"], "kubeadm"),
        (&["cluster-class-patch", "--machine-pools", "a*b"], "begin or end"),
        (
            &["cluster-class-patch", "--no-control-plane", "--no-machine-deployments"],
            "--machine-pools",
        ),
    ] {
        let ran = image_swap(&[&["render"], args, &["--mirrors", RULES]].concat());
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let never = ["kubeadm-patch", "--kind", "KThreesControlPlane", "--fallback", "never"];
    let ran = image_swap(&[&["render"], &never[..], &["--mirrors", RULES]].concat());
    assert_eq!((ran.code, &*ran.stdout), (1, ""), "{}", ran.stderr);
}

/// Returns the objects that `kubectl kustomize` prints for [`OBJECTS`] with `components`.
fn built(kubectl: &Path, components: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| fs::write(directory.path().join(path), text).unwrap();
    write("objects.yaml", OBJECTS);
    let mut kustomization = "resources: [objects.yaml]\ncomponents:\n".to_owned();
    for (number, component) in components.iter().enumerate() {
        fs::create_dir(directory.path().join(number.to_string())).unwrap();
        write(&format!("{number}/kustomization.yaml"), component);
        kustomization.extend(["  - \"", &number.to_string(), "\"\n"]);
    }
    write("kustomization.yaml", &kustomization);
    let mut command = Command::new("timeout");
    command.arg("60").arg(kubectl).arg("kustomize").arg(directory.path());
    let ran = command.env("HOME", directory.path()).env_remove("KUBECONFIG").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Returns the node at `path`, keys with dots between them, of the object of `kind` called `name`.
fn at(tree: &Tree<'_>, kind: &str, name: &str, path: &str) -> Option<NodeId> {
    let text = |id: NodeId, key| tree.get(id, key).and_then(|it| tree.scalar(it));
    let object = tree.documents.iter().copied().find(|id| {
        let meta = tree.get(*id, "metadata").unwrap();
        text(*id, "kind") == Some(kind) && text(meta, "name") == Some(name)
    });
    path.split('.').try_fold(object.unwrap(), |node, key| tree.get(node, key))
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn kustomize_adds_entries_to_lists_that_exist_or_not() {
    let parts = Parts::present().unwrap();
    let kinds = KINDS.iter().flat_map(|kind| ["--kind", kind]);
    let args: Vec<&str> = ["kubeadm-patch", "--mirrors", RULES].into_iter().chain(kinds).collect();
    let class = rendered(&["cluster-class-patch", "--mirrors", RULES]);
    let text = built(&parts.servers().unwrap().kubectl, &[&rendered(&args), &class]);
    let tree = Tree::parse(&text).unwrap();
    // Every object that is printed is one of the user's.
    assert_eq!(tree.documents.len(), Tree::parse(OBJECTS).unwrap().documents.len(), "{text}");
    let strings = |kind: &str, name: &str, path: &str, key: &str| -> Vec<String> {
        let list = at(&tree, kind, name, path).unwrap_or_else(|| panic!("{kind} {name}: {text}"));
        let string = |id: &NodeId| {
            let id = if key.is_empty() { *id } else { tree.get(*id, key).unwrap() };
            tree.scalar(id).unwrap().to_owned()
        };
        tree.items(list).iter().map(string).collect()
    };
    let script = "/etc/image-swap/bootstrap.sh";
    for (kind, fields, path) in [
        (KINDS[0], "spec.kubeadmConfigSpec", script),
        (KINDS[1], "spec.template.spec", script),
        (KINDS[2], "spec", script),
        (KINDS[3], "spec", "/etc/rancher/rke2/registries.yaml"),
        (KINDS[4], "spec.template.spec", "/etc/rancher/rke2/registries.yaml"),
        (KINDS[5], "spec.kthreesConfigSpec", "/etc/rancher/k3s/registries.yaml"),
        (KINDS[6], "spec.template.spec", "/etc/rancher/k3s/registries.yaml"),
    ] {
        let files = [fields, ".files"].concat();
        assert_eq!(strings(kind, "empty", &files, "path"), [path]);
        assert_eq!(strings(kind, "empty", &files, "permissions"), ["0600"]);
        assert_eq!(strings(kind, "full", &files, "path"), ["/etc/own", path]);
        if path == script {
            let commands = [fields, ".preKubeadmCommands"].concat();
            assert_eq!(strings(kind, "empty", &commands, ""), [COMMAND]);
            assert_eq!(strings(kind, "full", &commands, ""), [COMMAND, "one", "two"]);
        }
    }
    assert_eq!(strings("ClusterClass", "empty", "spec.patches", "name"), ["image-swap"]);
    assert_eq!(strings("ClusterClass", "full", "spec.patches", "name"), ["own", "image-swap"]);
}

#[test]
fn large_script_has_a_note() {
    let rule = |it| format!("r{it}.example.org::harbor.example.org/r{it}");
    let large = (0..100).map(rule).collect::<Vec<String>>().join(",");
    for (rules, is_noted) in [(RULES, false), (&*large, true)] {
        for command in ["bootstrap", "kubeadm-patch"] {
            let ran = image_swap(&["render", command, "--mirrors", rules]);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            let note = ran.stderr.contains("clouds limit user data");
            assert_eq!(note, is_noted, "{command}: {}", ran.stderr);
        }
    }
}
