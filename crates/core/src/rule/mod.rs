//! Rules: the image swap format, and what it makes of a reference.
//!
//! [`map`] reads the text, [`RuleSet`] answers for the dialect `canonical`.

pub mod map;
pub mod redact;

mod asked;
mod convert;
mod imageswap;
mod key;
mod pattern;
mod ruleset;
mod table;
mod target;
mod trace;

pub use self::convert::Converted;
pub use self::imageswap::ImageSwap;
pub use self::key::Key;
pub(crate) use self::key::is_below;
pub use self::map::{Form, Kind, Rule};
pub(crate) use self::pattern::Pattern;
pub use self::ruleset::{Decision, Reason, RuleSet};
pub use self::table::RuleId;
pub use self::target::{Target, TargetError};
pub use self::trace::{Outcome, Question, Step};

#[cfg(test)]
mod tests;
