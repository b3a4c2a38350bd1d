mod canonical;
mod convert;
mod imageswap;
mod laws;
mod map;

use super::*;

/// Parses the rules of a list or of lines.
fn rules(text: &str) -> RuleSet {
    let form = if text.contains('\n') { MapForm::Lines } else { MapForm::List };
    RuleSet::new(super::parse::rules(text, form).0)
}

/// Asserts that the rules of `text` swap `image` to `expected`, for `reason`.
#[track_caller]
fn swaps(text: &str, image: &str, expected: &str, reason: Reason) {
    let rules = rules(text);
    let decision = rules.swap(image).unwrap();
    assert_eq!((decision.image.as_ref(), decision.reason), (expected, reason), "{text} {image}");
    assert_eq!(decision.changed(), image != expected, "{text} {image}");
    let again = rules.swap(&decision.image).unwrap();
    assert_eq!(again.image, decision.image, "swapped again: {text} {image}");
}

/// Asserts that the rules of `text` keep `image`, for `reason`.
#[track_caller]
fn leaves(text: &str, image: &str, reason: Reason) {
    swaps(text, image, image, reason);
}
