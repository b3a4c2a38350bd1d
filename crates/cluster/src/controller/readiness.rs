//! The readiness of a controller. `helm upgrade --install --wait` waits for it, so that
//! the next pod is swapped when Helm returns.
//!
//! A controller becomes ready when the registration is in force: an API server has called a
//! replica, and the policy for ordinary pods is the wanted one. The leader raises the policy to
//! `Fail` only after API servers have reached a replica. The kubelet checks the readiness every two
//! seconds, which is longer than another API server takes to read the registration. With agents of
//! nodes, pods are swapped only when nodes trust the declaration: the report of the leader shows
//! that. A controller that does not lead checks the same state, so an upgrade is ready while the
//! old controller leads. Once ready, a controller stays ready. Readiness is about the installation;
//! later failures of the network show in the policy, in Events and in `image-swap status`.

use std::time::Duration;

use image_swap_core::{
    control::{
        policy::{ApiServer, FailurePolicy, Probe, RequestedPolicy},
        webhooks,
    },
    status::PodWait,
};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::DynamicObject;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::{context::Controller, probe::ProbeTarget, snapshot::is_left};
use crate::{api, error::Error, report};

/// The limits of the wait for a registration in force. They keep a network that is broken
/// from holding up Helm and the rollout of a controller.
#[derive(Clone, Copy, Debug)]
pub struct ReadinessLimits {
    /// The time between two looks.
    pub period: Duration,
    /// The time for which replicas may be reached by a registration with another policy
    /// than the wanted one, as beside another program that swaps images.
    pub settle: Duration,
    /// The time for which the API server may not reach replicas, or not answer, or nodes may not
    /// trust the declaration.
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
    /// Pods wait until nodes trust the declaration.
    NodesPending,
    /// No replica runs.
    NoReplica,
    /// The registration is missing, or the API server does not reach a replica.
    Unreached,
}

impl Controller {
    /// Returns when the registration of the release is in force, or a limit has passed.
    pub async fn in_force(&self, limits: ReadinessLimits) {
        let target = ProbeTarget::of(self);
        let begun = Instant::now();
        let (mut reached, mut unreached, mut pending) = (None, None, None);
        loop {
            let found = match timeout(limits.unreached, self.installation(&target)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    debug!(%error, "cannot read the registration");
                    Installation::Unreached
                }
                Err(_) => Installation::Unreached,
            };
            let expired = |since: &mut Option<Instant>, limit: Duration| {
                since.get_or_insert_with(Instant::now).elapsed() >= limit
            };
            let is_expired = match found {
                Installation::InForce => {
                    info!("ready: the registration is in force");
                    return;
                }
                Installation::Reached => expired(&mut reached, limits.settle),
                Installation::NodesPending => expired(&mut pending, limits.unreached),
                Installation::Unreached => expired(&mut unreached, limits.unreached),
                Installation::NoReplica => false,
            };
            if is_expired || begun.elapsed() >= limits.total {
                warn!(?found, "ready, but new pods may not be swapped yet; see image-swap status");
                return;
            }
            sleep(limits.period).await;
        }
    }

    async fn installation(&self, target: &ProbeTarget) -> Result<Installation, Error> {
        let release = &self.settings.release;
        let anchors = api::all::<ClusterRole, DynamicObject>(&self.client);
        let anchor = api::get(&anchors, release.anchor()).await?;
        if anchor.is_some_and(|anchor| is_left(&anchor.metadata)) {
            return Ok(Installation::InForce);
        }
        let registrations = api::registrations(&self.client);
        let registration = api::get(&registrations, &release.admission()).await?;
        let registration = registration.and_then(|object| serde_json::to_value(object).ok());
        let entries = registration.as_ref().and_then(|it| it["webhooks"].as_array());
        if entries.is_none_or(Vec::is_empty) {
            return Ok(Installation::Unreached);
        }
        let fails = self.settings.policy == RequestedPolicy::Fail;
        let wanted = if fails { FailurePolicy::Fail } else { FailurePolicy::Ignore };
        let is_wanted = webhooks::earned(registration.as_ref()) == wanted;
        let probe = target.probe(ApiServer::Shared).await;
        if probe == Probe::Reached
            && let Some(wait) = self.pod_wait().await?
        {
            // Nothing changes before an administrator acts.
            let acts = wait.needs_administrator;
            return Ok(if acts { Installation::Reached } else { Installation::NodesPending });
        }
        Ok(match probe {
            Probe::Reached if is_wanted => Installation::InForce,
            Probe::Reached => Installation::Reached,
            Probe::NoEndpoints => Installation::NoReplica,
            Probe::Unreached | Probe::Unknown | Probe::Silent => Installation::Unreached,
        })
    }

    /// Returns the wait of pods for nodes that the leader reports.
    ///
    /// # Errors
    /// The report cannot be read.
    async fn pod_wait(&self) -> Result<Option<PodWait>, Error> {
        if self.settings.agents.is_none() {
            return Ok(None);
        }
        let map = api::get(&self.config_maps(), &self.settings.release.status()).await?;
        Ok(map.and_then(|map| report::read(&map)?.declaration.waits))
    }
}
