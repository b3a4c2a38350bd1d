//! The dialect `imageswap`, compared with recorded results of the program itself.

use serde_json::Value;

use crate::rule::{ImageSwap, MapForm, Reason};

/// Maps with the recorded results of imageswap-webhook 1.5.3 for some images.
///
/// Null: the program crashed, its result was an invalid reference, or a second evaluation
/// changed the result.
const ANSWERS: &str = include_str!("../../../tests/data/imageswap.json");

#[test]
fn lasting_results_equal_upstreams() {
    let maps: Vec<Value> = serde_json::from_str(ANSWERS).unwrap();
    let mut held = 0;
    for map in &maps {
        let text = map["map"].as_str().unwrap();
        let imageswap = ImageSwap::new(text, MapForm::Lines);
        let canonical = imageswap.canonical();
        for (image, expected) in map["answers"].as_object().unwrap() {
            let answer = imageswap.swap(image).unwrap();
            let expected = expected.as_str().inspect(|_| held += 1);
            let canonical = canonical.swap(image).unwrap().image;
            assert_eq!(answer.image, expected.unwrap_or(&canonical), "{}: {image}", map["name"]);
        }
    }
    assert!(held > 250, "{held}");
}

#[track_caller]
fn swaps(map: &str, image: &str, expected: &str, reason: Reason) {
    let form = if map.contains('\n') { MapForm::Lines } else { MapForm::List };
    let answer = ImageSwap::new(map, form).swap(image).unwrap();
    assert_eq!((answer.image.as_ref(), answer.reason), (expected, reason), "{map} {image}");
    assert_eq!(answer.changed(), image != expected, "{map} {image}");
}

#[test]
fn dot_marks_a_registry_only_before_slash() {
    swaps("docker.io::h.io/d", "nginx.alpine", "h.io/d/nginx.alpine", Reason::Rule);
}

#[test]
fn dot_of_key_matches_any_character() {
    // `re.sub` replaces all occurrences, and a dot matches any character.
    let map = "gcr.io::h.io/g\ndefault::\n";
    swaps(map, "gcr.io/abc.de", "h.io/g/abc.de", Reason::Rule);
    swaps(map, "gcr.io/gcr-io/a", "h.io/g/h.io/g/a", Reason::Rule);
}

#[test]
fn comment_ends_a_line() {
    let map = ImageSwap::new("gcr.io::h.io/g # a\n", MapForm::Lines);
    assert_eq!(map.rules()[0].target, "h.io/g");
}

#[test]
fn key_with_port_beats_key_without() {
    let map = "m.io::h.io/n\nm.io:8443::h.io/p\ndefault::\n";
    let map = ImageSwap::new(map, MapForm::Lines);
    let rule = map.swap("m.io:8443/x").unwrap().rule.unwrap();
    assert_eq!(map.rules()[rule].source, "m.io:8443");
}

#[test]
fn only_wildcards_continue_after_comma() {
    let map = ImageSwap::new("gcr.io::h.io/g,x", MapForm::List);
    assert_eq!(map.rules()[0].target, "h.io/g");
}

#[test]
fn prefix_rules_need_a_default() {
    let swaps = |map, form| ImageSwap::new(map, form).swaps_anything();
    assert!(!swaps("docker.io::h.io/d\n", MapForm::Lines));
    for map in ["[EXACT]a::h.io/e\n", "[REPLACE]a*::h.io/r\n", "default::\n"] {
        assert!(swaps(map, MapForm::Lines), "{map}");
    }
    assert!(swaps("docker.io::h.io/d", MapForm::List));
}

#[test]
fn list_items_have_positions_and_wildcards_continue() {
    let list = "gcr.io::h.io/g, quay.io::h.io/q,noswap_wildcards::zz,yy,k.io::h.io/k";
    let map = ImageSwap::new(list, MapForm::List);
    let place = |image| {
        let place = map.rules()[map.swap(image).unwrap().rule.unwrap()].place;
        (place.line, place.column)
    };
    assert_eq!(
        [place("gcr.io/x"), place("quay.io/x"), place("k.io/x")],
        [(1, 1), (1, 17), (1, 57)]
    );
}

#[test]
fn map_without_default_keeps_exact_and_replace() {
    let map = "docker.io::h.io/d\n[EXACT]a::h.io/e\n[REPLACE]quay.io/*::h.io/q\n";
    swaps(map, "nginx", "nginx", Reason::NoRule);
    swaps(map, "a", "h.io/e", Reason::Exact);
    swaps(map, "quay.io/b/c", "h.io/q/c", Reason::Replace);
}

#[test]
fn list_implies_an_empty_default() {
    swaps("docker.io::h.io/d", "nginx", "h.io/d/nginx", Reason::Rule);
    swaps(
        "docker.io::h.io/d,noswap_wildcards::a,b,default::k.io",
        "k.io/b",
        "k.io/b",
        Reason::Noswap,
    );
}

#[test]
fn canonical_result_replaces_missing_upstream_result() {
    // Upstream returns h.io/d/d/nginx in a second evaluation.
    swaps("default::h.io/d\n", "nginx", "h.io/d/library/nginx", Reason::Default);
    // Upstream raises KeyError.
    swaps("docker.io/library::h.io/l\ndefault::\n", "bitnami/x", "bitnami/x", Reason::NoRule);
    // Upstream keeps the port between host and path, which is an invalid reference.
    swaps("cool.io::h.io/c\ndefault::\n", "cool.io:443/a", "h.io/c/a", Reason::Rule);
    // Upstream raises an exception for the backslash.
    swaps("gcr.io::h.io\\x\ndefault::\n", "gcr.io/a", "gcr.io/a", Reason::NoRule);
}

#[test]
fn repeated_key_keeps_place_and_takes_value() {
    let map = "[REPLACE]a*::h.io/1\n[REPLACE]ab*::h.io/2\n[REPLACE]a*::h.io/3\n";
    swaps(map, "abc", "h.io/3/abc", Reason::Replace);
    swaps("gcr.io::h.io/1\ngcr.io::h.io/2\ndefault::\n", "gcr.io/a", "h.io/2/a", Reason::Rule);
}

#[test]
fn rules_of_imageswap_have_positions() {
    let map = ImageSwap::new("# x\n gcr.io::h.io/g\ndefault::\n", MapForm::Lines);
    let rule = map.swap("gcr.io/a").unwrap().rule.unwrap();
    assert_eq!((map.rules()[rule].place.line, map.rules()[rule].place.column), (2, 2));
}
