//! The parser: one pass over the bytes, no regular expression.

use super::{
    DOCKER_DOMAIN, ExpectedPart, LEGACY_DOCKER_DOMAIN, LIBRARY, Reference, ReferenceError,
    class::{LABEL, LOWER, OTHER, REGISTRY, TAG, UPPER, class, run},
};

/// `RepositoryNameTotalLengthMax`: bytes of the path, the domain not counted.
pub(crate) const PATH_MAX: usize = 255;
/// `[\w][\w.-]{0,127}`.
const TAG_MAX: usize = 128;
/// An image ID: 64 lowercase hex digits (`anchoredIdentifierRegexp`).
const IDENTIFIER: usize = 64;

pub(super) fn reference(input: &str) -> Result<Reference<'_>, ReferenceError> {
    if input.is_empty() {
        return Err(error(input, ExpectedPart::Name, 0));
    }
    if input.len() == IDENTIFIER && input.bytes().all(is_lower_hex) {
        return Err(error(input, ExpectedPart::NameNotIdentifier, 0));
    }
    let first = split_domain(input);
    // `strings.ToLower(remote) != remote` is checked before the grammar, so that the
    // error of `Nginx` is about its case. The grammar rejects every letter that it finds.
    parts(input, first).map_err(|error| {
        scheme(input).or_else(|| uppercase(input, first.path_start)).unwrap_or(error)
    })
}

/// Returns the error of an `input` that begins with a scheme, such as `https://`.
#[cold]
fn scheme(input: &str) -> Option<ReferenceError> {
    let (scheme, _) = input.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_scheme.then(|| error(input, ExpectedPart::NoScheme, 0))
}

/// Returns all parts of `input`, which begins with `first`, as far as normalisation sees.
fn parts<'a>(input: &'a str, first: FirstComponent<'a>) -> Result<Reference<'a>, ReferenceError> {
    let fail = |expected, at| Err(error(input, expected, at));
    let FirstComponent { mut domain, mut path_start, has_upper } = first;
    let mut is_official = false;
    if domain == DOCKER_DOMAIN {
        is_official = !input[path_start..].contains('/');
    } else if let Err((expected, at)) = scan_domain(domain.as_bytes()) {
        // The grammar's domain is optional: a first component that is an invalid domain may be
        // a valid path component (`a_b.c/d`).
        if scan_component(domain.as_bytes()) != domain.len() {
            return fail(expected, at);
        }
        (domain, path_start) = ("", 0);
    }

    let bytes = input.as_bytes();
    let path_end = scan_path(input, path_start)?;
    let path = &input[path_start..path_end];
    let prefix = if is_official { LIBRARY } else { "" };
    if prefix.len() + path.len() > PATH_MAX {
        return fail(ExpectedPart::ShorterPath, path_start + PATH_MAX - prefix.len());
    }

    let mut at = path_end;
    let mut tag = None;
    if bytes.get(at) == Some(&b':') {
        let start = at + 1;
        let length = run(&bytes[start..], TAG);
        if length == 0 || matches!(bytes[start], b'.' | b'-') {
            return fail(ExpectedPart::Tag, start);
        }
        if length > TAG_MAX {
            return fail(ExpectedPart::ShorterTag, start + TAG_MAX);
        }
        at = start + length;
        tag = Some(&input[start..at]);
    }
    let digest = match bytes.get(at) {
        None => None,
        Some(b'@') => Some(scan_digest(input, at + 1)?),
        Some(_) if tag.is_some() => return fail(ExpectedPart::TagEnd, at),
        Some(_) => return fail(ExpectedPart::PathEnd, at),
    };
    Ok(Reference { domain, domain_has_upper: has_upper, prefix, path, tag, digest })
}

/// Returns the error of an uppercase letter in the path that begins at `start`.
#[cold]
fn uppercase(input: &str, start: usize) -> Option<ReferenceError> {
    let rest = &input[start..];
    let upper = rest.bytes().take_while(|&b| b != b':').position(|b| b.is_ascii_uppercase())?;
    // In `name@SHA256:…` the uppercase part is the algorithm.
    let in_digest = rest[..upper].contains('@');
    let expected = if in_digest { ExpectedPart::Algorithm } else { ExpectedPart::Lowercase };
    Some(error(input, expected, start + upper))
}

