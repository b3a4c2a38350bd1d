//! A lazy JSON reader, and writers of JSON.
//!
//! A decision about an admission review needs some fifty bytes in a thousand. Parsing the review
//! into types, or only validating it, costs more than the decision. The API server has parsed the
//! review before, and parses the patched object again. Therefore:
//!
//! - Objects and arrays that the caller enters, and the strings, numbers and words in them, must
//!   follow RFC 8259. A string that the caller takes must be UTF-8.
//! - In a skipped value, the numbers of opening and closing brackets must be equal, and strings
//!   must end. The rest is not checked, and depth is unlimited.
//!
//! Every valid JSON text is read correctly. API servers send no invalid text, and another client
//! gains nothing by a text that passes.

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
    error::{ExpectedToken, Result, SyntaxError},
    read::JsonReader,
    write::{push_nested_plain, push_nested_string, push_number, push_string},
};

#[cfg(test)]
mod tests;
