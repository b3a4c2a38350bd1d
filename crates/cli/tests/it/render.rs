use std::{fs, os::unix::fs::PermissionsExt};

use crate::run::{example, image_swap, image_swap_with};

const FORMATS: [&str; 8] = [
    "containerd",
    "containerd-mirrors",
    "registries-conf",
    "k3s",
    "docker",
    "buildkit",
    "talos",
    "openshift",
];

fn secret_with_credentials() -> String {
    let secret = fs::read_to_string(example("registry-secret.yaml")).unwrap();
    secret
        .replace("USERNAME: \"\"", "USERNAME: robot")
        .replace("PASSWORD: \"\"", "PASSWORD: hunter2")
}

#[test]
fn every_format_is_printed_from_a_secret() {
    let secret = example("registry-secret.yaml");
    for format in FORMATS {
        let ran = image_swap(&["render", format, "--registry-info", &secret]);
        // dockerd has neither other registries nor paths.
        assert_eq!(ran.code, i32::from(format == "docker"), "{format}: {}", ran.stderr);
        assert!(!ran.stdout.is_empty(), "{format}");
    }
    let ran = image_swap(&["render", "containerd", "--mirrors", "docker.io::h.io/d"]);
    insta::assert_snapshot!(ran.whole());
}

#[test]
fn form_of_palette_has_note_and_former_name() {
    let secret = example("registry-secret.yaml");
    for name in ["palette", "page"] {
        let args = ["render", "containerd-mirrors", "--endpoint", name, "--filename", &secret];
        let ran = image_swap(&args);
        assert_eq!(ran.code, 0);
        assert!(ran.stdout.contains("endpoint = [\"harbor.example.org/airgap-images/docker.io\"]"));
        assert!(ran.stderr.contains("note: "), "{}", ran.stderr);
    }
}

#[test]
fn files_and_their_folders_are_created_and_listed() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("new/certs.d");
    let out = out.to_str().unwrap();
    let args = ["render", "containerd", "--mirrors", "docker.io::h.io/d", "--out", out];
    let ran = image_swap(&args);
    let expected = format!("wrote {out}/docker.io/hosts.toml\nwrote {out}/h.io/hosts.toml\n");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr), (0, "", expected));
    assert!(fs::exists(directory.path().join("new/certs.d/h.io/hosts.toml")).unwrap());
}

// guarantee: 6b, 6c
#[test]
fn files_with_credentials_are_private() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().to_str().unwrap();
    let secret = secret_with_credentials();
    let args = ["render", "containerd", "--registry-info", "-"];
    let printed = image_swap_with(&args, &secret);
    assert!(printed.stdout.contains("Authorization = \"<redacted>\""), "{}", printed.stdout);
    let ran = image_swap_with(&[&args[..], &["--out", out]].concat(), &secret);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let mode = |path: &str| {
        fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("docker.io/hosts.toml"), 0o600);
    assert_eq!(mode("harbor.example.org/hosts.toml"), 0o644);
    let text = fs::read_to_string(directory.path().join("docker.io/hosts.toml")).unwrap();
    assert!(text.contains("Basic cm9ib3Q6aHVudGVyMg=="), "{text}");
    let shown = image_swap_with(&[&args[..], &["--show-credentials"]].concat(), &secret);
    assert!(shown.stdout.contains("Basic cm9ib3Q6aHVudGVyMg=="));
}

// guarantee: 1b
#[test]
fn rules_that_a_format_cannot_express_fail() {
    let ran = image_swap(&[
        "render",
        "k3s",
        "--fallback",
        "never",
        "--mirrors",
        "docker.io::h.io/d,gcr.io::h.io/g",
    ]);
    insta::assert_snapshot!(ran.whole());
    let ran = image_swap(&["render", "unknown", "--mirrors", "docker.io::h.io/d"]);
    assert_eq!(ran.code, 2);
}

#[test]
fn manifest_that_restores_nodes_is_printed() {
    let image = "h.io/image-swap:0.1.0";
    let ran = image_swap(&["render", "node-restore", "--image", image]);
    insta::assert_snapshot!("node_restore", ran.whole());
    let of = |runtimes: &[&str]| {
        let mut args = vec!["render", "node-restore", "--image", image, "-n", "own"];
        args.extend(runtimes.iter().flat_map(|runtime| ["--runtime", runtime]));
        image_swap(&args)
    };
    let ran = of(&["crio", "containerd"]);
    let mounts = ran.stdout.find("          volumeMounts:").map(|at| &ran.stdout[at..]);
    insta::assert_snapshot!("node_restore_mounts", mounts.unwrap());
    assert!(ran.stdout.contains("  namespace: \"own\"\n"), "{}", ran.stdout);
    let k3s = of(&["k3s"]).stdout;
    assert!(k3s.contains("/host/etc/rancher\n") && !k3s.contains("certs.d"), "{k3s}");
}

#[test]
fn manifest_needs_an_image_and_valid_names() {
    for (args, expected) in [
        (&[][..], "--image"),
        (&["--image", "H.io/A"], "lowercase"),
        (&["--image", "a", "--namespace", "a\"b"], "lowercase letters, digits and '-'"),
        (&["--image", "a", "--runtime", "docker"], "possible values"),
    ] {
        let ran = image_swap(&[&["render", "node-restore"], args].concat());
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{args:?}");
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let ran = image_swap(&["render"]);
    assert!(ran.code == 2 && ran.stderr.contains("<FORMAT>"), "{}", ran.stderr);
}
