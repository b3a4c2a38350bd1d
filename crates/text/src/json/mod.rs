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

#[cfg(feature = "jsonc")]
pub mod edit;
mod error;
pub mod patch;
mod read;
mod scan;
mod simd;
mod string;
mod write;

pub use self::{
    error::{Expected, Result, SyntaxError},
    read::Reader,
    write::{push_nested_plain, push_nested_string, push_number, push_string},
};

#[cfg(test)]
mod tests;
