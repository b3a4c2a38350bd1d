//! Maps: the compiled rules answer as rules read one by one do, and whatever
//! the text, what comes out is a reference that stays as it is.

mod naive;
pub(crate) mod written;

use image_swap_core::{
    declaration::{Declaration, DeclarationSource},
    reference::Reference,
    rule::{Decision, ImageSwap, MapForm, Reason, RuleKind, RuleSet, parse as text_of_rules},
};

use self::{naive::Rules, written::Written};
use crate::choices::Choices;

/// How many images each map is asked about.
const IMAGES: usize = 4;

/// The laws of the dialect `canonical`, for the map and the images that `data` makes.
///
/// # Panics
/// Where one does not hold.
pub fn map(data: &[u8]) {
    let c = &mut Choices::new(data);
    if c.one_in(4) {
        return any_text(c);
    }
    let written = Written::new(c);
    let (rules, unreadable) = text_of_rules::rules(&written.text, written.form);
    assert_eq!(unreadable, [], "{:?}", written.text);
    let sources: Vec<_> = rules.iter().map(|rule| (rule.kind, rule.target.clone())).collect();
    let expected: Vec<_> = written.rules.iter().map(naive::Rule::as_written).collect();
    assert_eq!(sources, expected, "{:?}", written.text);

    let compiled = RuleSet::new(rules);
    let naive = Rules(&written.rules);
    for _ in 0..IMAGES {
        let image = written.image(c);
        let (reference, decision) = match (Reference::parse(&image), compiled.swap(&image)) {
            (Ok(reference), Ok(decision)) => (reference, decision),
            (reference, decision) => {
                assert_eq!(reference.err(), decision.err(), "{image:?}");
                continue;
            }
        };
        let about = || format!("{image:?} under {:?}", written.text);
        let answer = naive.decide(&reference, &image);
        assert_eq!(answer.reason, decision.reason, "{}", about());
        assert_eq!(answer.image, decision.image, "{}", about());
        let named = decision.rule.map(|rule| &written.rules[rule]);
        match (decision.reason, named) {
            // Of several that would do, any may be named.
            (Reason::AlreadyMirrored, Some(rule)) => {
                assert!(naive::is_target_of(&image, rule), "{}", about());
            }
            (Reason::Noswap, Some(rule)) => assert!(naive::is_in(&image, rule), "{}", about()),
            _ => assert_eq!(answer.rule, decision.rule, "{}", about()),
        }
        the_answer_is_a_swap(&compiled, &image, &decision);
    }
}

/// Any text is a map: perhaps one of few rules and many warnings.
fn any_text(c: &mut Choices<'_>) {
    let (text, form) = written::any(c);
    let (rules, _) = text_of_rules::rules(&text, form);
    let compiled = RuleSet::new(rules);
    let source =
        if form == MapForm::List { DeclarationSource::Mirrors } else { DeclarationSource::Map };
    let declared = Declaration::read(source, &text, 0);
    assert!(declared.is_ok(), "a map is never refused as it is read: {text:?}");
    let targets = compiled.rules().iter().map(|rule| format!("{}/a:1", rule.target));
    let sources = compiled.rules().iter().map(|rule| format!("{}/a:1", rule.key()));
    for image in targets.chain(sources).chain([String::from("nginx")]) {
        if let Ok(decision) = compiled.swap(&image) {
            the_answer_is_a_swap(&compiled, &image, &decision);
        }
    }
}

/// What holds of every answer, whoever gave it.
fn the_answer_is_a_swap(rules: &RuleSet, image: &str, decision: &Decision<'_>) {
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

/// The dialect `imageswap`: whatever the map, every answer is a reference, and
/// one that upstream gave stays as it is.
///
/// # Panics
/// Where that does not hold.
pub fn imageswap(data: &[u8]) {
    let c = &mut Choices::new(data);
    let (text, form, images) = if c.one_in(4) {
        let (text, form) = written::any(c);
        (text, form, vec![String::from("nginx:1"), String::from("quay.io/team/app")])
    } else {
        let written = Written::new(c);
        let images = (0..IMAGES).map(|_| written.image(c)).collect();
        (written.text, written.form, images)
    };
    let rules = ImageSwap::new(&text, form);
    for image in images {
        let Ok(decision) = rules.swap(&image) else { continue };
        let error = Reference::parse(&decision.image).err();
        assert_eq!(error, None, "{image:?} became {:?} under {text:?}", decision.image);
        // Where upstream gives no answer that holds, the canonical one is given; to that
        // upstream may have an answer again.
        let canonical = rules.canonical().swap(&image).map(|swap| swap.image);
        let again = rules.swap(&decision.image).map(|again| again.image);
        assert!(
            [again, canonical].contains(&Ok(decision.image.clone())),
            "{image:?} swapped to {:?} and on under {text:?}",
            decision.image
        );
    }
    let converted = rules.to_canonical();
    let (_, unreadable) = text_of_rules::rules(&converted.text, MapForm::Lines);
    assert_eq!(unreadable, [], "{text:?} converted to {:?}", converted.text);
}
