//! Removal of image-swap from a workload cluster.
//!
//! The order is that of an uninstallation by Helm: the webhook is deregistered, agents restore
//! their nodes, and only then objects are deleted, the last written first. So the controller of the
//! cluster loses its permissions before its Secrets are deleted, and writes none again. Each step
//! can be repeated, so a removal that was interrupted begins again.

use image_swap_cluster::{Release, RestoreWait, deregister_by_pages};
use image_swap_core::{
    fleet::bundle::{AppliedObjects, BundleObject, FLEET_MANAGER},
    labels::IMAGE_SWAP,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};

use super::{
    apply::ObjectFailure,
    client::RemoteCluster,
    credential::{account, binding},
    error::RemoteError,
    leftovers::{of_controller, reason_to_keep},
    objects::{ApplyMode, LiveObject, nodes_secret},
    record::record_map,
    removal_report::{KeptObject, Removal, RemovalReport},
};

/// Number of objects in a page of a list. A page of pods or Nodes is smaller than the longest
/// response that kube parses.
const PAGE: u32 = 25;
/// Number of nodes that a report names.
const NODES: usize = 20;
/// Longest name of a node in a report, in bytes.
const NAME_MAX: usize = 253;

impl RemoteCluster {
    /// Removes the release and `objects` from the cluster, those of former bundles, and what the
    /// controller of the cluster created. A pull Secret stays while a living pod names it. Objects
    /// of other writers stay, and namespaces with such objects.
    ///
    /// Without [`Removal::proceed`] no object is deleted until every node is restored.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the credential or the deregistration.
    pub async fn remove(
        &self,
        objects: &[BundleObject],
        removal: &Removal,
    ) -> Result<RemovalReport, RemoteError> {
        let mut report = RemovalReport::default();
        let name = IMAGE_SWAP.to_owned();
        let release = Release { namespace: removal.namespace.clone(), name };
        if let Some(reason) = self.reason_to_keep_all(objects).await? {
            let object = format!("release {}/{IMAGE_SWAP}", removal.namespace);
            report.kept.push(KeptObject { object, reason });
            report.is_complete = true;
            return Ok(report);
        }
        deregister_by_pages(&self.client(), &release, PAGE).await?;
        self.restore_nodes(release.clone(), removal, &mut report).await?;
        if report.pending > 0 && !removal.proceed {
            return Ok(report);
        }
        self.remove_objects(objects, &release, &mut report).await?;
        // The controller may have written a pull Secret before it noticed the first deregistration.
        // Now it has no permission any more.
        deregister_by_pages(&self.client(), &release, PAGE).await?;
        for object in objects.iter().rev().filter(|it| it.kind == "Namespace") {
            self.remove_namespace(object, &mut report).await?;
        }
        report.is_complete = report.failures.is_empty();
        if report.is_complete {
            self.remove_credential(&removal.namespace).await?;
        }
        Ok(report)
    }

    /// Deletes the objects of the release, but no namespace.
    async fn remove_objects(
        &self,
        objects: &[BundleObject],
        release: &Release,
        report: &mut RemovalReport,
    ) -> Result<(), RemoteError> {
        let record = self.recorded(&release.namespace).await?;
        let present = AppliedObjects::of(objects);
        let former = record.without(&present);
        let own = objects.iter().rev().filter(|it| it.kind != "Namespace");
        for object in own.chain(&former) {
            self.remove_object(object, report).await?;
        }
        for object in of_controller(release) {
            self.remove_written(&object, LiveObject::is_own, report).await?;
        }
        if report.failures.is_empty() {
            self.remove_object(&record_map(&release.namespace, &present), report).await?;
        }
        Ok(())
    }

