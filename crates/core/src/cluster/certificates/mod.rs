//! The rotation of our certificates, in an order in which no handshake fails.
//!
//! An API server trusts the authorities that are published (`caBundle`), a
//! replica serves the leaf that it read last, and both learn of a change a
//! little later than it is made. So a new authority is made beside the old one,
//! published, and signs only when every API server knows it; the old one is
//! dropped only when every replica serves what the new one signed.
//!
//! ```text
//! authority  A       A→B, A stays trusted      A dropped
//! published  A       A+B                       B
//! leaf       by A            by B (after SETTLE)
//! ```
//!
//! Every step is decided from what is stored, so a controller that dies
//! between two of them leaves nothing that the next one cannot go on from.

use crate::declaration::UnixTime;

const DAY: UnixTime = 24 * 60 * 60;
/// Seconds that an authority lives.
pub const AUTHORITY_LIFE: UnixTime = 365 * DAY;
/// Seconds that a leaf lives.
pub const LEAF_LIFE: UnixTime = 30 * DAY;
/// Clocks differ: a certificate is valid this many seconds before it is made. API servers
/// accept it even if the controller's clock is ahead of theirs by almost an hour.
pub const BACKDATE: UnixTime = 60 * 60;
/// Seconds after which every API server has read what is published, and every
/// replica the leaf. Both watch, and learn within a second or two.
pub const SETTLE: UnixTime = 60;

/// When a certificate is valid, seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub not_before: UnixTime,
    /// Until when.
    pub not_after: UnixTime,
}

impl Validity {
    /// From a little before `now`, for `life`.
    pub const fn of(now: UnixTime, life: UnixTime) -> Self {
        Self { not_before: now.saturating_sub(BACKDATE), not_after: now + life }
    }

    /// Whether it is valid at `now`.
    pub const fn holds(&self, now: UnixTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// While both are valid: nobody believes what an expired authority has signed.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// When a third of its life is over.
    const fn fresh_until(&self) -> UnixTime {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 3
    }

    /// When two thirds of its life are over: time for the next one.
    pub const fn due(&self) -> UnixTime {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 3 * 2
    }
}

/// Something that tells one authority from another: the PEM of its certificate.
pub type AuthorityId = String;

/// The stored authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Which one signs next.
    pub id: AuthorityId,
    /// When it is valid.
    pub validity: Validity,
    /// Which one signed before, while it is still trusted.
    pub previous: Option<AuthorityId>,
}

/// The stored leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Who signed it, as stored beside it.
    pub issuer: AuthorityId,
    /// When it is valid, and its issuer is, too.
    pub validity: Validity,
    /// Whether it names what it has to, and its key belongs to it.
    pub fits: bool,
}

/// What API servers trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The authorities that are registered.
    pub ids: Vec<AuthorityId>,
    /// Since when we have seen them registered just so; by our own clock.
    pub since: UnixTime,
}

/// The next thing to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new authority; one that is stored and valid becomes the previous one.
    NewAuthority,
    /// A leaf, signed by the stored authority.
    NewLeaf,
    /// The previous authority is no longer trusted.
    ForgetPrevious,
}

/// The next step, if there is one to take at `now`.
pub fn next(
    now: UnixTime,
    authority: Option<&Authority>,
    leaf: Option<&Leaf>,
    published: &Published,
) -> Option<Step> {
    let Some(authority) = authority.filter(|it| it.validity.holds(now)) else {
        return Some(Step::NewAuthority);
    };
    let Some(leaf) = leaf.filter(|it| it.fits && it.validity.holds(now)) else {
        // Nothing can be served: there is no order to keep.
        return Some(Step::NewLeaf);
    };
    if leaf.issuer != authority.id {
        let known = published.ids.contains(&authority.id);
        // Nobody asks us who could be told the wrong thing.
        let nobody = published.ids.is_empty();
        let settled = now >= published.since.saturating_add(SETTLE);
        return (nobody || (known && settled)).then_some(Step::NewLeaf);
    }
    if authority.previous.is_some() {
        let issued = leaf.validity.not_before + BACKDATE;
        return (now >= issued.saturating_add(SETTLE)).then_some(Step::ForgetPrevious);
    }
    if now >= authority.validity.due() {
        // Until the new authority may sign there is no leaf: a fresh one outlives
        // a rotation, however often that is interrupted.
        let is_fresh = now < leaf.validity.fresh_until();
        return Some(if is_fresh { Step::NewAuthority } else { Step::NewLeaf });
    }
    (now >= leaf.validity.due()).then_some(Step::NewLeaf)
}

/// The authorities to publish: the one that signs next, the one that signed
/// before, and the one that signed what is served, each once.
pub fn trusted(authority: Option<&Authority>, leaf: Option<&Leaf>) -> Vec<AuthorityId> {
    let mut ids: Vec<AuthorityId> = Vec::new();
    let stored = authority.into_iter().flat_map(|it| [Some(&it.id), it.previous.as_ref()]);
    for id in stored.chain([leaf.map(|it| &it.issuer)]).flatten() {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

/// What to publish for a leaf that somebody else keeps (`tls.existingSecret`):
/// its authority, and those published before until every replica has followed.
pub fn trusted_while_changing(
    wanted: &[AuthorityId],
    published: &Published,
    changed: UnixTime,
    now: UnixTime,
) -> Vec<AuthorityId> {
    let mut ids = wanted.to_vec();
    if now < changed.saturating_add(SETTLE) {
        ids.extend(published.ids.iter().filter(|id| !wanted.contains(id)).cloned());
    }
    ids
}

#[cfg(test)]
mod tests;
