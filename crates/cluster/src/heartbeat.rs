//! The heartbeat of a release: a Lease that the leader renews, with a summary of its report.
//!
//! The fleet controller of a management cluster watches the Lease, and nothing else here.

use std::{future::pending, time::Duration};

use image_swap_core::{
    labels,
    status::{ControllerReport, cluster_summary::ClusterSummary},
};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        rbac::v1::ClusterRole,
    },
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{ApiResource, DynamicObject},
};
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use crate::{api, endpoints, error::Error, release::Release, secret};

/// The duration after which the Lease counts as expired, in seconds.
const LASTS: i32 = 180;
/// The deadline of a renewal.
const PATIENCE: Duration = Duration::from_secs(20);

/// The renewal of the Lease, while its controller leads.
pub(crate) struct Heartbeat {
    pub(crate) client: Client,
    pub(crate) release: Release,
    /// The Service of the admission replicas.
    pub(crate) service: String,
    /// The holder of the Lease.
    pub(crate) identity: String,
    pub(crate) report: watch::Receiver<ControllerReport>,
    /// The number of running pods with an image that no mirror serves; [`None`] if it is not known.
    /// A change is sent with the next renewal.
    pub(crate) pods: watch::Receiver<Option<u32>>,
    /// The interval between two renewals.
    pub(crate) interval: Duration,
    /// The shortest interval between two renewals.
    pub(crate) gap: Duration,
}

impl Heartbeat {
    /// Renews the Lease in intervals, and after each change of the summary. Never returns.
    pub(crate) async fn run(mut self) {
        let mut written: Option<ClusterSummary> = None;
        let mut is_failing = false;
        loop {
            reported(&mut self.report, written.as_ref()).await;
            let begun = Instant::now();
            match timeout(PATIENCE, self.renew()).await.unwrap_or(Err(Error::Late(20))) {
                Ok(summary) => {
                    written = Some(summary);
                    is_failing = false;
                }
                Err(error) => {
                    if is_failing {
                        debug!(%error, "cannot renew the heartbeat");
                    } else {
                        warn!(%error, "cannot renew the heartbeat; it is tried again");
                    }
                    written = None;
                    is_failing = true;
                }
            }
            sleep_until(begun + self.gap).await;
            if !is_failing {
                tokio::select! {
                    () = sleep_until(begun + self.interval) => written = None,
                    () = reported(&mut self.report, written.as_ref()) => {}
                }
            }
        }
    }

    /// Writes the Lease, and returns its summary.
    async fn renew(&self) -> Result<ClusterSummary, Error> {
        let Self { client, release, service, identity, .. } = self;
        let pods_not_from_mirror = *self.pods.borrow();
        let summary = summary(client, release, service, &self.report).await;
        let summary = ClusterSummary { pods_not_from_mirror, ..summary };
        let anchors = api::all::<ClusterRole, DynamicObject>(client);
        let anchor = api::get(&anchors, release.anchor()).await?;
        let anchor = anchor.ok_or_else(|| Error::NoAnchor(release.anchor().to_owned()))?;
        let owner = anchor.owner_ref(&ApiResource::erase::<ClusterRole>(&()));
        let name = release.heartbeat();
        let spec = LeaseSpec {
            holder_identity: Some(identity.clone()),
            lease_duration_seconds: Some(LASTS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        };
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": release.namespace,
                "labels": secret::labels(release),
                "annotations": { labels::SUMMARY: summary.text() },
                "ownerReferences": owner.as_slice(),
            },
            "spec": spec,
        });
        let leases: Api<Lease> = Api::namespaced(client.clone(), &release.namespace);
        api::apply(&leases, &name, &lease).await?;
        Ok(summary)
    }
}

/// Waits until `report`, that of this controller, has another summary than `written`.
pub(crate) async fn reported(
    report: &mut watch::Receiver<ControllerReport>,
    written: Option<&ClusterSummary>,
) {
    let is_new = |report: &ControllerReport| {
        let summary = || ClusterSummary {
            pods_not_from_mirror: written.and_then(|it| it.pods_not_from_mirror),
            ..ClusterSummary::of(report, written.and_then(|it| it.replicas))
        };
        !report.version.is_empty() && written.is_none_or(|it| *it != summary())
    };
    // The controller holds the sender for as long as this runs.
    if report.wait_for(is_new).await.is_err() {
        pending::<()>().await;
    }
}

/// Returns the summary of `report`, with the replicas of `service`.
pub(crate) async fn summary(
    client: &Client,
    release: &Release,
    service: &str,
    report: &watch::Receiver<ControllerReport>,
) -> ClusterSummary {
    let replicas = endpoints::count(client, &release.namespace, service).await.ok();
    ClusterSummary::of(&report.borrow(), replicas)
}
