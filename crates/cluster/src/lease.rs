//! Leader election: the controller that holds the Lease leads.
//!
//! The holder renews the Lease well before it expires. Another candidate takes a Lease that has not
//! changed for its whole duration. Candidates measure time by their own clocks, as client-go does,
//! so clocks need not agree. Every write names the version that it replaces, so that one of two
//! concurrent candidates gets a conflict.

use std::time::Duration;

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        rbac::v1::ClusterRole,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{info, warn};

use crate::{
    api::{self, MANAGER},
    error::Error,
    release::Release,
};

/// The intervals of the leader election.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTiming {
    /// The duration of a Lease without renewal, in whole seconds.
    pub duration: Duration,
    /// The interval between two attempts to renew or acquire the Lease.
    pub period: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), period: Duration::from_secs(3) }
    }
}

/// True from the acquisition of the Lease until another candidate may acquire it.
pub type Leadership = watch::Receiver<bool>;

/// A candidate for the leadership.
pub struct LeaderElection {
    leases: Api<Lease>,
    anchors: Api<DynamicObject>,
    /// The name of the `ClusterRole` that owns the Lease.
    anchor: String,
    name: String,
    identity: String,
    times: LeaseTiming,
    leading: watch::Sender<bool>,
    /// The last seen version of the Lease, and the time at which it was first seen.
    seen: Option<(Option<String>, Instant)>,
    /// The time until which the Lease is certainly held; `None` while it is not held.
    until: Option<Instant>,
}

impl LeaderElection {
    /// Creates a candidate. No other candidate may have the same `identity`.
    pub fn new(client: &Client, release: &Release, identity: &str, times: LeaseTiming) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), &release.namespace),
            anchors: api::all::<ClusterRole, _>(client),
            anchor: release.anchor().to_owned(),
            name: release.controller(),
            identity: identity.to_owned(),
            times,
            leading: watch::Sender::new(false),
            seen: None,
            until: None,
        }
    }

    /// Returns the present leadership and its changes.
    pub fn leadership(&self) -> Leadership {
        self.leading.subscribe()
    }

    /// Renews or acquires the Lease again and again. Never returns; [`Self::release`] is called
    /// after it is dropped.
    pub async fn run(&mut self) {
        loop {
            let begun = Instant::now();
            let attempt = timeout_at(self.give_up_at(begun), self.attempt()).await;
            match attempt {
                Ok(Ok(true)) => {
                    self.until = Some(begun + self.times.duration);
                    self.announce(true);
                }
                Ok(Ok(false)) => {
                    self.until = None;
                    self.announce(false);
                }
                Ok(Err(error)) => warn!(%error, "cannot acquire or renew the Lease"),
                Err(_) => warn!("cannot acquire or renew the Lease: timed out"),
            }
            if self.resign_at().is_some_and(|at| Instant::now() >= at) {
                self.until = None;
                self.announce(false);
            }
            let next = Instant::now() + self.times.period;
            sleep_until(self.resign_at().map_or(next, |at| at.min(next))).await;
        }
    }

    /// Returns the time at which a leader that could not renew stops. One period before
    /// the Lease ends is kept for the work that has to stop.
    fn resign_at(&self) -> Option<Instant> {
        self.until.map(|until| until - self.times.period)
    }

    /// Returns the time at which an attempt that `begun` is given up. An attempt that
    /// hangs must not outlast the Lease.
    fn give_up_at(&self, begun: Instant) -> Instant {
        let at = begun + self.times.period * 2;
        self.resign_at().map_or(at, |resign_at| at.min(resign_at))
    }

    /// Releases a held Lease, so that the next leader need not wait for its expiry.
    pub async fn release(&mut self) {
        let held = self.leading.send_replace(false);
        if !held {
            return;
        }
        let given = async {
            let Some(mut lease) = api::get(&self.leases, &self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.replace(&lease).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = given.await {
            warn!(%error, "cannot release the Lease: the next leader waits for its end");
        }
    }

    fn announce(&self, leads: bool) {
        let changed = self.leading.send_if_modified(|now| std::mem::replace(now, leads) != leads);
        if changed {
            let message = if leads { "became leader" } else { "stopped leading" };
            info!(leads, identity = self.identity, "{message}");
        }
    }

    /// Renews the Lease, or acquires it if it is free. Returns true if it is held.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let lease = match api::get(&self.leases, &self.name).await? {
            Some(lease) => lease,
            None => self.create().await?,
        };
        let version = lease.metadata.resource_version.clone();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.seen = Some((version, Instant::now()));
        }
        let since = self.seen.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        let spec = lease.spec.clone().unwrap_or_default();
        let Some(spec) = claim(spec, &self.identity, since.elapsed(), self.times.duration) else {
            return Ok(false);
        };
        let mut claimed = Lease { spec: Some(spec), ..lease };
        if claimed.metadata.owner_references.is_none() {
            claimed.metadata.owner_references = self.owners().await?;
        }
        match self.replace(&claimed).await {
            Ok(()) => Ok(true),
            // Another candidate was quicker.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<Lease, Error> {
        // Created without a holder, so that concurrent candidates create the same object. A Lease
        // without an owner would outlive an uninstalled release.
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.name, "ownerReferences": self.owners().await? },
        });
        api::apply(&self.leases, &self.name, &lease).await
    }

    /// Returns the owner reference to the anchor; with it, the Lease is deleted with the release.
    ///
    /// # Errors
    /// The anchor does not exist.
    async fn owners(&self) -> Result<Option<Vec<OwnerReference>>, Error> {
        let anchor = api::get(&self.anchors, &self.anchor).await?;
        let anchor = anchor.ok_or_else(|| Error::NoAnchor(self.anchor.clone()))?;
        Ok(anchor.owner_ref(&ApiResource::erase::<ClusterRole>(&())).map(|owner| vec![owner]))
    }

    async fn replace(&self, lease: &Lease) -> Result<(), Error> {
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let replaced = self.leases.replace(&self.name, &params, lease).await;
        replaced.map(drop).map_err(Error::api(format!("write the Lease {}", self.name)))
    }
}

