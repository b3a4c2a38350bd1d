//! The guides for registries show the images and URLs of their declarations.

use std::{collections::BTreeSet, fs};

use crate::run::{image_swap, root};

/// The guides of docs/guides that have a declaration, docs/guides/examples/NAME.yaml.
const GUIDES: [&str; 6] =
    ["artifactory", "ecr", "google-artifact-registry", "harbor", "quay", "zot"];

/// The images that each guide explains.
const IMAGES: [&str; 3] =
    ["nginx:1.25", "registry.k8s.io/pause:3.10", "quay.io/prometheus/node-exporter:v1.8.2"];

fn declaration(guide: &str) -> String {
    format!("docs/guides/examples/{guide}.yaml")
}

fn text(guide: &str) -> String {
    fs::read_to_string(root().join(format!("docs/guides/{guide}.md"))).unwrap()
}

/// Returns the words of `text` that are URLs of manifests.
fn manifests(text: &str) -> BTreeSet<&str> {
    let is_manifest = |word: &&str| word.starts_with("https://") && word.contains("/manifests/");
    text.split_whitespace().filter(is_manifest).collect()
}

#[test]
fn each_declaration_has_a_guide() {
    let found: BTreeSet<String> = fs::read_dir(root().join("docs/guides/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = GUIDES.map(|guide| format!("{guide}.yaml"));
    assert_eq!(found, BTreeSet::from(expected));
}

#[test]
fn guides_print_images_and_urls_of_explain() {
    for guide in GUIDES {
        let file = root().join(declaration(guide));
        let file = file.to_str().unwrap();
        let mut args = vec!["explain", "--output", "json", "--registry-info", file];
        args.extend(IMAGES);
        let ran = image_swap(&args);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{guide}");
        let rows = ran.json();
        let text = text(guide);
        let mut urls = BTreeSet::new();
        for row in &rows {
            let image = row["swapped"].as_str().unwrap();
            assert!(text.split_whitespace().any(|word| word == image), "{guide}: {image}");
            assert_eq!(row["nodes_agree"], true, "{guide}: {image}");
            urls.extend(row["pulls"].as_array().unwrap().iter().map(|url| url.as_str().unwrap()));
        }
        assert_eq!(manifests(&text), urls, "{guide}");
    }
}
