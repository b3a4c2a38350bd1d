//! The uninstallation of a release.
//!
//! The chart's hooks delete the registration before any other object of the release. No pod of the
//! release takes part, so that an uninstallation works even if none can start. The controller only
//! must not register again until Helm ends it. Helm's mark, a `ConfigMap` that exists while the
//! hooks run, distinguishes an uninstallation from another deletion. The mark may be deleted again
//! before the controller reads it, but a watch shows it. A mark that is older than the registration
//! is an ordinary object, created by `helm template | kubectl apply`.

use image_swap_core::declaration::UnixTime;
use k8s_openapi::api::core::v1::Service;
use kube::api::DynamicObject;
use serde_json::Value;
use tracing::{info, warn};

use super::{
    context::Controller,
    snapshot::{Snapshot, found},
    state::{ReconcileState, Uninstallation},
    steps::StepErrors,
};
use crate::{
    api,
    error::Error,
    object_watch::PAGE,
    pull_secrets::{DesiredPullSecret, leave},
    report,
};

/// Seconds for which nothing is registered after Helm's mark was seen. Helm ends the
/// controller within this time, or the uninstallation was given up.
const QUIET: UnixTime = 60;
/// Seconds for which a new leader leaves a release unregistered whose registration was
/// deleted while no controller led. Helm, if it uninstalls the release, deletes the Service
/// within this time.
const SETTLE: UnixTime = 5;

impl Controller {
    /// Starts the removal of pull Secrets that no living pod refers to, and does not wait for it.
    /// Helm may end the controller or its permissions at any moment; a Secret that is not reached
    /// stays.
    fn leave_pull_secrets(&self, memory: &ReconcileState) {
        memory.orders.send_replace(DesiredPullSecret::Unknown);
        let (client, release) = (self.client.clone(), self.settings.release.clone());
        tokio::spawn(async move {
            if let Err(error) = leave(&client, &release, PAGE).await {
                warn!(%error, "cannot remove pull Secrets; they stay");
            }
        });
    }

    /// Returns true if the deleted registration must stay away: Helm uninstalls the release, or the
    /// Service is gone and calls of the API server would fail. A registration that returns begins
    /// with `Ignore`.
    pub(super) async fn stays_away(
        &self,
        memory: &mut ReconcileState,
        steps: &mut StepErrors,
        observed: Option<&Value>,
        now: UnixTime,
    ) -> Result<bool, Error> {
        self.recall(memory, now).await;
        let entries = observed.and_then(|it| it["webhooks"].as_array());
        if entries.is_some_and(|entries| !entries.is_empty()) {
            memory.uninstallation.registered = true;
            memory.uninstallation.until = None;
            return Ok(false);
        }
        let mark = self.mark().await?;
        if !memory.uninstallation.registered {
            memory.uninstallation.mark = mark;
            return Ok(false);
        }
        if mark.is_some() && mark != memory.uninstallation.mark {
            info!("Helm uninstalls the release: the webhook stays deregistered");
            let until = Some(now + QUIET);
            memory.uninstallation = Uninstallation { is_read: true, registered: true, mark, until };
            self.leave_pull_secrets(memory);
            return Ok(true);
        }
        if let Some(until) = memory.uninstallation.until.filter(|until| now < *until) {
            steps.delay(until - now);
            return Ok(true);
        }
        let release = &self.settings.release;
        let services = api::namespaced::<Service, DynamicObject>(&self.client, &release.namespace);
        if api::get(&services, &self.settings.service).await?.is_none() {
            return Ok(true);
        }
        memory.uninstallation = Uninstallation::unregistered(mark);
        memory.gate = None;
        Ok(false)
    }

    /// Reads the state that the previous leader reported, once. A new leader may begin while Helm
    /// uninstalls the release, after the registration was deleted. Without an answer of the API
    /// server the release counts as new, and the next reconciliation reads again.
    async fn recall(&self, memory: &mut ReconcileState, now: UnixTime) {
        if memory.uninstallation.is_read {
            return;
        }
        match api::get(&self.config_maps(), &self.settings.release.status()).await {
            Ok(status) => {
                let report = status.as_ref().and_then(report::read);
                memory.uninstallation = Uninstallation {
                    is_read: true,
                    registered: status.is_some(),
                    mark: report.and_then(|report| report.uninstall_mark),
                    until: status.is_some().then_some(now + SETTLE),
                };
            }
            Err(error) => warn!(%error, "cannot read the report of the previous leader"),
        }
    }

    /// Deletes the registration of a release that an administrator marked as leaving, or
    /// whose anchor is being deleted.
    pub(super) async fn withdraw(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
    ) -> Result<(), Error> {
        memory.uninstallation = Uninstallation::unregistered(None);
        memory.gate = None;
        if found(&snapshot.registration)?.is_some() {
            let registrations = api::registrations(&self.client);
            api::delete(&registrations, &self.settings.release.admission()).await?;
            info!("deleted the registration: the release is marked as leaving");
        }
        Ok(())
    }

    /// Returns the UID of the mark that Helm makes when it uninstalls the release, also
    /// after its deletion; `None` if there was none.
    async fn mark(&self) -> Result<Option<String>, Error> {
        let name = self.settings.release.uninstallation();
        let mark = api::get(&self.config_maps(), &name).await?;
        let uid = mark.and_then(|mark| mark.metadata.uid);
        Ok(uid.or_else(|| self.mark.borrow().last.clone()))
    }
}
