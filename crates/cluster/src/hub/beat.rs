//! The heartbeat on the management cluster.

use std::future::pending;

use hyper::Method;
use image_swap_core::{
    labels::{self, KUBE_SYSTEM},
    status::cluster_summary::ClusterSummary,
};
use k8s_openapi::{
    api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use kube::Api;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    HubPull, HubSession, PATIENCE,
    problem::{self, HubTask},
};
use crate::{
    api::MANAGER,
    error::Error,
    heartbeat::{reported, summary},
    remote::{
        RemoteError, RemoteRequest,
        client::{MERGE, METADATA, json_body},
    },
};

/// Renewals that may be missed before the Lease counts as expired.
const MISSED: u64 = 3;

impl HubPull<'_> {
    /// Renews the Lease in intervals, and after each change of the summary. A changed number of
    /// pods counts, too: the next renewal is minutes away. Never returns.
    pub(super) async fn renew_heartbeat(
        &self,
        session: &HubSession,
        note: &impl Fn(HubTask, Option<String>),
    ) {
        let mut backoff = self.backoff();
        let (mut report, mut pods) = (self.report.clone(), self.pods.clone());
        let mut uid = None;
        let mut written: Option<ClusterSummary> = None;
        loop {
            reported(&mut report, written.as_ref()).await;
            let begun = Instant::now();
            if uid.is_none() {
                uid = timeout(PATIENCE, self.uid()).await.ok().and_then(Result::ok).flatten();
            }
            let summary = summary(&self.client, &self.release, &self.service, &report).await;
            let pods_not_from_mirror = *pods.borrow_and_update();
            let summary = ClusterSummary { pods_not_from_mirror, ..summary };
            let shown = ClusterSummary { cluster_uid: uid.clone(), ..summary.clone() };
            if let Err(error) = self.beat(session, &shown).await {
                note(HubTask::Heartbeat, Some(problem::remote(error)));
                written = None;
                sleep(backoff.pause()).await;
                continue;
            }
            note(HubTask::Heartbeat, None);
            backoff.reset();
            written = Some(summary);
            sleep_until(begun + self.gap).await;
            tokio::select! {
                () = sleep_until(begun + self.interval) => written = None,
                () = reported(&mut report, written.as_ref()) => {}
                () = counted(&mut pods) => written = None,
            }
        }
    }

    /// Renews the Lease with `summary`.
    async fn beat(
        &self,
        session: &HubSession,
        summary: &ClusterSummary,
    ) -> Result<(), RemoteError> {
        let HubSession { remote, access } = session;
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}?fieldManager={MANAGER}",
            access.namespace, access.heartbeat
        );
        let lease = json!({
            "metadata": { "annotations": { labels::SUMMARY: summary.text() } },
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": (self.interval.as_secs() * MISSED).max(1),
                "renewTime": MicroTime(Timestamp::now()),
            },
        });
        let body = Some((MERGE, json_body(&lease)));
        let request = RemoteRequest { method: Method::PATCH, path: &path, accept: METADATA, body };
        let written = remote.send::<IgnoredAny>(request).await?;
        written.map(drop).map_err(|refused| RemoteError::of_code(refused.code))
    }

    /// Returns the UID of the namespace `kube-system`; `None` if it does not exist.
    async fn uid(&self) -> Result<Option<String>, Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = namespaces.get_metadata_opt(KUBE_SYSTEM).await;
        let found = found.map_err(Error::api(format!("read the namespace {KUBE_SYSTEM}")))?;
        Ok(found.and_then(|it| it.metadata.uid))
    }
}

/// Waits for another number of pods.
async fn counted(pods: &mut watch::Receiver<Option<u32>>) {
    // The controller holds the sender for as long as this runs.
    if pods.changed().await.is_err() {
        pending::<()>().await;
    }
}
