//! The readiness of a controller. `helm upgrade --install --wait` waits for it, so that
//! the next pod is swapped when Helm returns.
//!
//! A controller becomes ready when the registration is in force: an API server has called
//! a replica by it, and ordinary pods are held by the wanted policy. The leader raises the
//! policy to `Fail` only after API servers have reached a replica. The kubelet looks at
//! the readiness every two seconds, which is longer than another API server takes to read
//! the registration. A controller that does not lead looks at the same things, and so an
//! upgrade is ready while the old controller leads. Once ready, a controller stays ready:
//! its readiness is about the installation, and the network that fails later is in the
//! policy, in Events and in `image-swap status`.

use std::time::Duration;

use image_swap_core::cluster::{
    policy::{Policy, Wanted},
    webhooks::{self, NOT_REACHED, PROBE_ANNOTATION, PROBE_LABEL, REACHED},
};
use k8s_openapi::api::{core::v1::ConfigMap, rbac::v1::ClusterRole};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use crate::{
    api::{self, MANAGER},
    controller::Settings,
    error::Error,
    release::{LEAVING, Release},
};

/// The limits of the wait for a registration in force. They keep a network that is broken
/// from holding up Helm and the rollout of a controller.
#[derive(Clone, Copy, Debug)]
pub struct ReadinessLimits {
    /// The time between two looks.
    pub period: Duration,
    /// The time for which replicas may be reached by a registration with another policy
    /// than the wanted one, as beside another program that swaps images.
    pub settle: Duration,
    /// The time for which the API server may not reach replicas, or not be asked.
    pub unreached: Duration,
    /// The time for all of it, also while no replica runs. Helm waits for replicas itself.
    pub total: Duration,
}

impl Default for ReadinessLimits {
    fn default() -> Self {
        Self {
            period: Duration::from_millis(500),
            settle: Duration::from_secs(10),
            unreached: Duration::from_mins(1),
            total: Duration::from_mins(5),
        }
    }
}

/// The state of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Installation {
    /// New pods are swapped, or an administrator withdrew the registration.
    InForce,
    /// The API server reaches a replica, and the policy is not the wanted one.
    Reached,
    /// No replica runs.
    NoReplica,
    /// Nothing is registered, or the API server does not reach a replica.
    Unreached,
}

/// Returns when the registration of the release is in force, or a limit has passed.
pub async fn in_force(client: &Client, settings: &Settings, limits: ReadinessLimits) {
    let begun = Instant::now();
    let (mut reached, mut unreached): (Option<Instant>, Option<Instant>) = (None, None);
    loop {
        let found = installation(client, settings).await.unwrap_or_else(|error| {
            debug!(%error, "the registration cannot be looked at");
            Installation::Unreached
        });
        let expired = |since: &mut Option<Instant>, limit| {
            since.get_or_insert_with(Instant::now).elapsed() >= limit
        };
        let is_expired = match found {
            Installation::InForce => {
                info!("ready: the registration is in force");
                return;
            }
            Installation::Reached => expired(&mut reached, limits.settle),
            Installation::Unreached => expired(&mut unreached, limits.unreached),
            Installation::NoReplica => false,
        };
        if is_expired || begun.elapsed() >= limits.total {
            warn!(?found, "ready, although new pods may not be swapped yet; see image-swap status");
            return;
        }
        sleep(limits.period).await;
    }
}

async fn installation(client: &Client, settings: &Settings) -> Result<Installation, Error> {
    let release = &settings.release;
    let anchors: Api<ClusterRole> = Api::all(client.clone());
    let anchor = api::get(&anchors, release.anchor()).await?;
    let annotations = anchor.and_then(|anchor| anchor.metadata.annotations).unwrap_or_default();
    if annotations.get(LEAVING).is_some_and(|mark| mark == "true") {
        return Ok(Installation::InForce);
    }
    let registration = api::get(&api::registrations(client), &release.admission()).await?;
    let registration = registration.and_then(|object| serde_json::to_value(object).ok());
    let entries = registration.as_ref().and_then(|it| it["webhooks"].as_array());
    if entries.is_none_or(Vec::is_empty) {
        return Ok(Installation::Unreached);
    }
    let wanted = if settings.policy == Wanted::Fail { Policy::Fail } else { Policy::Ignore };
    let reached = reached(client, release).await?;
    let is_wanted = webhooks::earned(registration.as_ref()) == wanted;
    if reached == Installation::Reached && is_wanted {
        return Ok(Installation::InForce);
    }
    Ok(reached)
}

/// Creates the probe's object by a dry run. The answer of a replica shows in it.
async fn reached(client: &Client, release: &Release) -> Result<Installation, Error> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": release.probe(),
            "labels": { PROBE_LABEL: release.name },
            "annotations": { PROBE_ANNOTATION: NOT_REACHED },
        },
    });
    let params = PatchParams { dry_run: true, ..PatchParams::apply(MANAGER).force() };
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &release.namespace);
    match maps.patch(&release.probe(), &params, &Patch::Apply(&object)).await {
        Ok(answered) => {
            let annotations = answered.metadata.annotations.unwrap_or_default();
            let is_reached = annotations.get(PROBE_ANNOTATION).is_some_and(|it| it == REACHED);
            Ok(if is_reached { Installation::Reached } else { Installation::Unreached })
        }
        Err(kube::Error::Api(status)) if is_no_replica(&status.message) => {
            Ok(Installation::NoReplica)
        }
        Err(error) => Err(Error::api("probe the registration")(error)),
    }
}

/// Returns true for the message of an API server that found no endpoint of the Service:
/// by itself, or by the reject rule of kube-proxy.
fn is_no_replica(message: &str) -> bool {
    message.contains("failed calling webhook")
        && (message.contains("no endpoints available") || message.contains("connection refused"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_endpoints_differ_from_broken_networks() {
        let failed = "Internal error occurred: failed calling webhook \"probe.image-swap.io\": \
                      failed to call webhook: Post \"https://image-swap-admission.default.svc:443\"";
        for reason in [
            "no endpoints available for service \"image-swap-admission\"",
            "dial tcp 10.0.0.9:443: connect: connection refused",
        ] {
            assert!(is_no_replica(&format!("{failed}: {reason}")), "{reason}");
        }
        for reason in ["context deadline exceeded", "tls: failed to verify certificate"] {
            assert!(!is_no_replica(&format!("{failed}: {reason}")), "{reason}");
        }
        assert!(!is_no_replica("dial tcp 10.0.0.9:443: connect: connection refused"));
    }
}
