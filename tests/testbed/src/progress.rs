//! Reports of long works.

/// Receives one line for each step of a long work.
pub type Progress<'a> = &'a dyn Fn(&str);