/// Returns the Lease that `identity` writes to hold it; `None` while another candidate holds it. A
/// Lease is free if it has no holder, or was `unchanged` for its duration, by default `duration`.
fn claim(
    spec: LeaseSpec,
    identity: &str,
    unchanged: Duration,
    duration: Duration,
) -> Option<LeaseSpec> {
    let now = Some(MicroTime(Timestamp::now()));
    let lasts = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(duration, Duration::from_secs);
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let seconds = i32::try_from(duration.as_secs().max(1)).unwrap_or(i32::MAX);
    if holder == identity {
        let lease_duration_seconds = Some(seconds);
        return Some(LeaseSpec { renew_time: now, lease_duration_seconds, ..spec });
    }
    if !holder.is_empty() && unchanged < lasts {
        return None;
    }
    Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(seconds),
        acquire_time: now.clone(),
        renew_time: now,
        lease_transitions: Some(spec.lease_transitions.unwrap_or(0).saturating_add(1)),
        ..spec
    })
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Response};
    use kube::client::Body;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn unheld_lease_is_acquired() {
        for spec in [LeaseSpec::default(), held_by("")] {
            let claimed = claim(spec, "me", Duration::ZERO, DURATION).unwrap();
            assert_eq!(claimed.holder_identity.as_deref(), Some("me"));
        }
    }

    #[test]
    fn foreign_lease_is_acquired_only_after_expiry() {
        let just_before = Duration::from_millis(14_999);
        assert_eq!(claim(held_by("you"), "me", just_before, DURATION), None);
        let claimed = claim(held_by("you"), "me", DURATION, DURATION).unwrap();
        assert_eq!(claimed.holder_identity.as_deref(), Some("me"));
        assert_eq!(claimed.lease_transitions, Some(4));
    }

    #[test]
    fn renewing_changes_no_more_than_the_time() {
        let renewed = claim(held_by("me"), "me", Duration::ZERO, DURATION).unwrap();
        assert!(renewed.renew_time.is_some());
        assert_eq!(LeaseSpec { renew_time: None, ..renewed }, held_by("me"));
    }

    /// Simulates an API server that renews the Lease for a while, and then hangs.
    // guarantee: 4f
    #[tokio::test(start_paused = true)]
    async fn leader_with_hanging_api_server_stops_in_time() {
        let hangs_at = watch::Sender::new(Instant::now());
        let renewed = watch::Sender::new(Instant::now());
        let (ends, renewals) = (hangs_at.subscribe(), renewed.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (renewals, hangs_at) = (renewals.clone(), *ends.borrow());
            async move {
                if Instant::now() >= hangs_at {
                    std::future::pending::<()>().await;
                }
                if request.method() == "PUT" {
                    renewals.send_replace(Instant::now());
                }
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": "l", "resourceVersion": "1", "ownerReferences": [] },
                    "spec": { "holderIdentity": "me" },
                });
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(
                    lease.to_string().into_bytes(),
                )))
            }
        });
        let client = Client::new(service, "default");
        let release = Release { namespace: "default".into(), name: "image-swap".into() };
        let times = LeaseTiming::default();
        for offset in 0..6 {
            let leads_for = times.period * 2 + Duration::from_millis(500 * offset);
            hangs_at.send_replace(Instant::now() + leads_for);
            let mut election = LeaderElection::new(&client, &release, "me", times);
            let mut leadership = election.leadership();
            let running = tokio::spawn(async move { election.run().await });
            leadership.wait_for(|leads| *leads).await.unwrap();
            leadership.wait_for(|leads| !*leads).await.unwrap();
            let since = renewed.borrow().elapsed();
            assert!(since < times.duration, "{since:?}");
            running.abort();
        }
    }
}