    /// Deletes the account of the fleet controller with its permissions. They are the last: a token
    /// of the account has none afterwards, and the account without permissions may stay.
    async fn remove_credential(&self, namespace: &str) -> Result<(), RemoteError> {
        let mut report = RemovalReport::default();
        for object in [binding(namespace), account(namespace)] {
            match self.remove_object(&object, &mut report).await {
                Ok(_) | Err(RemoteError::Unauthorized | RemoteError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the reason why the whole release stays: another program installed its anchor. `None`
    /// if it is removed.
    async fn reason_to_keep_all(
        &self,
        objects: &[BundleObject],
    ) -> Result<Option<&'static str>, RemoteError> {
        let is_anchor = |it: &&BundleObject| it.kind == "ClusterRole" && it.name == IMAGE_SWAP;
        let Some(anchor) = objects.iter().find(is_anchor) else { return Ok(None) };
        let Some(live) = self.live(anchor).await? else { return Ok(None) };
        let by_other = (!live.is_of_fleet()).then_some("another program installed it");
        Ok(if live.is_of_helm() { Some("Helm installed it") } else { by_other })
    }

    /// Requests the agents to restore their nodes, and waits for them.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    pub(super) async fn restore_nodes(
        &self,
        release: Release,
        removal: &Removal,
        report: &mut RemovalReport,
    ) -> Result<(), RemoteError> {
        if self.has_agents().await? {
            let secret = nodes_secret(&release.namespace);
            let written = self.apply_object(&secret, &secret.value, ApplyMode::Forced).await?;
            written.map_err(|it| RemoteError::of_code(it.code))?;
        }
        let wait = RestoreWait::new(&self.client(), release, None).by_pages(PAGE);
        let summary = wait.run(removal.wait).await;
        report.pending = summary.pending.len();
        let names = summary.pending.into_iter().map(|it| it.name);
        let is_name = |it: &String| {
            let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
            it.len() <= NAME_MAX && it.bytes().all(is_inner)
        };
        report.nodes = names.filter(is_name).take(NODES).collect();
        let failed = || ObjectFailure {
            object: "Nodes".to_owned(),
            // The texts of the wait quote the API server.
            error: RemoteError::BadResponse,
        };
        report.failures.extend((!summary.failures.is_empty()).then(failed));
        Ok(())
    }

    /// Returns true if the cluster has agents that the fleet controller wrote.
    async fn has_agents(&self) -> Result<bool, RemoteError> {
        let sets: Api<DynamicObject> =
            Api::all_with(self.client(), &ApiResource::erase::<DaemonSet>(&()));
        let selector = format!(
            "app.kubernetes.io/name={IMAGE_SWAP},app.kubernetes.io/component=agent,\
             app.kubernetes.io/managed-by={FLEET_MANAGER}"
        );
        let found = sets.list_metadata(&ListParams::default().labels(&selector).limit(1)).await?;
        Ok(!found.items.is_empty())
    }

    /// Deletes `object` if the fleet controller wrote it, or records in `report` why it stays.
    /// Returns true if it was deleted.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the credential.
    pub(super) async fn remove_object(
        &self,
        object: &BundleObject,
        report: &mut RemovalReport,
    ) -> Result<bool, RemoteError> {
        self.remove_written(object, LiveObject::is_of_fleet, report).await
    }

    /// Deletes `object` if `is_written` is true for it.
    async fn remove_written(
        &self,
        object: &BundleObject,
        is_written: fn(&LiveObject) -> bool,
        report: &mut RemovalReport,
    ) -> Result<bool, RemoteError> {
        let outcome = match self.live(object).await {
            Ok(live) => {
                let Some(live) = live.filter(|it| !it.is_ending()) else { return Ok(false) };
                if let Some(reason) = reason_to_keep(object, &live, is_written(&live)) {
                    let kept = KeptObject { object: object.to_string(), reason };
                    if !report.kept.contains(&kept) {
                        report.kept.push(kept);
                    }
                    return Ok(false);
                }
                self.delete_object(object, &live.metadata.uid).await
            }
            Err(error) => Err(error),
        };
        outcome.or_else(|error| report.note(object, error).map(|()| false))
    }
}