/// The domain of a reference.
#[derive(Clone, Copy)]
struct FirstComponent<'a> {
    domain: &'a str,
    /// The byte at which the path begins.
    path_start: usize,
    /// True if the domain has an uppercase letter.
    has_upper: bool,
}

/// Splits the domain off, as `splitDockerDomain` does.
#[inline]
fn split_domain(input: &str) -> FirstComponent<'_> {
    const HUB: FirstComponent<'_> =
        FirstComponent { domain: DOCKER_DOMAIN, path_start: 0, has_upper: false };
    let mut classes = 0;
    let slash = input.bytes().position(|byte| {
        classes |= class(byte);
        byte == b'/'
    });
    let Some(slash) = slash else {
        return HUB;
    };
    let first = &input[..slash];
    let is_taken = classes & REGISTRY != 0
        || first == "localhost"
        || classes & OTHER != 0 && first.chars().any(char::is_uppercase);
    match (is_taken, first == LEGACY_DOCKER_DOMAIN) {
        (true, false) => {
            FirstComponent { domain: first, path_start: slash + 1, has_upper: classes & UPPER != 0 }
        }
        (true, true) => FirstComponent { path_start: slash + 1, ..HUB },
        (false, _) => HUB,
    }
}

/// Returns true if the reference `input` names a registry; otherwise it is a short name, which
/// normalisation takes for one of Docker Hub.
pub fn names_registry(input: &str) -> bool {
    split_domain(input).path_start > 0
}

/// Returns true if `text` is a domain by the reference grammar: a host, with or without a port.
///
/// A first component of a reference may be a domain by the grammar and still be read as a name,
/// such as `registry`.
pub fn is_domain(text: &str) -> bool {
    scan_domain(text.as_bytes()).is_ok()
}

/// Returns true if `text` is the ID of an image: `sha256:` and 64 hex digits, or the
/// same of another algorithm.
///
/// `ParseNormalizedNamed` takes it for the repository `library/sha256` with a tag, but
/// runtimes look for an image with this ID (`ParseAnyReference`; containerd's
/// `LocalResolve`).
pub fn is_image_id(text: &str) -> bool {
    // Almost no name begins with these letters, and every image is compared.
    if !text.starts_with("sha") {
        return false;
    }
    text.split_once(':').is_some_and(|(algorithm, hex)| {
        hex_digits(algorithm) == Some(hex.len()) && hex.bytes().all(is_lower_hex)
    })
}

/// Returns true if `text` is a valid repository path of one or more components.
pub fn is_path(text: &str) -> bool {
    !text.is_empty() && scan_path(text, 0) == Ok(text.len())
}

/// Checks `domain` against the grammar's `domainAndPort`, anchored.
fn scan_domain(domain: &[u8]) -> Result<(), (ExpectedPart, usize)> {
    let host_end = if domain.first() == Some(&b'[') {
        let inner = domain[1..].iter().take_while(|b| b.is_ascii_hexdigit() || **b == b':').count();
        if inner == 0 || domain.get(1 + inner) != Some(&b']') {
            return Err((ExpectedPart::ClosingBracket, 1 + inner));
        }
        inner + 2
    } else {
        let end = domain.iter().position(|&b| b == b':').unwrap_or(domain.len());
        scan_host(&domain[..end])?;
        end
    };
    match &domain[host_end..] {
        [] => Ok(()),
        [b':', digits @ ..] => match digits.iter().position(|b| !b.is_ascii_digit()) {
            None if !digits.is_empty() => Ok(()),
            bad => Err((ExpectedPart::Port, host_end + 1 + bad.unwrap_or(0))),
        },
        _ => Err((ExpectedPart::Port, host_end)),
    }
}

