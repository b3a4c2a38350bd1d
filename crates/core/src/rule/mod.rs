//! Rules: the image swap format and its effect on references.
//!
//! [`parse`] reads the text; [`RuleSet`] evaluates the dialect `canonical`.

pub mod parse;
pub mod redact;

mod convert;
mod imageswap;
mod index;
mod pattern;
mod query;
mod ruleset;
mod source;
mod target;
mod trace;

pub use self::convert::Converted;
pub use self::imageswap::ImageSwap;
pub use self::index::RuleId;
pub use self::parse::{MapForm, Rule, RuleKind};
pub(crate) use self::pattern::Pattern;
pub use self::ruleset::{Decision, Reason, RuleSet};
pub use self::source::RuleSource;
pub(crate) use self::source::is_below;
pub use self::target::{Target, TargetError};
pub use self::trace::{StageResult, TraceStage, TraceStep};

#[cfg(test)]
mod tests;
