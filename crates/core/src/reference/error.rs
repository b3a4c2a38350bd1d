//! Why a text is no reference: what was expected, what was found, at which byte.

use std::fmt;

/// A text that `ParseNormalizedNamed` rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub struct ReferenceError {
    /// What should have stood there.
    pub expected: ExpectedPart,
    /// The byte in the input, counted from 0.
    pub at: usize,
    /// The character found there; `None` at the end of the input.
    pub found: Option<char>,
}

/// What a reference should have had at the byte where parsing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedPart {
    /// Anything at all: the input is empty.
    Name,
    /// A repository name, not the 64 hex digits of an image ID.
    NameNotIdentifier,
    /// A registry host.
    Domain,
    /// The digits of a port.
    Port,
    /// The end of an IPv6 address.
    ClosingBracket,
    /// The beginning of a path component.
    PathComponent,
    /// A lowercase letter.
    Lowercase,
    /// The end, `/`, `:` or `@` after a path component.
    PathEnd,
    /// A path of at most 255 bytes.
    ShorterPath,
    /// The first character of a tag.
    Tag,
    /// The end or `@` after a tag.
    TagEnd,
    /// A tag of at most 128 bytes.
    ShorterTag,
    /// `sha256:`, `sha384:` or `sha512:`.
    Algorithm,
    /// So many lowercase hex digits, and then the end.
    Hex(usize),
}

impl fmt::Display for ExpectedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "an image name",
            Self::NameNotIdentifier => "an image name, not 64 hex digits (an image ID)",
            Self::Domain => "a registry host (letters, digits, '-' and '.')",
            Self::Port => "a port number",
            Self::ClosingBracket => "hex digits, ':' and then ']'",
            Self::PathComponent => "a lowercase letter or a digit",
            Self::Lowercase => "a lowercase letter (repository names have no uppercase)",
            Self::PathEnd => "'/', ':', '@', a name character or the end",
            Self::ShorterPath => "a path of at most 255 bytes",
            Self::Tag => "a letter, digit or '_' to begin the tag",
            Self::TagEnd => "a tag character, '@' or the end",
            Self::ShorterTag => "a tag of at most 128 bytes",
            Self::Algorithm => "'sha256:', 'sha384:' or 'sha512:'",
            Self::Hex(digits) => {
                return write!(f, "exactly {digits} lowercase hex digits");
            }
        })
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}, found ", self.expected, self.at)?;
        match self.found {
            Some(character) => write!(f, "{character:?}"),
            None => f.write_str("the end"),
        }
    }
}
