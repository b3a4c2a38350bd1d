//! Clients of workload clusters.

use image_swap_cluster::remote::RemoteClient;
pub(super) use image_swap_cluster::remote::{
    RefusedRequest, RemoteRequest,
    client::{APPLY, JSON, MERGE, METADATA, json_body},
};
use image_swap_core::fleet::kubeconfig::RemoteAccess;
use kube::Client;
use serde::de::DeserializeOwned;

use super::{RemoteError, RemoteLimits};

/// Bytes of the longest response that kube parses. Its values in memory may need a hundred times the
/// bytes of a hostile text.
const KUBE_MAX: usize = 1 << 20;

/// Workload cluster, with a connection of its own.
#[derive(Clone)]
pub struct RemoteCluster(RemoteClient);

impl RemoteCluster {
    /// Returns a client for `access`, as [`RemoteClient::connect`]. No request is sent.
    ///
    /// # Errors
    /// [`RemoteError::BadAccess`].
    pub fn connect(access: &RemoteAccess, limits: &RemoteLimits) -> Result<Self, RemoteError> {
        RemoteClient::connect(access, limits).map(Self)
    }

    /// Returns a client of kube, as [`RemoteClient::client_within`].
    pub fn client(&self) -> Client {
        self.0.client_within(KUBE_MAX)
    }

    /// Returns the client, for requests that concern no object of image-swap.
    pub(crate) const fn inner(&self) -> &RemoteClient {
        &self.0
    }

    /// Returns the number of connections so far, as [`RemoteClient::connections`].
    pub(crate) fn connections(&self) -> usize {
        self.0.connections()
    }

    /// Returns the limits.
    pub(super) const fn limits(&self) -> &RemoteLimits {
        self.0.limits()
    }

    /// Sends `request` as [`RemoteClient::send`].
    ///
    /// # Errors
    /// No response, or one that is not of an API server.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        request: RemoteRequest<'_>,
    ) -> Result<Result<T, RefusedRequest>, RemoteError> {
        self.0.send(request).await
    }

    /// Reads an object as [`RemoteClient::read`].
    ///
    /// # Errors
    /// No response, or another status than success and 404.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &'static str,
    ) -> Result<Option<T>, RemoteError> {
        self.0.read(path, accept).await
    }
}
