mod canonical;
mod convert;
mod imageswap;
mod laws;
mod map;

use super::*;

/// The rules of a list or of lines.
fn rules(text: &str) -> RuleSet {
    let form = if text.contains('\n') { MapForm::Lines } else { MapForm::List };
    RuleSet::new(super::parse::rules(text, form).0)
}

/// By the rules of `text`, `image` becomes `expected`, for `reason`.
#[track_caller]
fn swaps(text: &str, image: &str, expected: &str, reason: Reason) {
    let rules = rules(text);
    let decision = rules.swap(image).unwrap();
    assert_eq!((decision.image.as_ref(), decision.reason), (expected, reason), "{text} {image}");
    assert_eq!(decision.changed(), image != expected, "{text} {image}");
    let again = rules.swap(&decision.image).unwrap();
    assert_eq!(again.image, decision.image, "swapped again: {text} {image}");
}

/// By the rules of `text`, `image` stays, for `reason`.
#[track_caller]
fn leaves(text: &str, image: &str, reason: Reason) {
    swaps(text, image, image, reason);
}
