//! Conversion of imageswap maps to canonical ones.

use super::rules;
use crate::rule::{ImageSwap, MapForm};

fn convert(map: &str) -> String {
    ImageSwap::new(map, MapForm::Lines).to_canonical().text
}

/// Asserts that the converted map has the same effect on each of `images`.
#[track_caller]
fn same_effect(map: &str, images: &[&str]) {
    let imageswap = ImageSwap::new(map, MapForm::Lines);
    let converted = imageswap.to_canonical();
    assert_eq!(converted.differences, [] as [String; 0], "{map}");
    let canonical = rules(&converted.text);
    for image in images {
        let expected = imageswap.swap(image).unwrap().image;
        let found = canonical.swap(image).unwrap().image;
        assert_eq!(found, expected, "{image}\n{map}\nbecame\n{}", converted.text);
    }
}

const IMAGES: [&str; 13] = [
    "nginx",
    "nginx:1.25",
    "docker.io/nginx",
    "bitnami/redis:7",
    "docker.io/bitnami/redis:7",
    "gcr.io/a/b:1",
    "k8s.gcr.io/pause:3.9",
    "quay.io/team/app@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "quay.io/prometheus/node:1",
    "localhost/x",
    "m.io:8443/x",
    "h.io/d/x",
    "mcr.microsoft.com/a/b",
];

#[test]
fn library_images_keep_upstreams_path() {
    assert_eq!(
        convert("docker.io::h.io/d\ndefault::\n"),
        "docker.io::h.io/d\nlocalhost::h.io/d/localhost\ndocker.io/library::h.io/d\n"
    );
}

#[test]
fn converted_map_has_the_same_effect() {
    for map in [
        "docker.io::h.io/d\ngcr.io::h.io/g\ndefault::\n",
        "docker.io::h.io/d\ndocker.io/library::h.io/l\ndefault::\n",
        "docker.io/library::h.io/l\ndefault::\n",
        "docker.io::\ndocker.io/library::h.io/l\ndefault::\n",
        "default::h.io/d\nh.io::\n",
        "default::h.io/d\n",
        "default::h.io/d\nh.io::\nnoswap_wildcards::prometheus,1.25,nothing*[x]?\n",
        "docker.io::h.io/d\ngcr.io::h.io/g\ndefault::\nnoswap_wildcards::nginx,a\n",
        "docker.io::h.io/x-\ngcr.io::h.io/x-\ndefault::\n",
        "docker.io::h.io/x-\ndocker.io/library::h.io/l-\ndefault::\n",
        "m.io:8443::h.io/m\nquay.io/team::h.io/dead\n*::h.io/dead\ndefault::\n",
        "[EXACT]nginx::h.io/e/nginx\n[REPLACE]quay.io/*::h.io/q\ngcr.io::h.io/g\n",
        "[EXACT]nginx::bitnami/nginx\ndocker.io::h.io/d\ndefault::\n",
        "",
    ] {
        let images: Vec<&str> = IMAGES
            .into_iter()
            // A target without a registry gets Docker Hub's in the canonical map.
            .filter(|image| !(map.contains("bitnami") && image.ends_with("nginx")))
            // Upstream's library and EXACT rules do not match `docker.io/nginx` as `nginx`.
            .filter(|image| !(map.contains("/library") && *image == "docker.io/nginx"))
            .filter(|image| !(map.contains("]nginx") && *image == "docker.io/nginx"))
            .collect();
        same_effect(map, &images);
    }
}

#[test]
fn names_without_registry_get_docker_hub() {
    assert_eq!(
        convert("[EXACT]nginx:1::bitnami/nginx:1\n[REPLACE]*::mirror\n"),
        "[EXACT]nginx:1::docker.io/bitnami/nginx:1\n[REPLACE]*::docker.io/mirror\n"
    );
}

#[test]
fn exact_target_with_registry_is_kept() {
    assert_eq!(convert("[EXACT]a::docker.io/nginx\n"), "[EXACT]a::docker.io/nginx\n");
}

#[test]
fn default_comes_last() {
    let text = convert("default::h.io/d\nh.io::\ngcr.io::h.io/g\n");
    assert_eq!(text.lines().last(), Some("default::h.io/d"), "{text}");
    assert_eq!(text.matches("default").count(), 1, "{text}");
}

#[test]
fn rules_without_effect_get_a_comment() {
    let text = convert("*::h.io/x\nquay.io::h.io/q\nquay.io/team::h.io/t\ndefault::\n");
    assert_eq!(
        text,
        "# *:: has no effect in imageswap\n# quay.io/team:: has no effect in imageswap\nquay.io::h.io/q\n"
    );
    // Rules for whole registries are kept, whatever their effect.
    let text = convert("gcr.io::\ndefault::h.io/d\n");
    assert!(text.contains("gcr.io::\n") && !text.contains('#'), "{text}");
    let text = convert("gcr.io::\ndefault::\n");
    assert!(text.contains("gcr.io::\n") && !text.contains('#'), "{text}");
    let text = convert("docker.io::h.io/d\n");
    assert_eq!(text, "# without `default::` imageswap ignores prefix rules; none is kept\n");
}

#[test]
fn effects_without_canonical_rule_are_reported() {
    // Upstream repeats the registry in the name, and so does the converted map.
    let map = ImageSwap::new("default::h.io/x-\nh.io::\n", MapForm::Lines);
    let differences = map.to_canonical().differences;
    assert_eq!(differences.len(), 1, "{differences:?}");
    assert!(differences[0].contains(" to h.io/x-"), "{differences:?}");
    let map = ImageSwap::new("[REPLACE]*redis*::\n", MapForm::Lines).to_canonical();
    assert_eq!(map.text, "# [REPLACE]*redis*:: keeps the bare name in imageswap\n");
    assert_eq!(map.differences.len(), 1);
}

#[test]
fn inexpressible_rule_becomes_a_comment() {
    assert_eq!(
        convert("[EXACT]nginx[::h.io/n\n[REPLACE]a[*::h.io]\n"),
        "[EXACT]nginx[::h.io/n\n# no effect in imageswap: [REPLACE]a[*::docker.io/h.io]\n"
    );
    // Imageswap cuts off only the last of two comments; its result is an invalid reference.
    same_effect("[EXACT]nginx::h.io/n # a:b # c\ndefault::\n", &["nginx", "nginx:1.25"]);
}

#[test]
fn identity_rules_are_printed_in_readable_form() {
    let map = "default::\ndocker.io::harbor.example.org/m/docker.io\n\
               docker.io/library::harbor.example.org/m/docker.io/library\n[EXACT]auto::auto\n\
               [REPLACE]placeholder::placeholder\nquay.io::quay.io\n";
    let text = convert(map);
    for line in ["[EXACT]auto::auto", "[REPLACE]placeholder::placeholder", "quay.io::"] {
        assert!(text.lines().any(|it| it == line), "{line}: {text}");
    }
    let read =
        crate::declaration::Declaration::read(crate::declaration::DeclarationSource::Map, &text, 0);
    let findings = read.unwrap().findings().to_vec();
    assert!(!findings.iter().any(crate::diagnostic::Diagnostic::is_error), "{findings:?}");
}
