//! Rules: the image swap format, and what it makes of a reference.

use std::borrow::Cow;

use crate::reference::{Reference, ReferenceError};

/// Why a reference became what it became.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It already points at a target.
    AlreadyMirrored,
    /// An `[EXACT]` rule.
    Exact,
    /// A `[REPLACE]` rule.
    Replace,
    /// A rule for its host, or host and path.
    Rule,
    /// The `default` rule.
    Default,
    /// No rule speaks of it.
    NoRule,
    /// The rule that speaks of it has no target: leave alone.
    Disabled,
    /// `noswap_wildcards` names a part of it.
    Noswap,
    /// The result would be no valid reference.
    InvalidResult,
}

impl Reason {
    /// Every reason, in the order of the table of metrics.
    pub const ALL: [Self; 9] = [
        Self::AlreadyMirrored,
        Self::Exact,
        Self::Replace,
        Self::Rule,
        Self::Default,
        Self::NoRule,
        Self::Disabled,
        Self::Noswap,
        Self::InvalidResult,
    ];

    /// The reason's name in every output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyMirrored => "already-mirrored",
            Self::Exact => "exact",
            Self::Replace => "replace",
            Self::Rule => "rule",
            Self::Default => "default",
            Self::NoRule => "no-rule",
            Self::Disabled => "disabled",
            Self::Noswap => "noswap",
            Self::InvalidResult => "invalid-result",
        }
    }
}

/// What the rules make of one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'i> {
    /// The image to use: the input itself, byte for byte, when nothing changes.
    pub image: Cow<'i, str>,
    /// Why.
    pub reason: Reason,
}

impl Decision<'_> {
    /// Whether [`Self::image`] differs from the input.
    pub const fn changed(&self) -> bool {
        matches!(self.image, Cow::Owned(_))
    }
}

/// Compiled rules.
#[derive(Debug, Default)]
pub struct RuleSet {
    hosts: std::collections::HashMap<String, String>,
}

impl RuleSet {
    /// TEMPORARY: the real engine is being written.
    pub fn temporary(list: &str) -> Self {
        let hosts = list
            .split(',')
            .filter_map(|item| item.split_once("::"))
            .map(|(source, target)| (source.to_owned(), target.to_owned()))
            .collect();
        Self { hosts }
    }

    /// What `image` becomes.
    ///
    /// # Errors
    /// If `image` is no valid reference.
    pub fn swap<'i>(&self, image: &'i str) -> Result<Decision<'i>, ReferenceError> {
        let reference = Reference::parse(image)?;
        let keep = |reason| Decision { image: Cow::Borrowed(image), reason };
        if self.hosts.values().any(|target| image.starts_with(target.as_str())) {
            return Ok(keep(Reason::AlreadyMirrored));
        }
        let Some(target) = self.hosts.get(reference.domain()) else {
            return Ok(keep(Reason::NoRule));
        };
        let (prefix, path) = reference.path_parts();
        let mut image = format!("{target}/{prefix}{path}");
        if let Some(tag) = reference.tag() {
            image.push(':');
            image.push_str(tag);
        }
        if let Some(digest) = reference.digest() {
            image.push('@');
            image.push_str(digest);
        }
        Ok(Decision { image: Cow::Owned(image), reason: Reason::Rule })
    }
}
