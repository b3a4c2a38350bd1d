//! The parser: one pass over the bytes, no regular expression.

use super::{
    Algorithm, DOCKER_DOMAIN, Expected, LEGACY_DOCKER_DOMAIN, LIBRARY, Reference, ReferenceError,
};

/// `RepositoryNameTotalLengthMax`: bytes of the path, the domain not counted.
const PATH_MAX: usize = 255;
/// `[\w][\w.-]{0,127}`.
const TAG_MAX: usize = 128;
/// An image ID: 64 lowercase hex digits (`anchoredIdentifierRegexp`).
const IDENTIFIER: usize = 64;

pub(super) fn reference(input: &str) -> Result<Reference<'_>, ReferenceError> {
    let fail = |expected, at| Err(error(input, expected, at));
    if input.is_empty() {
        return fail(Expected::Name, 0);
    }
    if input.len() == IDENTIFIER && input.bytes().all(is_lower_hex) {
        return fail(Expected::NameNotIdentifier, 0);
    }
    let (domain, path_at) = split_domain(input);
    let rest = &input[path_at..];

    // `strings.ToLower(remote) != remote`: asked before the grammar, so that
    // `Nginx` is told about its case and not about a character.
    let upper = rest.bytes().take_while(|&b| b != b':').position(|b| b.is_ascii_uppercase());
    if let Some(upper) = upper {
        // In `name@SHA256:…` what is uppercase is the algorithm.
        let in_digest = rest[..upper].contains('@');
        let expected = if in_digest { Expected::Algorithm } else { Expected::Lowercase };
        return fail(expected, path_at + upper);
    }

    let mut domain = domain;
    let mut path_start = path_at;
    if domain != DOCKER_DOMAIN
        && let Err((expected, at)) = scan_domain(domain.as_bytes())
    {
        // The grammar's domain is optional: a first component that is none may
        // still be a path component (`a_b.c/d`).
        if scan_component(domain.as_bytes()) != domain.len() {
            return fail(expected, at);
        }
        domain = "";
        path_start = 0;
    }

    let bytes = input.as_bytes();
    let path_end = scan_path(input, path_start)?;
    let path = &input[path_start..path_end];
    let prefix = if domain == DOCKER_DOMAIN && !rest.contains('/') { LIBRARY } else { "" };
    if prefix.len() + path.len() > PATH_MAX {
        return fail(Expected::ShorterPath, path_start + PATH_MAX - prefix.len());
    }

    let mut at = path_end;
    let mut tag = None;
    if bytes.get(at) == Some(&b':') {
        let start = at + 1;
        let length = bytes[start..].iter().take_while(|&&b| is_tag(b)).count();
        if length == 0 || matches!(bytes[start], b'.' | b'-') {
            return fail(Expected::Tag, start);
        }
        if length > TAG_MAX {
            return fail(Expected::ShorterTag, start + TAG_MAX);
        }
        at = start + length;
        tag = Some(&input[start..at]);
    }
    let digest = match bytes.get(at) {
        None => None,
        Some(b'@') => Some(scan_digest(input, at + 1)?),
        Some(_) if tag.is_some() => return fail(Expected::TagEnd, at),
        Some(_) => return fail(Expected::PathEnd, at),
    };
    Ok(Reference { domain, prefix, path, tag, digest })
}

/// `splitDockerDomain`: the domain, and the byte at which the rest begins.
fn split_domain(input: &str) -> (&str, usize) {
    let Some((first, _)) = input.split_once('/') else {
        return (DOCKER_DOMAIN, 0);
    };
    let rest = first.len() + 1;
    if first == LEGACY_DOCKER_DOMAIN {
        (DOCKER_DOMAIN, rest)
    } else if first == "localhost"
        || first.bytes().any(|b| matches!(b, b'.' | b':'))
        || first.chars().any(char::is_uppercase)
    {
        (first, rest)
    } else {
        (DOCKER_DOMAIN, 0)
    }
}

/// Is `text` a domain by the reference grammar, that is, a host with or
/// without a port? Whether a reference's first component is *taken* for one is
/// another question: `registry` is a domain here, and a name there.
pub fn is_domain(text: &str) -> bool {
    scan_domain(text.as_bytes()).is_ok()
}

/// Is `text` a valid repository path: one or more components?
pub fn is_path(text: &str) -> bool {
    !text.is_empty() && scan_path(text, 0) == Ok(text.len())
}

