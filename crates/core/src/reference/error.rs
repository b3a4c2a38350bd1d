//! Errors of invalid image references: the expected and the found character.

use std::fmt;

/// A text that `ParseNormalizedNamed` rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub struct ReferenceError {
    /// The expected part.
    pub expected: ExpectedPart,
    /// The byte in the input, counted from 0.
    pub at: usize,
    /// The character in the input, counted from 1.
    pub character: usize,
    /// The character found there; `None` at the end of the input.
    pub found: Option<char>,
}

/// The part of a reference that is expected where parsing stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExpectedPart {
    /// Any name: the input is empty.
    #[error("an image name")]
    Name,
    /// A repository name, not the 64 hex digits of an image ID.
    #[error("an image name, not 64 hex digits (an image ID)")]
    NameNotIdentifier,
    /// An image name without `https://` or another scheme.
    #[error("an image name without a scheme such as https://")]
    NoScheme,
    /// A registry host.
    #[error("a registry host (letters, digits, '-' and '.')")]
    Domain,
    /// The digits of a port.
    #[error("a port number")]
    Port,
    /// The end of an IPv6 address.
    #[error("hex digits, ':' and then ']'")]
    ClosingBracket,
    /// The beginning of a path component.
    #[error("a lowercase letter or a digit")]
    PathComponent,
    /// A lowercase letter.
    #[error("a lowercase letter (repository names have no uppercase)")]
    Lowercase,
    /// The end, `/`, `:` or `@` after a path component.
    #[error("'/', ':', '@', a name character or the end")]
    PathEnd,
    /// A path of at most 255 bytes.
    #[error("a path of at most 255 bytes")]
    ShorterPath,
    /// The first character of a tag.
    #[error("a letter, digit or '_' to begin the tag")]
    Tag,
    /// The end or `@` after a tag.
    #[error("a tag character, '@' or the end")]
    TagEnd,
    /// A tag of at most 128 bytes.
    #[error("a tag of at most 128 bytes")]
    ShorterTag,
    /// `sha256:`, `sha384:` or `sha512:`.
    #[error("'sha256:', 'sha384:' or 'sha512:'")]
    Algorithm,
    /// The given number of lowercase hex digits, followed by the end.
    #[error("exactly {0} lowercase hex digits")]
    Hex(usize),
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at character {}, found ", self.expected, self.character)?;
        match self.found {
            Some(character) => write!(f, "{character:?}"),
            None => f.write_str("the end"),
        }
    }
}
