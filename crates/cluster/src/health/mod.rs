//! Whether the declared registry can be reached: its name, its certificate, its
//! API, the credential. Never on the path of a pod.

mod ask;
mod tls;

use std::time::Duration;

use image_swap_core::{
    cluster::certificates::Validity,
    declaration::{Registry, UnixTime},
    registry::host_and_port,
    status::{RegistryOutcome, RegistryStatus},
};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// Time for all of it.
const PATIENCE: Duration = Duration::from_secs(15);
const HTTP: u16 = 80;
const HTTPS: u16 = 443;
const DAY: UnixTime = 24 * 60 * 60;
/// A certificate that lives this long or less is to be renewed.
const SOON: UnixTime = 14 * DAY;

const OK: RegistryOutcome = RegistryOutcome::Ok;
const UNVERIFIED: RegistryOutcome = RegistryOutcome::Unverified;
const UNRESOLVED: RegistryOutcome = RegistryOutcome::Unresolved;
const UNREACHABLE: RegistryOutcome = RegistryOutcome::Unreachable;
const UNTRUSTED: RegistryOutcome = RegistryOutcome::Untrusted;
const EXPIRED: RegistryOutcome = RegistryOutcome::Expired;
const UNAUTHORIZED: RegistryOutcome = RegistryOutcome::Unauthorized;
const UNEXPECTED: RegistryOutcome = RegistryOutcome::Unexpected;

type Found = (RegistryOutcome, String);

/// Checks `registry`. The credential is sent to its own host alone, and only
/// over a connection whose certificate was verified.
pub(crate) async fn check(registry: Registry, now: UnixTime) -> RegistryStatus {
    let mut seen = None;
    let found = timeout(PATIENCE, attempt(&registry, &mut seen)).await;
    let (outcome, detail) = match found {
        Ok(Ok(found) | Err(found)) => found,
        Err(_) => (UNREACHABLE, format!("no answer within {} s", PATIENCE.as_secs())),
    };
    RegistryStatus {
        domain: registry.domain,
        outcome,
        detail,
        checked: now,
        expires: seen.map(|validity| validity.not_after),
        expires_soon: seen.is_some_and(|validity| expires_soon(validity, now)),
    }
}

/// Two weeks before its end, and of one that lives weeks a fifth of its life.
fn expires_soon(validity: Validity, now: UnixTime) -> bool {
    let life = validity.not_after.saturating_sub(validity.not_before);
    validity.not_after.saturating_sub(now) < SOON.min(life / 5)
}

async fn attempt(registry: &Registry, seen: &mut Option<Validity>) -> Result<Found, Found> {
    let stream = connect(registry).await?;
    if registry.plain_http {
        return ask::plain_version(registry, stream).await;
    }
    if registry.insecure {
        let detail = "its certificate is taken unseen (INSECURE): no more is tried";
        return Ok((UNVERIFIED, detail.into()));
    }
    let Some(trust) = tls::trust(registry.ca.pem()) else {
        let detail = "this pod knows no authorities, and CA_CERT is empty";
        return Ok((UNVERIFIED, detail.into()));
    };
    let (host, _) = host_and_port(&registry.domain, HTTPS);
    let (tls, validity) = tls::handshake(&trust, host, stream).await?;
    *seen = validity;
    let service = match ask::version(registry, tls).await? {
        ask::Answer::Found(found) => return Ok(found),
        ask::Answer::Tokens(service) => service,
    };
    // Such as Harbor: whether the credential is good, only the service knows.
    let (tls, _) = tls::handshake(&trust, host, connect(registry).await?).await?;
    ask::token(registry, &service, tls).await
}

async fn connect(registry: &Registry) -> Result<TcpStream, Found> {
    let default = if registry.plain_http { HTTP } else { HTTPS };
    let (host, port) = host_and_port(&registry.domain, default);
    let addresses = lookup_host((host, port)).await;
    let addresses: Vec<_> = addresses.map_err(|error| (UNRESOLVED, error.to_string()))?.collect();
    TcpStream::connect(&*addresses).await.map_err(|error| (UNREACHABLE, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_soon_depends_on_how_long_a_certificate_lives() {
        let year = Validity { not_before: 0, not_after: 365 * DAY };
        assert!(!expires_soon(year, 350 * DAY) && expires_soon(year, 352 * DAY));
        let half_a_day = Validity { not_before: 0, not_after: DAY / 2 };
        assert!(!expires_soon(half_a_day, DAY / 4) && expires_soon(half_a_day, DAY / 2 - 60));
    }
}
