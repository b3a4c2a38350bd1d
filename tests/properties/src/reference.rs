//! Properties of references. Printing and parsing are inverse; an error has a position in the
//! text; another parser of the same grammar accepts the same references.

use std::net::Ipv6Addr;

use container_image_dist_ref::ImgRef;
use image_swap_core::reference::{Reference, ReferenceError};

use crate::{choices::Choices, text};

/// Checks the properties of references for a text that is generated from `data`.
///
/// # Panics
/// Panics if a property does not hold.
pub fn reference(data: &[u8]) {
    let text = text::reference(&mut Choices::new(data));
    let parsed = Reference::parse(&text);
    match &parsed {
        Ok(reference) => assert_printing_is_inverse(reference, &text),
        Err(error) => assert_error_is_in_text(error, &text),
    }
    assert_other_parser_agrees(parsed.ok().as_ref(), &text);
}

/// Asserts that the printed reference parses to the same parts.
fn assert_printing_is_inverse(reference: &Reference<'_>, text: &str) {
    let printed = reference.to_string();
    let again = Reference::parse(&printed);
    assert_eq!(again.map(|again| parts(&again)), Ok(parts(reference)), "{text:?}, {printed:?}");
    assert_eq!(printed, [name(reference), end(reference)].concat(), "{text:?}");
    assert!(text.ends_with(&end(reference)), "{text:?} ends in tag and digest as written");
}

/// Returns the reference without tag and digest.
fn name(reference: &Reference<'_>) -> String {
    let slash = if reference.domain().is_empty() { "" } else { "/" };
    [reference.domain(), slash, &reference.path()].concat()
}

/// Returns tag and digest with their separators.
fn end(reference: &Reference<'_>) -> String {
    let tag = reference.tag().map(|tag| [":", tag].concat());
    let digest = reference.digest().map(|digest| ["@", digest].concat());
    [tag, digest].into_iter().flatten().collect()
}

/// Asserts that the error names a character of `text` and its position.
fn assert_error_is_in_text(error: &ReferenceError, text: &str) {
    let found = text.get(error.at..).map(|rest| rest.chars().next());
    assert_eq!(found, Some(error.found), "{text:?}: {error}");
    let characters = text.get(..error.at).map(|before| before.chars().count());
    assert_eq!(characters, Some(error.character - 1), "{text:?}: {error}");
}

/// Domain, path, tag and digest.
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

/// Asserts that `container_image_dist_ref` parses the same parts, except in known differences. The
/// crate implements the grammar without normalisation, so [`normalise`] runs before it.
fn assert_other_parser_agrees(reference: Option<&Reference<'_>>, text: &str) {
    let normalised = normalise(text);
    let other = normalised.as_deref().and_then(other_parts);
    match (reference.map(parts), other) {
        (Some(parts), Some(other)) => assert_eq!(parts, other, "{text:?}"),
        (Some(_), None) => {
            assert!(other_rejects(text), "the other parser rejects {text:?}");
        }
        (None, Some(other)) => {
            assert!(only_other_accepts(&other), "only the other parser accepts {text:?}");
        }
        (None, None) => {}
    }
}

/// Normalises a reference like `splitDockerDomain` and `ParseNormalizedNamed` of `normalize.go`
/// (distribution/reference); `None` if it is invalid.
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

/// Returns the parts by the other parser; `None` if it rejects the text.
fn other_parts(text: &str) -> Option<Parts> {
    // The other parser stores lengths in small integers, so longer texts are cut.
    let other = ImgRef::new(text.get(..text.len().min(4096))?).ok()?;
    let domain = other.domain().map(|domain| domain.to_str().to_owned()).unwrap_or_default();
    let digest = other.digest().map(|digest| digest.to_str().to_owned());
    let path = other.path().to_str().to_owned();
    Some((domain, path, other.tag().map(str::to_owned), digest))
}

/// Returns true if the other parser is known to reject the valid reference `text`. It counts the
/// domain into the 255 bytes of a name. Between brackets it accepts only addresses, and the
/// grammar any hex digits and colons.
fn other_rejects(text: &str) -> bool {
    Reference::parse(text).is_ok_and(|reference| {
        let bracketed = reference.domain().strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let is_address = |(inner, _): (&str, &str)| inner.parse::<Ipv6Addr>().is_ok();
        name(&reference).len() > 255 || bracketed.is_some_and(|inner| !is_address(inner))
    })
}

/// Returns true if the other parser is known to accept these parts of an invalid reference:
/// digests of any algorithm and length, and tags of 129 bytes.
fn only_other_accepts((_, _, tag, digest): &Parts) -> bool {
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
