//! Tokens for workload clusters, in Secrets of the fleet controller's namespace.

use std::time::Duration;

use image_swap_cluster::{
    Error, Release, api,
    secret::{self, text},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt as _, api::DeleteParams};
use serde_json::json;
use tokio::time::timeout;

use super::{secrets::select, settings::FleetSettings};
use crate::remote::FleetToken;

/// Longest time for a read, so that a workload cluster is contacted without it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Annotation with the cluster of a token, as `NAMESPACE/NAME`.
const CLUSTER: &str = "image-swap.io/workload-cluster";

/// Tokens of the fleet controller, one Secret for each workload cluster.
pub(super) struct StoredTokens {
    secrets: Api<Secret>,
    release: Release,
}

/// Returns the token in `secret`; `None` if it is not that of `cluster`.
fn read(secret: &Secret, cluster: &str) -> Option<FleetToken> {
    let of_cluster = secret::annotation(secret, CLUSTER) == Some(cluster);
    let token = text(secret, "token").filter(|_| of_cluster)?.to_owned();
    let server = text(secret, "server")?.to_owned();
    let issued = text(secret, "issued")?.parse().ok()?;
    let expires = text(secret, "expires")?.parse().ok()?;
    Some(FleetToken { token, server, issued, expires })
}

impl StoredTokens {
    pub(super) fn new(client: &Client, settings: &FleetSettings) -> Self {
        let secrets = Api::namespaced(client.clone(), &settings.namespace);
        Self { secrets, release: settings.candidate() }
    }

    /// Returns the token of `cluster`; `None` without one.
    ///
    /// # Errors
    /// [`Error::Api`], and [`Error::Late`].
    pub(super) async fn load(&self, cluster: &str) -> Result<Option<FleetToken>, Error> {
        let name = self.name(cluster);
        let found = timeout(PATIENCE, api::get(&self.secrets, &name)).await;
        let found = found.unwrap_or(Err(Error::Late(PATIENCE.as_secs())))?;
        Ok(found.and_then(|found| read(&found, cluster)))
    }

    /// Stores the token of `cluster`, whose namespace kube-system has the UID `uid`.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn store(
        &self,
        cluster: &str,
        uid: &str,
        token: &FleetToken,
    ) -> Result<(), Error> {
        let name = self.name(cluster);
        let encode = |text: &str| image_swap_text::base64::encode(text);
        let object = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": self.release.namespace,
                "labels": secret::labels(&self.release),
                "annotations": { CLUSTER: cluster },
            },
            "type": "Opaque",
            "data": {
                "token": encode(&token.token),
                "server": encode(&token.server),
                "issued": encode(&token.issued.to_string()),
                "expires": encode(&token.expires.to_string()),
                "uid": encode(uid),
            },
        });
        api::apply(&self.secrets, &name, &object).await.map(drop)
    }

    /// Deletes the token of `cluster`, if there is one.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn delete(&self, cluster: &str) -> Result<(), Error> {
        self.delete_secret(&self.name(cluster)).await
    }

    /// Deletes the tokens of clusters for which `is_gone` returns true.
    ///
    /// # Errors
    /// [`Error::Api`].
    pub(super) async fn delete_gone(&self, is_gone: impl Fn(&str) -> bool) -> Result<(), Error> {
        let own = (&*self.release.name, &*self.name_prefix());
        let action = "list the tokens of workload clusters";
        let gone = select(&self.secrets, own, action, |found| {
            let cluster = found.annotations().get(CLUSTER).filter(|it| is_gone(it));
            cluster.map(|_| found.name_any())
        });
        for name in gone.await? {
            self.delete_secret(&name).await?;
        }
        Ok(())
    }

    async fn delete_secret(&self, name: &str) -> Result<(), Error> {
        let action = format!("delete {name}");
        api::delete_by(&self.secrets, name, &DeleteParams::default(), action).await.map(drop)
    }

    /// Returns the name of the Secret of `cluster`.
    fn name(&self, cluster: &str) -> String {
        format!("{}{}", self.name_prefix(), secret::hash(cluster))
    }

    fn name_prefix(&self) -> String {
        format!("{}-token-", self.release.name)
    }
}
