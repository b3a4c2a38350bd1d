//! Collisions: different images of several sources that get the same name in the registry.

use std::collections::HashMap;

use super::linter::Linter;
use crate::{
    diagnostic::{Code, Diagnostic},
    rule::{Rule, RuleId, RuleKind, RuleSource},
};

/// Maximal number of sources that a diagnostic names.
const NAMED: usize = 8;

/// The names that the images of one rule get.
struct TargetImage<'a> {
    rule: &'a Rule,
    key: Option<RuleSource>,
    /// Common prefix of all swapped references.
    below: String,
}

pub(super) fn find(checked: &Linter<'_>, findings: &mut Vec<Diagnostic>) {
    let images: Vec<TargetImage<'_>> =
        checked.each().filter_map(|(id, rule)| image(checked, id, rule)).collect();
    // Indices of earlier rules, by their common prefix and by each of its parents.
    let mut at: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut under: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, image) in images.iter().enumerate() {
        let above = std::iter::successors(Some(image.below.as_str()), |path| {
            path.rfind('/').map(|slash| &path[..slash])
        });
        let above: Vec<&str> = above.collect();
        let same_or_above = above.iter().filter_map(|path| at.get(path)).flatten();
        let below = under.get(image.below.as_str()).into_iter().flatten();
        let mut met: Vec<&str> = Vec::new();
        for &other in same_or_above.chain(below) {
            let other = &images[other];
            let source = other.rule.source.as_str();
            if collide(image, other) && !met.contains(&source) {
                met.push(source);
            }
        }
        if !met.is_empty() {
            findings.push(finding(image, &met));
        }
        push(at.entry(above[0]).or_default(), index);
        for path in &above[1..] {
            push(under.entry(path).or_default(), index);
        }
    }
}

/// Adds `index` up to a limit: a diagnostic names no more, and the cost stays the same for each
/// rule.
fn push(list: &mut Vec<usize>, index: usize) {
    if list.len() < 2 * NAMED {
        list.push(index);
    }
}

fn image<'a>(checked: &Linter<'a>, id: RuleId, rule: &'a Rule) -> Option<TargetImage<'a>> {
    let target = checked.rules.target(id)?;
    let key = rule.prefix();
    let below = match (rule.kind, target.joins_name(), &key) {
        (RuleKind::Prefix, true, Some(key)) => {
            // The target is joined to the whole name, so paths below the key stay below it.
            [target.as_str(), key.host(), &key.as_str()[key.domain().len()..]].concat()
        }
        (RuleKind::Prefix, false, Some(_)) | (RuleKind::Replace | RuleKind::Default, false, _) => {
            target.as_str().to_owned()
        }
        _ => return None,
    };
    Some(TargetImage { rule, key, below })
}

/// Returns true if two different images of the two rules can get the same name.
fn collide(a: &TargetImage<'_>, b: &TargetImage<'_>) -> bool {
    let (a, b) = if a.below.len() <= b.below.len() { (a, b) } else { (b, a) };
    let (Some(outer), Some(inner)) = (&a.key, &b.key) else {
        // A default for all hosts, with a rule for Docker Hub's library is usual in imageswap
        // maps.
        let library = |image: &TargetImage<'_>| {
            image.key.as_ref().is_some_and(|key| key.as_str() == "docker.io/library")
        };
        return !(library(a) || library(b));
    };
    if outer == inner {
        return false;
    }
    let path_inside = |outer: &RuleSource, inner: &RuleSource| {
        let rest = inner.as_str().strip_prefix(outer.as_str())?;
        rest.starts_with('/').then(|| rest.to_owned())
    };
    // `q/team::h/team` with `q::h` is redundant, not a collision.
    let consistent =
        path_inside(outer, inner).is_some_and(|rest| b.below == [&a.below, &rest[..]].concat());
    // On Docker Hub exactly the names of one component are below `library/`.
    let is_library = |outer: &RuleSource, inner: &RuleSource| {
        outer.as_str() == "docker.io" && inner.as_str() == "docker.io/library"
    };
    let library = a.below == b.below && (is_library(outer, inner) || is_library(inner, outer));
    !(consistent || library)
}

fn finding(image: &TargetImage<'_>, met: &[&str]) -> Diagnostic {
    let mut names = met.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if met.len() > NAMED {
        names.push_str(", …");
    }
    let message = format!(
        "images of {} and of {names} share the path {}: different images can get the same name",
        image.rule.source, image.below
    );
    Diagnostic::warning(Code::Collision, image.rule.place, message)
        .hint("give each source a path of its own")
}
