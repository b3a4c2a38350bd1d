//! Errors of the reader: the expected token and its byte.

use std::fmt;

use crate::position::Position;

/// A result with a boxed error. The success value then fits a register, and errors are rare.
pub type Result<T> = std::result::Result<T, Box<SyntaxError>>;

/// A position of invalid JSON. The message quotes no text, which may contain a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}{}", if *.at_end { ", found the end" } else { "" })]
pub struct SyntaxError {
    /// The expected token.
    pub expected: ExpectedToken,
    /// Offset of the byte at which the token is expected.
    pub at: usize,
    /// True if the text ends at this byte.
    pub at_end: bool,
}

impl SyntaxError {
    /// Returns the line and column of the error in `bytes`, the text that was read.
    pub fn place(&self, bytes: &[u8]) -> Position {
        let before = bytes.get(..self.at).unwrap_or(bytes);
        let is_newline = |byte: &u8| *byte == b'\n';
        let line = before.split(is_newline).count();
        let beginning = before.rsplit(is_newline).next().unwrap_or_default();
        // Continuation bytes of UTF-8 are not counted.
        let column = beginning.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        Position { line, column: column + 1 }
    }
}

/// A token that JSON requires at the byte of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedToken {
    /// An object, array, string, number, `true`, `false` or `null`.
    Value,
    /// A member's name.
    Key,
    /// The `:` after a member's name.
    Colon,
    /// `,` or `}`.
    CommaOrBrace,
    /// `,` or `]`.
    CommaOrBracket,
    /// The bracket that ends an object or array.
    Bracket,
    /// The `"` that ends a string.
    Quote,
    /// An escape sequence in place of a control character in a string.
    NoControl,
    /// A character of `"\/bfnrtu` after a backslash, and four hex digits after `\u`.
    Escape,
    /// UTF-8.
    Utf8,
    /// A digit.
    Digit,
    /// The rest of `true`, `false` or `null`.
    Literal,
    /// The end of the text.
    End,
}

impl fmt::Display for ExpectedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Value => "a value",
            Self::Key => "a member's name in quotes",
            Self::Colon => "':'",
            Self::CommaOrBrace => "',' or '}'",
            Self::CommaOrBracket => "',' or ']'",
            Self::Bracket => "'}' or ']'",
            Self::Quote => "the '\"' that ends the string",
            Self::NoControl => "an escape sequence in place of a control character",
            Self::Escape => "an escape sequence (one of \"\\/bfnrt, or u and four hex digits)",
            Self::Utf8 => "UTF-8",
            Self::Digit => "a digit",
            Self::Literal => "'true', 'false' or 'null'",
            Self::End => "the end",
        })
    }
}
