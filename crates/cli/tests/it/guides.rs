//! The guides for registries print what `image-swap` prints for their declarations.

use std::{collections::BTreeSet, fs};

use crate::run::{image_swap, image_swap_in, root};

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

/// Returns true if `shown` is `whole` with lines left out, each gap marked by `…`.
fn is_shortened(shown: &str, whole: &str) -> bool {
    let mut rest = whole.lines();
    let mut gap = false;
    for line in shown.lines() {
        if line == "…" {
            gap = true;
            continue;
        }
        let found = if gap { rest.any(|it| it == line) } else { rest.next() == Some(line) };
        if !found {
            return false;
        }
        gap = false;
    }
    gap || rest.all(str::is_empty)
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
fn guides_print_the_images_and_the_urls_of_explain() {
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

#[test]
fn guides_print_what_their_commands_print() {
    for guide in GUIDES {
        // As one would paste it, without the continuation of a line.
        let text = text(guide).replace(" \\\n   ", "");
        let blocks = text.split("```console\n").skip(1).map(|it| it.split("```").next().unwrap());
        let mut commands = 0;
        for (command, shown) in blocks
            .flat_map(|block| block.split("$ ").filter(|it| !it.is_empty()))
            .map(|it| it.split_once('\n').unwrap())
        {
            let words: Vec<&str> = command.split_whitespace().collect();
            assert_eq!(words[0], "image-swap", "{guide}: {command}");
            let ran = image_swap_in(&root(), &words[1..], "");
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{guide}: {command}");
            let expected = &ran.stdout;
            assert!(is_shortened(shown, expected), "{guide}: {command}\n{shown}\n{expected}");
            commands += 1;
        }
        // check, explain, render.
        assert_eq!(commands, 3, "{guide}");
    }
}
