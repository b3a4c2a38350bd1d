//! `image-swap render bundle`.

use std::{collections::BTreeSet, fmt::Write as _, fs, os::unix::fs::symlink, path::Path};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    fleet::bundle::{Bundle, BundleObject, BundleSlots},
};
use image_swap_text::yaml::{self, Tree};

use crate::{
    credentials::{PASSWORD, USER, no_credential},
    run::{Ran, image_swap, image_swap_in, image_swap_with, root},
};

const BUNDLE: &str = include_str!("cases/bundle.yaml");
const REDACTED: &str = "<redacted>";
const KEYS: [(&str, &str); 6] = [
    ("DOMAIN", "harbor.example.org"),
    ("BASE_PATH", "airgap"),
    ("USERNAME", USER),
    ("PASSWORD", PASSWORD),
    ("INSECURE", "false"),
    ("MIRROR_REGISTRIES", "docker.io::harbor.example.org/airgap/docker.io"),
];

/// Returns the path of a small bundle.
pub(crate) fn file() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/bundle.yaml");
    path.to_str().unwrap().to_owned()
}

/// Returns the Secret `registry-info` with [`KEYS`].
fn declaration() -> String {
    let mut text = "apiVersion: v1\nkind: Secret\nmetadata: {name: registry-info, namespace: \
                    jet-system}\ntype: Opaque\nstringData:\n"
        .to_owned();
    for (key, value) in KEYS {
        writeln!(text, "  {key}: \"{value}\"").unwrap();
    }
    text
}

/// Runs `render bundle` with the small bundle.
fn render(flags: &[&str]) -> Ran {
    let bundle = file();
    let args = ["render", "bundle", "--bundle", &bundle, "-f", "-"];
    image_swap_with(&[&args[..], flags].concat(), &declaration())
}

/// Returns the objects that the fleet controller writes.
fn filled(slots: &BundleSlots<'_>) -> Vec<BundleObject> {
    Bundle::parse(BUNDLE).unwrap().fill(slots).unwrap()
}

fn effective() -> Effective {
    let data = KEYS.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
    let secret = SecretData { kind: "Opaque".to_owned(), data: data.into() };
    Effective { origin: Origin::RegistryInfo, secret }
}

fn printed(objects: &[BundleObject]) -> String {
    objects.iter().map(|object| format!("---\n{}", yaml::print(&object.value))).collect()
}

