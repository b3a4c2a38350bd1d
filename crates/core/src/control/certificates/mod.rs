//! Rotation of the webhook's certificates, in an order in which no handshake fails.
//!
//! API servers trust the published authorities (`caBundle`), and a replica serves the leaf that
//! it read last. Both follow a change with a delay.
//!
//! So a new authority is created and published in addition to the old one. It signs only after
//! every API server has read it. The old one is dropped only after every replica serves a leaf of
//! the new one.
//!
//! ```text
//! authority  A       A→B, A stays trusted      A dropped
//! published  A       A+B                       B
//! leaf       by A            by B (after SETTLE)
//! ```
//!
//! Every step is decided from stored objects, so that a controller can continue after a crash
//! between any two of them.

use crate::declaration::UnixTime;

const DAY: UnixTime = 24 * 60 * 60;
/// Lifetime of an authority, in seconds.
pub const AUTHORITY_LIFE: UnixTime = 365 * DAY;
/// Lifetime of a leaf, in seconds.
pub const LEAF_LIFE: UnixTime = 30 * DAY;
/// Seconds by which a certificate is valid before it is made, since clocks differ. API servers
/// accept it even if the controller's clock is ahead of their own by almost an hour.
pub const BACKDATE: UnixTime = 60 * 60;
/// Seconds after which every API server has read a published authority, and every replica its
/// leaf. Both watch, with a delay of a second or two.
pub const SETTLE: UnixTime = 60;

/// Period of validity of a certificate, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Beginning of validity.
    pub not_before: UnixTime,
    /// End of validity, exclusive.
    pub not_after: UnixTime,
}

impl Validity {
    /// Creates a period from [`BACKDATE`] before `now` to `life` after it.
    pub const fn of(now: UnixTime, life: UnixTime) -> Self {
        Self { not_before: now.saturating_sub(BACKDATE), not_after: now + life }
    }

    /// Returns true if `now` is within the period.
    pub const fn holds(&self, now: UnixTime) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// Returns the intersection with `other`: a certificate is worthless after its authority
    /// has expired.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// Returns the time at which a third of the lifetime has passed.
    const fn fresh_until(&self) -> UnixTime {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 3
    }

    /// Returns the time at which two thirds of the lifetime have passed and the next
    /// certificate is due.
    pub const fn due(&self) -> UnixTime {
        self.not_before + self.not_after.saturating_sub(self.not_before) / 3 * 2
    }
}

/// Identity of an authority: the PEM of its certificate.
pub type AuthorityId = String;

/// The stored authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Identity of the authority that signs next.
    pub id: AuthorityId,
    /// Period of validity.
    pub validity: Validity,
    /// Authority that signed before and is still trusted; `None` outside of a rotation.
    pub previous: Option<AuthorityId>,
}

/// The stored leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Authority that signed the leaf, as stored with it.
    pub issuer: AuthorityId,
    /// Period in which both the leaf and its issuer are valid.
    pub validity: Validity,
    /// True if the leaf has all required names and its key belongs to it.
    pub fits: bool,
}

/// Published authorities, which API servers trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Registered authorities.
    pub ids: Vec<AuthorityId>,
    /// Time since which the controller has observed exactly this registration, by its own
    /// clock.
    pub since: UnixTime,
}

/// The next step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// Create an authority. A stored and valid one becomes the previous one.
    NewAuthority,
    /// Create a leaf, signed by the stored authority.
    NewLeaf,
    /// Drop the previous authority from the trusted ones.
    ForgetPrevious,
}

/// Returns the step that is due at `now`; `None` if there is none.
pub fn next(
    now: UnixTime,
    authority: Option<&Authority>,
    leaf: Option<&Leaf>,
    published: &Published,
) -> Option<RotationStep> {
    let Some(authority) = authority.filter(|it| it.validity.holds(now)) else {
        return Some(RotationStep::NewAuthority);
    };
    let Some(leaf) = leaf.filter(|it| it.fits && it.validity.holds(now)) else {
        // No replica can serve, so no order of steps can break a handshake.
        return Some(RotationStep::NewLeaf);
    };
    if leaf.issuer != authority.id {
        let known = published.ids.contains(&authority.id);
        // Without a registration no API server calls the webhook.
        let unregistered = published.ids.is_empty();
        let settled = now >= published.since.saturating_add(SETTLE);
        return (unregistered || (known && settled)).then_some(RotationStep::NewLeaf);
    }
    if authority.previous.is_some() {
        let issued = leaf.validity.not_before + BACKDATE;
        return (now >= issued.saturating_add(SETTLE)).then_some(RotationStep::ForgetPrevious);
    }
    if now >= authority.validity.due() {
        // Until the new authority may sign, the leaf cannot be renewed. A fresh leaf outlives a
        // rotation, however often that is interrupted.
        let is_fresh = now < leaf.validity.fresh_until();
        return Some(if is_fresh { RotationStep::NewAuthority } else { RotationStep::NewLeaf });
    }
    (now >= leaf.validity.due()).then_some(RotationStep::NewLeaf)
}

/// Returns the authorities to publish, each once. They are the one that signs next, the one
/// that signed before, and the issuer of the served leaf.
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

/// Returns the authorities to publish for a leaf of another owner (`tls.existingSecret`). They
/// are its authority, and those published before until every replica has followed.
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
