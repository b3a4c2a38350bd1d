//! References: printing and reading are inverse, errors point into the text,
//! and another parser of the same grammar agrees.

use std::net::Ipv6Addr;

use container_image_dist_ref::ImgRef;
use image_swap_core::reference::{Reference, ReferenceError};

use crate::{choices::Choices, text};

/// The laws of references, for the text that `data` makes.
///
/// # Panics
/// Where one does not hold.
pub fn reference(data: &[u8]) {
    let text = text::reference(&mut Choices::new(data));
    let parsed = Reference::parse(&text);
    match &parsed {
        Ok(reference) => printing_and_parsing_are_inverse(reference, &text),
        Err(error) => the_error_points_into_the_text(error, &text),
    }
    another_parser_agrees(parsed.ok().as_ref(), &text);
}

fn printing_and_parsing_are_inverse(reference: &Reference<'_>, text: &str) {
    let printed = reference.to_string();
    let again = Reference::parse(&printed);
    assert_eq!(again.map(|again| parts(&again)), Ok(parts(reference)), "{text:?}, {printed:?}");
    assert_eq!(printed, [name(reference), end(reference)].concat(), "{text:?}");
    assert!(text.ends_with(&end(reference)), "{text:?} ends in tag and digest as written");
}

fn name(reference: &Reference<'_>) -> String {
    let slash = if reference.domain().is_empty() { "" } else { "/" };
    [reference.domain(), slash, &reference.path()].concat()
}

fn end(reference: &Reference<'_>) -> String {
    let tag = reference.tag().map(|tag| [":", tag].concat());
    let digest = reference.digest().map(|digest| ["@", digest].concat());
    [tag, digest].into_iter().flatten().collect()
}

fn the_error_points_into_the_text(error: &ReferenceError, text: &str) {
    let found = text.get(error.at..).map(|rest| rest.chars().next());
    assert_eq!(found, Some(error.found), "{text:?}: {error}");
    let characters = text.get(..error.at).map(|before| before.chars().count());
    assert_eq!(characters, Some(error.character - 1), "{text:?}: {error}");
}

type Parts = (String, String, Option<String>, Option<String>);

fn parts(reference: &Reference<'_>) -> Parts {
    let owned = |part: Option<&str>| part.map(str::to_owned);
    (
        reference.domain().to_owned(),
        reference.path().into_owned(),
        owned(reference.tag()),
        owned(reference.digest()),
    )
}

/// `container_image_dist_ref` knows the grammar and not the normalisation,
/// which is done for it here in the words of `normalize.go`.
fn another_parser_agrees(ours: Option<&Reference<'_>>, text: &str) {
    let normalised = normalise(text);
    let theirs = normalised.as_deref().and_then(other_parts);
    match (ours.map(parts), theirs) {
        (Some(ours), Some(theirs)) => assert_eq!(ours, theirs, "{text:?}"),
        (Some(_), None) => assert!(only_we_accept(text), "only we accept {text:?}"),
        (None, Some(theirs)) => {
            assert!(only_they_accept(&theirs), "only the other parser accepts {text:?}");
        }
        (None, None) => {}
    }
}

/// `splitDockerDomain` and what `ParseNormalizedNamed` does around it.
fn normalise(text: &str) -> Option<String> {
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let (domain, rest) = match text.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.to_lowercase() != first =>
        {
            (first, rest)
        }
        _ => ("docker.io", text),
    };
    let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
    let library = if domain == "docker.io" && !rest.contains('/') { "library/" } else { "" };
    let path = rest.split(':').next().unwrap_or(rest);
    (path.to_lowercase() == path).then(|| [domain, "/", library, rest].concat())
}

fn other_parts(text: &str) -> Option<Parts> {
    // It counts lengths in small numbers and has nothing longer to say.
    let other = ImgRef::new(text.get(..text.len().min(4096))?).ok()?;
    let domain = other.domain().map(|domain| domain.to_str().to_owned()).unwrap_or_default();
    let digest = other.digest().map(|digest| digest.to_str().to_owned());
    let path = other.path().to_str().to_owned();
    Some((domain, path, other.tag().map(str::to_owned), digest))
}

/// Known: it counts the domain into the 255 bytes of a name, and between
/// brackets takes addresses alone where the grammar takes any hex and colons.
fn only_we_accept(text: &str) -> bool {
    Reference::parse(text).is_ok_and(|reference| {
        let bracketed = reference.domain().strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let is_address = |(inner, _): (&str, &str)| inner.parse::<Ipv6Addr>().is_ok();
        name(&reference).len() > 255 || bracketed.is_some_and(|inner| !is_address(inner))
    })
}

/// Known: it takes digests of any algorithm, of any length, and tags of 129 bytes.
fn only_they_accept((_, _, tag, digest): &Parts) -> bool {
    let lower_hex = |hex: &str| hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let registered = |digest: &str| {
        [("sha256", 64), ("sha384", 96), ("sha512", 128)].into_iter().any(|(algorithm, digits)| {
            digest
                .strip_prefix(algorithm)
                .and_then(|rest| rest.strip_prefix(':'))
                .is_some_and(|hex| hex.len() == digits && lower_hex(hex))
        })
    };
    tag.as_ref().is_some_and(|tag| tag.len() == 129)
        || digest.as_deref().is_some_and(|digest| !registered(digest))
}
