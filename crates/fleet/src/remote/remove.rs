//! Removal of image-swap from a workload cluster.
//!
//! The order is that of an uninstallation by Helm: the webhook is deregistered, agents restore
//! their nodes, and only then objects are deleted, the last written first. Each step can be
//! repeated, so a removal that was interrupted begins again.

use std::time::Duration;

use image_swap_cluster::{Release, RestoreWait, deregister};
use image_swap_core::{
    fleet::bundle::{BundleObject, FLEET_MANAGER},
    labels::{IMAGE_SWAP, JET_SYSTEM},
};
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, ListParams},
};

use super::{
    apply::ObjectFailure,
    client::RemoteCluster,
    credential::binding,
    error::RemoteError,
    objects::{LiveObject, nodes_secret},
};

/// Number of nodes that a report names.
const NODES: usize = 20;
/// Longest name of a node in a report, in bytes.
const NAME_MAX: usize = 253;

/// Settings of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Namespace of the release.
    pub namespace: String,
    /// Longest time to wait for the nodes in one call.
    pub wait: Duration,
    /// True to delete the objects although nodes are not restored.
    pub proceed: bool,
}

/// Result of a removal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovalReport {
    /// True if nothing is left to remove.
    pub is_complete: bool,
    /// Number of nodes that are not restored.
    pub pending: usize,
    /// Names of these nodes. At most twenty.
    pub nodes: Vec<String>,
    /// Objects that stay.
    pub kept: Vec<KeptObject>,
    /// Objects that the API server does not delete.
    pub failures: Vec<ObjectFailure>,
}

/// Object that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptObject {
    /// Kind, namespace and name.
    pub object: String,
    /// Reason.
    pub reason: &'static str,
}

impl RemoteCluster {
    /// Removes the release and `objects` from the cluster. A pull Secret stays while a living pod
    /// names it, and an object stays that the fleet controller did not write.
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
        let is_of_helm = self.is_of_helm(objects).await?;
        if is_of_helm {
            report.kept.push(KeptObject {
                object: format!("release {}/{IMAGE_SWAP}", removal.namespace),
                reason: "Helm installed it",
            });
            report.is_complete = true;
            return Ok(report);
        }
        deregister(self.client(), &release).await?;
        self.restore_nodes(release, removal, &mut report).await?;
        if report.pending > 0 && !removal.proceed {
            return Ok(report);
        }
        for object in objects.iter().rev().filter(|it| it.kind != "Namespace") {
            self.remove_object(object, &mut report).await?;
        }
        let nodes = nodes_secret(&removal.namespace);
        self.remove_object(&nodes, &mut report).await?;
        // A namespace is deleted with its content.
        for object in objects.iter().rev().filter(|it| it.kind == "Namespace") {
            self.remove_object(object, &mut report).await?;
        }
        report.is_complete = report.failures.is_empty();
        if report.is_complete {
            // The permissions of the credential itself are the last: no request may follow.
            match self.remove_object(&binding(&removal.namespace), &mut report).await {
                Ok(()) | Err(RemoteError::Unauthorized | RemoteError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    /// Returns true if Helm installed the anchor of the release.
    async fn is_of_helm(&self, objects: &[BundleObject]) -> Result<bool, RemoteError> {
        let is_anchor = |it: &&BundleObject| it.kind == "ClusterRole" && it.name == IMAGE_SWAP;
        let Some(anchor) = objects.iter().find(is_anchor) else { return Ok(false) };
        Ok(self.live(anchor).await?.is_some_and(|it| it.is_of_helm()))
    }

    /// Requests the agents to restore their nodes, and waits for them.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    async fn restore_nodes(
        &self,
        release: Release,
        removal: &Removal,
        report: &mut RemovalReport,
    ) -> Result<(), RemoteError> {
        if self.has_agents().await? {
            let secret = nodes_secret(&release.namespace);
            let written = self.apply_object(&secret, &secret.value, true).await?;
            written.map_err(|it| RemoteError::of_code(it.code))?;
        }
        let wait = RestoreWait::new(self.client(), release, None);
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
            Api::all_with(self.client().clone(), &ApiResource::erase::<DaemonSet>(&()));
        let selector = format!(
            "app.kubernetes.io/name={IMAGE_SWAP},app.kubernetes.io/component=agent,\
             app.kubernetes.io/managed-by={FLEET_MANAGER}"
        );
        let found = sets.list_metadata(&ListParams::default().labels(&selector).limit(1)).await?;
        Ok(!found.items.is_empty())
    }

    /// Deletes `object`, or records in `report` why it stays.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the credential.
    async fn remove_object(
        &self,
        object: &BundleObject,
        report: &mut RemovalReport,
    ) -> Result<(), RemoteError> {
        let outcome = match self.live(object).await {
            Ok(None) => return Ok(()),
            Ok(Some(live)) => match reason_to_keep(object, &live) {
                Some(reason) => {
                    report.kept.push(KeptObject { object: object.to_string(), reason });
                    return Ok(());
                }
                None => self.delete_object(object, &live.metadata.uid).await.map(drop),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if error.ends_requests() => Err(error),
            Err(error) => {
                report.failures.push(ObjectFailure { object: object.to_string(), error });
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Returns the reason why `object` stays; `None` if it is deleted.
fn reason_to_keep(object: &BundleObject, live: &LiveObject) -> Option<&'static str> {
    let is_definition = object.kind == "CustomResourceDefinition";
    if object.kind == "Namespace" {
        if object.name == JET_SYSTEM {
            return Some("it may contain other objects");
        }
        let created = live.metadata.annotations.created_by.as_deref() == Some(FLEET_MANAGER);
        return (!created).then_some("the fleet controller did not create it");
    }
    if live.is_of_helm() {
        return Some("Helm installed it");
    }
    if !live.is_of_fleet() {
        return Some("the fleet controller did not write it");
    }
    if live.has_other_apply() {
        return Some("another program applies it");
    }
    // The wait for nodes deletes it with the last report.
    is_definition.then_some("it has the reports of nodes")
}
