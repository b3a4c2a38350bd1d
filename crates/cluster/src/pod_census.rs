//! Counts running pods with an image that no mirror serves, for the heartbeat.
//!
//! The count lists all running pods, a page at a time, and keeps a number. A list of version 0
//! would be cheaper for the API server, but it has one page with all pods.

use std::{future::pending, time::Duration};

use image_swap_core::control::{effective::Effective, pods::lacks_mirror};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::debug;

use crate::{
    api, error::Error, object_watch::PAGE, partial_meta::WholeObject, pull_secrets::images,
    report::send_new,
};

/// The deadline of a count.
const PATIENCE: Duration = Duration::from_mins(2);

/// The count of running pods, while the controller leads.
pub(crate) struct PodCensus {
    pub(crate) client: Client,
    /// The declaration in force without its credential; [`None`] before the first.
    pub(crate) declaration: watch::Receiver<Option<Effective>>,
    /// True if agents configure the mirrors of nodes.
    pub(crate) by_nodes: bool,
    /// The number of pods; [`None`] if it is not known, or nothing is declared.
    pub(crate) count: watch::Sender<Option<u32>>,
    /// The interval between two counts.
    pub(crate) interval: Duration,
    /// The shortest interval between two counts, if the declaration changes.
    pub(crate) gap: Duration,
}

impl PodCensus {
    /// Counts in intervals, and after each change of the declaration. Never returns.
    pub(crate) async fn run(mut self) {
        loop {
            let declaration = self.declaration.borrow_and_update().clone();
            let counted = timeout(PATIENCE, self.count(declaration.as_ref())).await;
            let counted = counted.unwrap_or(Err(Error::Late(PATIENCE.as_secs())));
            let count = counted.unwrap_or_else(|error| {
                debug!(%error, "cannot count pods; the count is repeated");
                None
            });
            send_new(&self.count, count);
            sleep(self.gap).await;
            tokio::select! {
                () = sleep(self.interval) => {}
                changed = self.declaration.changed() => {
                    if changed.is_err() {
                        // The controller holds the sender for as long as this runs.
                        pending::<()>().await;
                    }
                }
            }
        }
    }

    /// Returns the number of running pods with an image that no mirror serves; [`None`] without a
    /// declaration.
    async fn count(&self, declaration: Option<&Effective>) -> Result<Option<u32>, Error> {
        let Some(declaration) = declaration.and_then(Effective::declaration) else {
            return Ok(None);
        };
        let pods: Api<WholeObject> = api::all::<Pod, _>(&self.client);
        let mut page = ListParams::default().fields("status.phase=Running").limit(PAGE);
        let mut count = 0_u32;
        loop {
            let list = pods.list(&page).await.map_err(Error::api("list running pods"))?;
            for pod in &list.items {
                let images = images(pod);
                let mut images = images.iter().map(|(_, image)| *image);
                if images.any(|image| lacks_mirror(image, declaration.rules(), self.by_nodes)) {
                    count = count.saturating_add(1);
                }
            }
            match list.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => page = page.continue_token(&next),
                None => return Ok(Some(count)),
            }
        }
    }
}
