//! The check of the declared registry. It is never on the path of a pod.

use image_swap_core::{
    control::certificates::Validity,
    declaration::{Registry, UnixTime},
    status::RegistryStatus,
};

use crate::pki;

const DAY: UnixTime = 24 * 60 * 60;
/// Longest time before the end of a certificate at which it expires soon.
const SOON: UnixTime = 14 * DAY;

/// Checks `registry`, and returns the result for reports.
pub(crate) async fn check(registry: Registry, now: UnixTime) -> RegistryStatus {
    let health = image_swap_registry::check(&registry).await;
    let validity = health.certificate.as_deref().and_then(pki::validity_of);
    RegistryStatus {
        domain: registry.domain,
        outcome: health.outcome,
        detail: health.detail,
        checked: now,
        expires: validity.map(|validity| validity.not_after),
        expires_soon: validity.is_some_and(|validity| expires_soon(validity, now)),
    }
}

/// Returns true from two weeks before the end of a certificate, or a fifth of its life if that is
/// shorter.
fn expires_soon(validity: Validity, now: UnixTime) -> bool {
    let life = validity.not_after.saturating_sub(validity.not_before);
    validity.not_after.saturating_sub(now) < SOON.min(life / 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warning_time_depends_on_life_of_certificate() {
        let year = Validity { not_before: 0, not_after: 365 * DAY };
        assert!(!expires_soon(year, 350 * DAY) && expires_soon(year, 352 * DAY));
        let half_a_day = Validity { not_before: 0, not_after: DAY / 2 };
        assert!(!expires_soon(half_a_day, DAY / 4) && expires_soon(half_a_day, DAY / 2 - 60));
    }
}