/// `domainAndPort`, anchored.
fn scan_domain(domain: &[u8]) -> Result<(), (Expected, usize)> {
    let host_end = if domain.first() == Some(&b'[') {
        let inner = domain[1..].iter().take_while(|b| is_hex(**b) || **b == b':').count();
        if inner == 0 || domain.get(1 + inner) != Some(&b']') {
            return Err((Expected::ClosingBracket, 1 + inner));
        }
        inner + 2
    } else {
        let end = domain.iter().position(|&b| b == b':').unwrap_or(domain.len());
        scan_host(&domain[..end])?;
        end
    };
    match domain.get(host_end) {
        None => Ok(()),
        Some(b':') => {
            let digits = &domain[host_end + 1..];
            match digits.iter().position(|b| !b.is_ascii_digit()) {
                Some(bad) => Err((Expected::Port, host_end + 1 + bad)),
                None if digits.is_empty() => Err((Expected::Port, host_end + 1)),
                None => Ok(()),
            }
        }
        Some(_) => Err((Expected::Port, host_end)),
    }
}

/// `domainName`: labels of letters, digits and inner hyphens, joined by dots.
fn scan_host(host: &[u8]) -> Result<(), (Expected, usize)> {
    let mut at = 0;
    for label in host.split(|&b| b == b'.') {
        let bad = label.iter().position(|b| !b.is_ascii_alphanumeric() && *b != b'-');
        if let Some(bad) = bad {
            return Err((Expected::Domain, at + bad));
        }
        match (label.first(), label.last()) {
            (Some(first), Some(last)) if *first != b'-' && *last != b'-' => {}
            (Some(b'-') | None, _) => return Err((Expected::Domain, at)),
            _ => return Err((Expected::Domain, at + label.len() - 1)),
        }
        at += label.len() + 1;
    }
    Ok(())
}

/// The path that begins at `start`: where it ends.
fn scan_path(input: &str, start: usize) -> Result<usize, ReferenceError> {
    let bytes = input.as_bytes();
    let mut at = start;
    loop {
        let length = scan_component(&bytes[at..]);
        if length == 0 {
            return Err(error(input, Expected::PathComponent, at));
        }
        at += length;
        match bytes.get(at) {
            Some(b'/') => at += 1,
            // A separator must be followed by another run of letters and digits.
            Some(b'.' | b'_' | b'-') => {
                let run = bytes[at..].iter().take_while(|b| matches!(b, b'.' | b'_' | b'-'));
                // What is wrong is the separator itself (`a..b`, `a___b`) or what follows it.
                let run = run.count();
                let separator = scan_separator(&bytes[at..]);
                let wrong = if separator < run { at + separator } else { at + run };
                return Err(error(input, Expected::PathComponent, wrong));
            }
            _ => return Ok(at),
        }
    }
}

/// `pathComponent` at the beginning of `bytes`: its length, 0 if there is none.
fn scan_component(bytes: &[u8]) -> usize {
    let run = |at: usize| bytes[at..].iter().take_while(|b| is_lower(**b)).count();
    let mut end = run(0);
    if end == 0 {
        return 0;
    }
    loop {
        let separator = scan_separator(&bytes[end..]);
        if separator == 0 {
            return end;
        }
        match run(end + separator) {
            0 => return end,
            more => end += separator + more,
        }
    }
}

/// `separator` at the beginning of `bytes`: `.`, `_`, `__` or hyphens.
fn scan_separator(bytes: &[u8]) -> usize {
    match bytes {
        [b'_', b'_', ..] => 2,
        [b'.' | b'_', ..] => 1,
        _ => bytes.iter().take_while(|b| **b == b'-').count(),
    }
}

/// The digest that begins at `start` and must reach the end.
fn scan_digest(input: &str, start: usize) -> Result<&str, ReferenceError> {
    let text = &input[start..];
    let named = text.split_once(':').and_then(|(name, hex)| {
        Algorithm::from_name(name).map(|algorithm| (algorithm.hex_digits(), name.len() + 1, hex))
    });
    let Some((digits, hex_at, hex)) = named else {
        return Err(error(input, Expected::Algorithm, start));
    };
    let good = hex.bytes().take_while(|b| is_lower_hex(*b)).count();
    if good != hex.len() || good != digits {
        return Err(error(input, Expected::Hex(digits), start + hex_at + good.min(digits)));
    }
    Ok(text)
}

#[cold]
fn error(input: &str, expected: Expected, at: usize) -> ReferenceError {
    // A scan by bytes may stop inside a character: name the whole one.
    let at = input.floor_char_boundary(at);
    ReferenceError { expected, at, found: input[at..].chars().next() }
}

const fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

const fn is_hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

const fn is_tag(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}
