//! JSON as bytes: a reader that takes what it is asked for and steps over the
//! rest, and the writing of strings.
//!
//! Of an admission review some fifty bytes in a thousand matter to a decision.
//! Reading it into types, or even validating it, costs more than deciding, and
//! the API server has parsed it before and parses the patched object again. So:
//!
//! - Objects and arrays that are gone into, and the strings, numbers and words in
//!   them, must follow RFC 8259; a string that is handed out must be UTF-8.
//! - Of what is stepped over, brackets must be balanced and strings must end.
//!   What else stands there is not looked at, however deep it nests.
//!
//! Every text that is JSON is read as such; a text that is none and still passes
//! could only come from a caller who is no API server and gains nothing by it.

mod block;
mod error;
mod read;
mod scan;
mod text;
mod write;

pub use self::error::{Expected, SyntaxError};
pub use self::read::Reader;
pub(crate) use self::write::{push_escaped, push_nested_plain, push_plain};
pub use self::write::{push_nested_string, push_number, push_string};

/// A result whose error is boxed: reading fails rarely and returns often, and so
/// success fits a register.
pub type Result<T> = std::result::Result<T, Box<SyntaxError>>;

#[cfg(test)]
mod tests;
