//! Reads and writes of Leases and restart pods.

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams, Request},
};
use serde_json::Value;

use super::objects::{lease_name, lease_object, pod_name, pod_object};
use crate::{
    api::{self, MANAGER, with_uid},
    error::{Error, code},
    nodes::{objects::NodeObject, orders::NodeRestartSettings, watches::selector},
    release::Release,
};

/// Writes the objects of restarts.
pub(super) struct RestartWriter<'c> {
    pub(super) client: &'c Client,
    pub(super) release: &'c Release,
    pub(super) settings: &'c NodeRestartSettings,
}

impl RestartWriter<'_> {
    /// Returns all Leases and pods of the release, past every cache.
    ///
    /// # Errors
    /// The API server rejects the request.
    pub(super) async fn list(&self) -> Result<[Vec<NodeObject>; 2], Error> {
        let of_release = ListParams::default().labels(&selector(self.release));
        let leases = self.leases().list(&of_release).await;
        let leases = leases.map_err(Error::api("list the Leases of restarts"))?;
        let pods = self.pods().list(&of_release).await;
        let pods = pods.map_err(Error::api("list the restart pods"))?;
        Ok([leases.items, pods.items])
    }

    /// Creates the Lease of `node`. A Lease is never overwritten.
    ///
    /// # Errors
    /// One exists, or the API server rejects the write.
    pub(super) async fn create_lease(&self, node: &str, number: u64) -> Result<NodeObject, Error> {
        let object = lease_object(self.release, node, number, Timestamp::now());
        let name = lease_name(node);
        match self.create::<Lease>(&object).await {
            Err(error) if code(&error) == Some(409) => Err(Error::Unread(format!(
                "cannot restart the runtime of {node}: a Lease {name} exists in the namespace {}; \
                 delete it if no restart runs there",
                self.settings.namespace
            ))),
            created => created.map_err(Error::api(format!("create the Lease {name}"))),
        }
    }

    /// Creates the pod that restarts the runtime of `node`.
    ///
    /// # Errors
    /// The API server rejects the write.
    pub(super) async fn create_pod(&self, node: &str, number: u64) -> Result<NodeObject, Error> {
        let object = pod_object(self.release, self.settings, node, number);
        let created = self.create::<Pod>(&object).await;
        let name = pod_name(node, number);
        created.map_err(Error::api(format!("create the restart pod {name}")))
    }

    /// Deletes the Lease with this UID. Its absence is a success.
    ///
    /// # Errors
    /// The API server rejects the write.
    pub(super) async fn delete_lease(&self, name: &str, uid: &str) -> Result<(), Error> {
        let action = format!("delete the Lease {name}");
        api::delete_by(&self.leases(), name, &with_uid(uid), action).await.map(drop)
    }

    /// Deletes the pod with this UID. Its absence is a success.
    ///
    /// # Errors
    /// The API server rejects the write.
    pub(super) async fn delete_pod(&self, name: &str, uid: &str) -> Result<(), Error> {
        let action = format!("delete the restart pod {name}");
        api::delete_by(&self.pods(), name, &with_uid(uid), action).await.map(drop)
    }

    fn leases(&self) -> Api<NodeObject> {
        api::namespaced::<Lease, _>(self.client, &self.settings.namespace)
    }

    fn pods(&self) -> Api<NodeObject> {
        api::namespaced::<Pod, _>(self.client, &self.settings.namespace)
    }

    async fn create<K>(&self, object: &Value) -> Result<NodeObject, kube::Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let all = Request::new(K::url_path(&(), Some(&self.settings.namespace)));
        let request = all.create(&params, object.to_string().into_bytes());
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }
}
