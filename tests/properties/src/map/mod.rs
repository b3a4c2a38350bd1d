//! Properties of maps. Compiled rules decide like a naive implementation; a swapped image is a
//! valid reference, and a second swap does not change it.

pub(crate) mod generated;
mod naive;

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    reference::Reference,
    rule::{Decision, ImageSwap, MapForm, Reason, RuleKind, RuleSet, parse},
};

use self::{generated::GeneratedMap, naive::Rules};
use crate::choices::Choices;

/// Number of images that each map swaps.
const IMAGES: usize = 4;

/// Checks the properties of the dialect `canonical` for a map and images, generated from `data`.
///
/// # Panics
/// Panics if a property does not hold.
pub fn map(data: &[u8]) {
    let c = &mut Choices::new(data);
    if c.one_in(4) {
        return any_text(c);
    }
    let map = GeneratedMap::new(c);
    let (rules, unreadable) = parse::rules(&map.text, map.form);
    assert_eq!(unreadable, [], "{:?}", map.text);
    let sources: Vec<_> = rules.iter().map(|rule| (rule.kind, rule.target.clone())).collect();
    let expected: Vec<_> = map.rules.iter().map(naive::Rule::as_written).collect();
    assert_eq!(sources, expected, "{:?}", map.text);

    let compiled = RuleSet::new(rules);
    let naive = Rules(&map.rules);
    for _ in 0..IMAGES {
        let image = map.image(c);
        let (reference, decision) = match (Reference::parse(&image), compiled.swap(&image)) {
            (Ok(reference), Ok(decision)) => (reference, decision),
            (reference, decision) => {
                assert_eq!(reference.err(), decision.err(), "{image:?}");
                continue;
            }
        };
        let about = || format!("{image:?} under {:?}", map.text);
        let answer = naive.decide(&reference, &image);
        assert_eq!(answer.reason, decision.reason, "{}", about());
        assert_eq!(answer.image, decision.image, "{}", about());
        let named = decision.rule.map(|rule| &map.rules[rule]);
        match (decision.reason, named) {
            // If several rules match, the decision may name any of them.
            (Reason::AlreadyMirrored, Some(rule)) => {
                assert!(naive::is_target_of(&image, rule), "{}", about());
            }
            (Reason::Noswap, Some(rule)) => assert!(naive::is_in(&image, rule), "{}", about()),
            _ => assert_eq!(answer.rule, decision.rule, "{}", about()),
        }
        assert_valid_swap(&compiled, &image, &decision);
    }
}

/// Checks a map with any text. Every text is accepted, possibly with few rules and many warnings.
fn any_text(c: &mut Choices<'_>) {
    let (text, form) = generated::any(c);
    let (rules, _) = parse::rules(&text, form);
    let compiled = RuleSet::new(rules);
    let source =
        if form == MapForm::List { DeclarationSource::Mirrors } else { DeclarationSource::Map };
    let declared = Declaration::read(source, &text, 0);
    assert!(declared.is_ok(), "a map is never rejected: {text:?}");
    let targets = compiled.rules().iter().map(|rule| format!("{}/a:1", rule.target));
    let sources = compiled.rules().iter().map(|rule| format!("{}/a:1", rule.key()));
    for image in targets.chain(sources).chain([String::from("nginx")]) {
        if let Ok(decision) = compiled.swap(&image) {
            assert_valid_swap(&compiled, &image, &decision);
        }
    }
}

/// Asserts the properties of every decision: a valid reference with the tag and digest of `image`,
/// which a second swap does not change.
fn assert_valid_swap(rules: &RuleSet, image: &str, decision: &Decision<'_>) {
    let swapped = Reference::parse(&decision.image);
    assert_eq!(swapped.err(), None, "{image:?} became {:?}", decision.image);
    if !decision.changed() {
        assert_eq!(decision.image, image, "unchanged means byte for byte");
    }
    let by_exact = decision.rule.is_some_and(|rule| rules.rules()[rule].kind == RuleKind::Exact);
    if let (false, Ok(original), Ok(swapped)) = (by_exact, Reference::parse(image), swapped) {
        let kept = (original.tag(), original.digest());
        assert_eq!((swapped.tag(), swapped.digest()), kept, "{image:?} -> {}", decision.image);
    }
    let again = rules.swap(&decision.image);
    let again = again.map(|again| again.image.into_owned());
    assert_eq!(again.as_deref(), Ok(decision.image.as_ref()), "{image:?} swapped twice");
}

/// Checks the properties of the dialect `imageswap`: every decision is a valid reference, and a
/// second swap of an upstream decision does not change it.
///
/// # Panics
/// Panics if a property does not hold.
pub fn imageswap(data: &[u8]) {
    let c = &mut Choices::new(data);
    let (text, form, images) = if c.one_in(4) {
        let (text, form) = generated::any(c);
        (text, form, vec![String::from("nginx:1"), String::from("quay.io/team/app")])
    } else {
        let map = GeneratedMap::new(c);
        let images = (0..IMAGES).map(|_| map.image(c)).collect();
        (map.text, map.form, images)
    };
    let rules = ImageSwap::new(&text, form);
    for image in images {
        let Ok(decision) = rules.swap(&image) else { continue };
        let error = Reference::parse(&decision.image).err();
        assert_eq!(error, None, "{image:?} became {:?} under {text:?}", decision.image);
        // If the decision of upstream is invalid, the canonical one replaces it. A second swap by
        // upstream may change that one.
        let canonical = rules.canonical().swap(&image).map(|swap| swap.image);
        let again = rules.swap(&decision.image).map(|again| again.image);
        assert!(
            [again, canonical].contains(&Ok(decision.image.clone())),
            "{image:?} swapped to {:?} and on under {text:?}",
            decision.image
        );
    }
    let converted = rules.to_canonical();
    let (_, unreadable) = parse::rules(&converted.text, MapForm::Lines);
    assert_eq!(unreadable, [], "{text:?} converted to {:?}", converted.text);
}
