//! The namespaces of the release and of the Secret `registry-info`.

use image_swap_core::{declaration::UnixTime, labels::JET_SYSTEM};
use k8s_openapi::api::{core::v1::Namespace, rbac::v1::ClusterRole};
use kube::api::DynamicObject;
use serde_json::json;
use tracing::{debug, info, warn};

use super::{
    context::Controller,
    snapshot::{Snapshot, found, is_ending},
    state::ReconcileState,
};
use crate::{api, error::Error};

/// Namespaces that the API server never deletes.
const PERMANENT: [&str; 3] = ["default", "kube-system", "kube-public"];

impl Controller {
    /// Creates the namespace of `registry-info` if it is absent, with the configured
    /// labels. Never changes or deletes it.
    pub(super) async fn ensure_registry_info_namespace(&self) -> Result<(), Error> {
        let namespaces = api::all::<Namespace, DynamicObject>(&self.client);
        match api::get(&namespaces, JET_SYSTEM).await? {
            Some(namespace) if is_ending(&namespace) => {
                Err(Error::Terminating(JET_SYSTEM.to_owned()))
            }
            Some(_) => Ok(()),
            None => {
                let labels = &self.settings.registry_info_labels;
                let namespace = json!({
                    "apiVersion": "v1", "kind": "Namespace",
                    "metadata": { "name": JET_SYSTEM, "labels": labels },
                });
                api::apply(&namespaces, JET_SYSTEM, &namespace).await?;
                info!(namespace = JET_SYSTEM, "created the namespace");
                Ok(())
            }
        }
    }

    /// Makes the namespace of the release the owner of the release's anchor. If the
    /// namespace is deleted, Kubernetes then deletes the anchor, and with it the
    /// registration, even if no controller runs any more.
    pub(super) async fn belong(
        &self,
        snapshot: &Snapshot,
        memory: &mut ReconcileState,
        now: UnixTime,
    ) -> Result<(), Error> {
        let name = &self.settings.release.namespace;
        if PERMANENT.contains(&name.as_str()) {
            return Ok(());
        }
        let Some(namespace) = found(&snapshot.namespace)? else { return Ok(()) };
        let Some(uid) = &namespace.metadata.uid else { return Ok(()) };
        let owners = serde_json::to_value(&snapshot.anchor.owner_references).unwrap_or_default();
        let mut owners = owners.as_array().cloned().unwrap_or_default();
        if owners.iter().any(|it| it["kind"] == "Namespace" && it["uid"] == **uid) {
            return Ok(());
        }
        // An earlier namespace of this name is gone.
        owners.retain(|it| it["kind"] != "Namespace" || it["name"] != **name);
        owners.push(json!({ "apiVersion": "v1", "kind": "Namespace", "name": name, "uid": uid }));
        let version = &snapshot.anchor.resource_version;
        let patch =
            json!({ "metadata": { "resourceVersion": version, "ownerReferences": owners } });
        let anchor = self.settings.release.anchor();
        memory.rewrite(anchor, uid, now)?;
        let anchors = api::all::<ClusterRole, _>(&self.client);
        match api::patch_if_present(&anchors, anchor, &patch).await {
            Ok(_) => {
                memory.rewrites.finish(anchor, uid.clone());
                Ok(())
            }
            // OwnerReferencesPermissionEnforcement wants a right that the chart does not grant.
            Err(error) if error.code() == Some(403) => {
                debug!(%error, "cannot make the namespace the owner of the release");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the registration: the namespace of the release is being deleted, and
    /// nothing in it will answer the API server.
    pub(super) async fn deregister(&self) -> Result<(), Error> {
        let registrations = api::registrations(&self.client);
        if api::delete(&registrations, &self.settings.release.admission()).await? {
            let namespace = &self.settings.release.namespace;
            info!(namespace, "deregistered the webhook: the namespace is being deleted");
        }
        Ok(())
    }

    /// Deregisters if the namespace of the release is being deleted. For a process that
    /// was signalled to end: Kubernetes ends it when the namespace goes.
    pub async fn end(&self) {
        let namespaces = api::all::<Namespace, DynamicObject>(&self.client);
        let ended = async {
            let name = &self.settings.release.namespace;
            match api::get(&namespaces, name).await? {
                Some(namespace) if !is_ending(&namespace) => Ok(()),
                _ => self.deregister().await,
            }
        };
        if let Err(error) = ended.await {
            warn!(%error, "cannot determine if the namespace is being deleted");
        }
    }
}
