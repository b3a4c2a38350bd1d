//! Which controller leads: the one that holds the Lease.
//!
//! A holder renews it well before it ends; whoever sees it unchanged for its
//! whole duration takes it. Time is measured by the observer's own clock, as
//! client-go does, so that clocks need not agree. Every write says which version
//! it was decided from, so that of two takers one gets a conflict.

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

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTiming {
    /// How long a lease is worth without being renewed; whole seconds.
    pub duration: Duration,
    /// How often it is renewed, or looked at.
    pub period: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self { duration: Duration::from_secs(15), period: Duration::from_secs(3) }
    }
}

/// Whether we lead: true until the lease could be somebody else's.
pub type Leadership = watch::Receiver<bool>;

/// A candidate.
pub struct LeaderElection {
    leases: Api<Lease>,
    anchors: Api<DynamicObject>,
    /// The release's anchor, which owns the Lease.
    anchor: String,
    name: String,
    identity: String,
    times: LeaseTiming,
    leading: watch::Sender<bool>,
    /// The lease as it was last seen to change, and when that was.
    seen: Option<(Option<String>, Instant)>,
    /// Until when what we hold is ours for sure.
    until: Option<Instant>,
}

impl LeaderElection {
    /// A candidate called `identity`, which no other may be called.
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

    /// Follows who leads.
    pub fn leadership(&self) -> Leadership {
        self.leading.subscribe()
    }

    /// Stands for election, for ever; to be dropped after [`Self::release`].
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

    /// Gives the lease away, so that another one need not wait for its end.
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

    /// Renews or takes the lease if that is ours to do; whether we hold it.
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
            // Somebody else was quicker.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<Lease, Error> {
        // Held by nobody: two that create it at once do the same. Without an owner
        // there is no release any more, and a Lease would outlive it.
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.name, "ownerReferences": self.owners().await? },
        });
        api::apply(&self.leases, &self.name, &lease).await
    }

    /// The anchor, which takes the Lease along when the release goes.
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

/// The lease to write if it is ours, or nobody's: it was not renewed for
/// `unchanged`, and lasts `duration` unless it says otherwise.
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
    fn a_lease_is_taken_when_nobody_holds_it() {
        for spec in [LeaseSpec::default(), held_by("")] {
            let claimed = claim(spec, "me", Duration::ZERO, DURATION).unwrap();
            assert_eq!(claimed.holder_identity.as_deref(), Some("me"));
        }
    }

    #[test]
    fn a_lease_of_another_is_taken_only_when_it_is_over() {
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

    /// An API server that renews the Lease for a while, and then hangs.
    // guarantee: 4f
    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_api_server_hangs_stops_before_its_lease_ends() {
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