/// Checks `host` against the grammar's `domainName`: labels of letters, digits and inner
/// hyphens, joined by dots.
fn scan_host(host: &[u8]) -> Result<(), (ExpectedPart, usize)> {
    let mut start = 0;
    loop {
        let label = &host[start..];
        let length = run(label, LABEL);
        let end = start + length;
        let is_end = host.get(end).is_none_or(|&b| b == b'.');
        // The error names a character that no label may contain before a misplaced hyphen.
        if !is_end {
            return Err((ExpectedPart::Domain, end));
        }
        if length == 0 || label[0] == b'-' {
            return Err((ExpectedPart::Domain, start));
        }
        if label[length - 1] == b'-' {
            return Err((ExpectedPart::Domain, end - 1));
        }
        if end == host.len() {
            return Ok(());
        }
        start = end + 1;
    }
}

/// Returns the end of the path that begins at `start`.
fn scan_path(input: &str, start: usize) -> Result<usize, ReferenceError> {
    let bytes = input.as_bytes();
    let mut at = start;
    loop {
        let length = scan_component(&bytes[at..]);
        if length == 0 {
            return Err(error(input, ExpectedPart::PathComponent, at));
        }
        at += length;
        match bytes.get(at) {
            Some(b'/') => at += 1,
            // A separator must be followed by another run of letters and digits.
            Some(b'.' | b'_' | b'-') => {
                let run = bytes[at..].iter().take_while(|b| matches!(b, b'.' | b'_' | b'-'));
                // The error is at the separator itself (`a..b`, `a___b`) or at the character
                // after it.
                let run = run.count();
                let separator = scan_separator(&bytes[at..]);
                let wrong = if separator < run { at + separator } else { at + run };
                return Err(error(input, ExpectedPart::PathComponent, wrong));
            }
            _ => return Ok(at),
        }
    }
}

/// Returns the length of the `pathComponent` at the beginning of `bytes`; 0 if there is none.
fn scan_component(bytes: &[u8]) -> usize {
    let mut end = run(bytes, LOWER);
    if end == 0 {
        return 0;
    }
    loop {
        let separator = scan_separator(&bytes[end..]);
        if separator == 0 {
            return end;
        }
        match run(&bytes[end + separator..], LOWER) {
            0 => return end,
            more => end += separator + more,
        }
    }
}

/// Returns the length of the `separator` at the beginning of `bytes`: `.`, `_`, `__` or
/// hyphens.
fn scan_separator(bytes: &[u8]) -> usize {
    match bytes {
        [b'_', b'_', ..] => 2,
        [b'.' | b'_', ..] => 1,
        _ => bytes.iter().take_while(|b| **b == b'-').count(),
    }
}

/// Returns the digest that begins at `start` and must extend to the end.
fn scan_digest(input: &str, start: usize) -> Result<&str, ReferenceError> {
    let text = &input[start..];
    let named = text.split_once(':').and_then(|(name, hex)| Some((hex_digits(name)?, hex)));
    let Some((digits, hex)) = named else {
        return Err(error(input, ExpectedPart::Algorithm, start));
    };
    // No early exit, so that the compiler compares many bytes at once.
    let all_hex = hex.bytes().fold(true, |all, b| all & is_lower_hex(b));
    if hex.len() != digits || !all_hex {
        let good = hex.bytes().take_while(|b| is_lower_hex(*b)).count();
        let hex_at = input.len() - hex.len();
        return Err(error(input, ExpectedPart::Hex(digits), hex_at + good.min(digits)));
    }
    Ok(text)
}

/// Returns the number of hex digits of a digest by `algorithm`; `None` if Go's go-digest has no
/// such algorithm.
///
/// The three algorithms are registered in every binary that links Go's `crypto/sha256` and
/// `crypto/sha512`.
fn hex_digits(algorithm: &str) -> Option<usize> {
    match algorithm {
        "sha256" => Some(64),
        "sha384" => Some(96),
        "sha512" => Some(128),
        _ => None,
    }
}

#[cold]
fn error(input: &str, expected: ExpectedPart, at: usize) -> ReferenceError {
    // A scan by bytes may stop inside a character: the error names the whole character.
    let at = input.floor_char_boundary(at);
    let character = input[..at].chars().count() + 1;
    ReferenceError { expected, at, character, found: input[at..].chars().next() }
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
