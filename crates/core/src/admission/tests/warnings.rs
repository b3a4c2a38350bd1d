//! Warnings for users about images that cannot be swapped.

use serde_json::json;

use super::{ImageOutcome, create, leaves, mk_pod};

#[test]
fn invalid_image_is_unchanged_with_a_warning() {
    let answer = leaves(&mk_pod(&[("app", "gcr.io/Team/app:1")]));
    assert_eq!(answer.reason("app"), "invalid-image");
    assert_eq!(answer.tally.of(ImageOutcome::InvalidImage), 1);
    let [warning] = &answer.warnings[..] else { panic!("{:?}", answer.warnings) };
    assert!(warning.starts_with("image-swap: image of \"app\" not swapped: expected "));
    assert!(warning.ends_with(" at character 8"), "{warning}");
    assert!(warning.len() <= 120, "{warning}");
}

#[test]
fn other_images_are_swapped_despite_invalid_one() {
    let answer = create(&mk_pod(&[("bad", "::"), ("app", "nginx")]));
    assert_eq!(answer.image("app"), "h.example/d/library/nginx");
    assert_eq!(answer.image("bad"), "::");
    assert_eq!(answer.warnings.len(), 1);
}

#[test]
fn warning_about_volume_names_the_volume() {
    let mut pod = mk_pod(&[]);
    pod["spec"]["volumes"] = json!([{"name": "model", "image": {"reference": "A B"}}]);
    assert!(leaves(&pod).warnings[0].contains("\"volume:model\""));
}

#[test]
fn warnings_are_bounded_and_printable() {
    let name = "\n\u{7f}é\"".repeat(200);
    let containers: Vec<_> = (0..40).map(|_| (name.as_str(), "a/B")).collect();
    let warnings = create(&mk_pod(&containers)).warnings;
    assert_eq!(warnings.len(), 9);
    assert_eq!(warnings[8], "image-swap: 32 more invalid images are not swapped");
    for warning in &warnings {
        assert!(warning.len() <= 256);
        assert!(!warning.contains(char::is_control), "{warning:?}");
    }
    assert!(warnings.iter().map(String::len).sum::<usize>() <= 4096);
}