#[test]
fn printed_objects_are_those_of_the_fleet_controller() {
    let (declaration, served) = (effective(), BTreeSet::new());
    let least = BundleSlots::new("image-swap", (1, &declaration), &served);
    let ran = render(&["--show-credentials"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, printed(&filled(&least)));
    assert!(ran.stdout.contains("harbor.example.org/airgap/docker.io/acme/image-swap:1"));

    let served = BTreeSet::from(["monitoring.coreos.com/v1".to_owned()]);
    let most = BundleSlots {
        namespace: "mirrors",
        revision: 7,
        api_server: Some("10.0.0.1:6443"),
        policy: Some("audit"),
        served: &served,
        ..least
    };
    let flags = ["--api-server=10.0.0.1:6443", "--policy=audit", "--revision=7", "-n=mirrors"];
    let more = ["--served=monitoring.coreos.com/v1", "--show-credentials"];
    let ran = render(&[&flags[..], &more].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, printed(&filled(&most)));
    for text in ["10.0.0.1", "--policy=audit", "PrometheusRule", "name: mirrors"] {
        assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
}

// guarantee: 6b
#[test]
fn credentials_of_a_bundle_are_printed_only_on_request() {
    let shown = render(&["--show-credentials"]).stdout;
    let ran = render(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    no_credential(&ran.stdout);
    let [found, expected] = [&ran.stdout, &shown].map(|it| it.split("---\n").collect::<Vec<_>>());
    assert_eq!(found.len(), expected.len());
    let mut secrets = 0;
    for (document, other) in found.into_iter().zip(expected) {
        if !document.contains("kind: Secret\n") {
            assert_eq!(document, other);
            continue;
        }
        secrets += 1;
        let tree = Tree::parse(document).unwrap();
        let root = tree.documents[0];
        let fields = ["data", "stringData"].into_iter().filter_map(|key| tree.get(root, key));
        let values: Vec<_> = fields.flat_map(|it| tree.entries(it)).collect();
        assert!(!values.is_empty(), "{document}");
        for (_, value) in values {
            assert_eq!(tree.scalar(*value), Some(REDACTED), "{document}");
        }
    }
    assert_eq!(secrets, 3);
}

#[test]
fn unusable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let invalid = write("invalid.yaml", "kind: [");
    let image = write("image.yaml", &BUNDLE.replace("acme/image-swap:1", "ACME/image-swap"));
    let slot = write("slot.yaml", &BUNDLE.replace("name: image-swap}", "name: \"@hub-secret@\"}"));
    let secret = write("secret.yaml", &declaration());
    let empty = write("empty.yaml", "");
    let absent = directory.path().join("absent.yaml");
    let absent = absent.to_str().unwrap();
    let bundle = file();
    for (bundle, declaration, named) in [
        (absent, &*secret, "absent.yaml"),
        (&invalid, &secret, "invalid.yaml: line"),
        (&image, &secret, "image.yaml: line 6"),
        (&slot, &secret, "slot.yaml: line 2"),
        (&bundle, absent, "absent.yaml"),
        (&bundle, &invalid, "invalid.yaml"),
        (&bundle, &empty, "empty.yaml"),
        (&bundle, &bundle, "bundle.yaml"),
    ] {
        let ran = image_swap(&["render", "bundle", "--bundle", bundle, "-f", declaration]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{named}: {}", ran.stderr);
        assert!(ran.stderr.contains(named), "{named}: {}", ran.stderr);
        no_credential(&ran.stderr);
    }
}

#[test]
fn unusable_slots_name_their_flag() {
    let bundle = file();
    let render = ["render", "bundle", "--bundle", &bundle, "-f", "-"];
    let enroll = ["fleet", "enroll", "edge", "--namespace", "clusters"];
    for verb in [&render[..], &enroll] {
        for (flag, value, expected) in [
            ("--api-server", "10.0.0.1:x", "expected HOST or HOST:PORT"),
            ("--policy", "Fail", "expected fail, ignore or audit"),
            ("--served", "v1", "expected GROUP/VERSION"),
            ("--served", "a/b/c", "expected GROUP/VERSION"),
        ] {
            let ran = image_swap_with(&[verb, &[flag, value]].concat(), &declaration());
            assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{flag}: {}", ran.stderr);
            assert!(ran.stderr.contains(flag) && ran.stderr.contains(expected), "{}", ran.stderr);
            assert!(!ran.stderr.contains("line 1"), "{}", ran.stderr);
        }
    }
}

#[test]
fn examples_about_a_bundle_run() {
    let folder = tempfile::tempdir().unwrap();
    symlink(root().join("examples"), folder.path().join("examples")).unwrap();
    fs::write(folder.path().join("bundle.yaml"), BUNDLE).unwrap();
    let help = image_swap(&["render", "bundle", "--help"]).stdout.replace("\\\n", " ");
    let is_example = |line: &&str| line.trim().starts_with("image-swap render bundle --bundle");
    let examples: Vec<&str> = help.lines().filter(is_example).collect();
    assert_eq!(examples.len(), 2, "{help}");
    for example in examples {
        let words: Vec<&str> = example.split_whitespace().skip(1).collect();
        let ran = image_swap_in(folder.path(), &words, "");
        assert_eq!(ran.code, 0, "{example}: {}", ran.stderr);
        assert!(ran.stdout.contains("name: image-swap-controller"), "{example}");
    }
}
