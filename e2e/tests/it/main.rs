//! The page, end to end. Where a part is missing, CI fails and any other machine
//! is told what was skipped.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod page;
