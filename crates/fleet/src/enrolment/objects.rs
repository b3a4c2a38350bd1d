//! Objects of a cluster that pulls, on the management cluster.

use std::fmt;

use image_swap_cluster::{Error, api};
use image_swap_core::{
    fleet::{
        bundle::BundleObject,
        pull::{ENROLLER, Enrolment, FleetAccount, PullNames, REVOKED_KINDS},
    },
    labels::APP_MANAGED_BY,
    status::workload_cluster::PLURAL,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
};

use super::error::EnrolmentError;
use crate::objects::resource;

/// Object that a revocation deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedObject(String);

/// Writes `KIND NAMESPACE/NAME`.
impl fmt::Display for RevokedObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Objects of a cluster that pulls.
pub(super) struct EnrolledObjects<'c> {
    client: &'c Client,
    names: &'c PullNames,
}

impl<'c> EnrolledObjects<'c> {
    pub(super) const fn new(client: &'c Client, names: &'c PullNames) -> Self {
        Self { client, names }
    }

    /// Checks that no other entry of the inventory has the name of the cluster, and that no object
    /// of another program has the name of one of its objects.
    ///
    /// # Errors
    /// [`EnrolmentError::Taken`], or the API server refuses a request.
    pub(super) async fn check_free(&self) -> Result<(), EnrolmentError> {
        let PullNames { namespace, cluster } = self.names;
        let entries: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &resource());
        let entries = entries.list(&ListParams::default()).await;
        let entries = entries.map_err(Error::api(format!("list {PLURAL} in {namespace}")))?;
        for entry in entries {
            let source = &entry.data["spec"]["source"];
            if source["name"] == cluster.as_str() {
                let kind = source["kind"].as_str().unwrap_or_default();
                return Err(EnrolmentError::Taken(format!("{kind} {namespace}/{cluster}")));
            }
        }
        for object in self.objects() {
            if self.live(&object).await?.is_some_and(|it| !is_enrolled(&it)) {
                return Err(EnrolmentError::Taken(object.to_string()));
            }
        }
        Ok(())
    }

    /// Creates the objects, or repairs them.
    ///
    /// # Errors
    /// The API server refuses a request.
    pub(super) async fn create(&self, enrolment: &Enrolment) -> Result<(), EnrolmentError> {
        let params = PatchParams::apply(ENROLLER).force();
        for object in enrolment.objects() {
            let written =
                self.api(&object).patch(&object.name, &params, &Patch::Apply(&*object.value)).await;
            written.map_err(Error::api(format!("write {object}")))?;
        }
        Ok(())
    }

    /// Deletes the objects that exist, the service account first. Returns them.
    ///
    /// # Errors
    /// An object belongs to another program, or the API server refuses a request.
    pub(super) async fn delete(&self) -> Result<Vec<RevokedObject>, EnrolmentError> {
        let objects = self.objects();
        let mut deleted = Vec::new();
        for kind in REVOKED_KINDS {
            for object in objects.iter().filter(|it| it.kind == kind) {
                let Some(live) = self.live(object).await? else { continue };
                if !is_enrolled(&live) {
                    return Err(EnrolmentError::Taken(object.to_string()));
                }
                let params = api::with_uid(live.metadata.uid.as_deref().unwrap_or_default());
                let action = format!("delete {object}");
                if api::delete_by(&self.api(object), &object.name, &params, action).await? {
                    deleted.push(RevokedObject(object.to_string()));
                }
            }
        }
        Ok(deleted)
    }

    /// Returns the objects. The account of the fleet controller is not read.
    fn objects(&self) -> Vec<BundleObject> {
        let fleet = FleetAccount { namespace: String::new(), name: String::new() };
        Enrolment { names: self.names.clone(), fleet }.objects()
    }

    /// Returns the metadata of `object`; `None` if it does not exist.
    async fn live(
        &self,
        object: &BundleObject,
    ) -> Result<Option<kube::core::PartialObjectMeta<DynamicObject>>, Error> {
        let found = self.api(object).get_metadata_opt(&object.name).await;
        found.map_err(Error::api(format!("read {object}")))
    }

    fn api(&self, object: &BundleObject) -> Api<DynamicObject> {
        let (group, version) =
            object.api_version.split_once('/').unwrap_or(("", &object.api_version));
        let kind = GroupVersionKind::gvk(group, version, &object.kind);
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), &self.names.namespace, &resource)
    }
}

/// Returns true if an enrolment created the object.
fn is_enrolled(live: &kube::core::PartialObjectMeta<DynamicObject>) -> bool {
    let labels = live.metadata.labels.as_ref();
    labels.and_then(|it| it.get(APP_MANAGED_BY)).is_some_and(|it| it == ENROLLER)
}
