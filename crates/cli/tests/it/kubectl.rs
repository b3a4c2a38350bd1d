//! Texts that `kubectl` reads, and the parser's specification does not allow.

use std::{path::Path, process::Command};

use image_swap_testbed::Parts;

use crate::run::{image_swap_in, root};

/// Pods in texts as people and programs write them.
const TEXTS: [&str; 16] = [
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    note: 'first\n  second'\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    note: \"first\n\n\tsecond \\\n  third\"\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    one: 'a\nb'\n    two: \"c\nd\"\nspec:\n  containers:\n  - name: a\n    args:\n    - 'e\nf'\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels: {\n\tapp: b,\n\t\ttier: c }\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers: [\n\t{ name: a,\n\t  image: nginx }\n\t]\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}# comment\nspec:\n  containers:\n  - name: 'a'# comment\n    image: \"nginx\"# comment\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: a, args: [-f, -], image: nginx}]\n",
    "\u{feff}apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: nginx}]}\n---\n\u{feff}apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: {containers: [{name: b, image: nginx}]}\n",
    "apiVersion: v1\r\nkind: Pod\r\nmetadata:\r\n  name: a\r\n  annotations:\r\n    note: 'first\r\n  second'\r\nspec:\r\n  containers:\r\n  - name: a\r\n    image: nginx\r\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    one: it's\n    two: 'a\nb'\n    three: >-\n      it's 'x\n    four: |\n      \"y\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    one: plain\n      'tis\n    two: 'a\nb'\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {note: \"it\\'s\"}}\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    note: &n 'a\nb'\n    same: *n\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    note: |2\n        'x\n      y\n    other: 'a\nb'\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations: {\"one\": \"a\n\tb\", two: 'c\n\td'}\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
    "apiVersion: v1\nkind: Pod\nmetadata: {\n\t# comment\n\tname: a,# comment\n\tlabels: {}\n\t}\nspec:\n  containers:\n  - name: a\n    image: nginx\n",
];

/// Returns the objects that `kubectl` reads in `text`.
fn read(kubectl: &Path, text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("manifest.yaml");
    std::fs::write(&file, text).unwrap();
    let ran = Command::new(kubectl)
        .args(["annotate", "--local", "--output", "json", "read=yes", "--filename"])
        .arg(&file)
        .env("HOME", directory.path())
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{text}\n{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
#[ignore = "needs the API server: cargo xtask test"]
fn texts_that_kubectl_reads_keep_their_meaning() {
    let parts = Parts::present().unwrap();
    let kubectl = &parts.servers().unwrap().kubectl;
    for text in TEXTS {
        let ran = image_swap_in(&root(), &["rewrite", "--mirrors", "docker.io::h.example/d"], text);
        assert_eq!(ran.code, 0, "{text}\n{}", ran.stderr);
        let mirrored = |text: &str, image: &str| text.replace(image, "h.example/d/library/nginx");
        assert_eq!(ran.stdout, mirrored(text, "nginx"));
        let expected = mirrored(&read(kubectl, text), "nginx");
        assert_eq!(read(kubectl, &ran.stdout), expected, "{text}");
    }
}
