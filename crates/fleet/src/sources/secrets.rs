//! Requests for Secrets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use image_swap_cluster::{error::reason, secret::declared};
use image_swap_core::{control::effective::SecretData, fleet::inventory::found::CredentialSecret};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::time::timeout;

use super::event::SecretKey;

/// The deadline of a request.
const DEADLINE: Duration = Duration::from_secs(30);

/// Secrets `registry-info` by namespace, without those that were never read; `None` for a Secret that
/// does not exist.
pub type RegistryInfos = BTreeMap<String, Option<Arc<SecretData>>>;

/// Result of a request: the Secret, `None` if it does not exist, or the reason of a failure.
pub(super) type ReadResult = Result<Option<Arc<CredentialSecret>>, String>;

/// Reads a Secret.
pub(super) async fn read(client: Client, secret: SecretKey) -> (SecretKey, ReadResult) {
    let api: Api<Secret> = Api::namespaced(client, &secret.namespace);
    let result = match timeout(DEADLINE, api.get_opt(&secret.name)).await {
        Ok(Ok(found)) => Ok(found.map(|found| Arc::new(credential(found)))),
        Ok(Err(error)) => Err(reason(&error)),
        Err(_) => Err(format!("no response within {} seconds", DEADLINE.as_secs())),
    };
    (secret, result)
}

fn credential(found: Secret) -> CredentialSecret {
    let secret = declared(&found);
    CredentialSecret {
        uid: found.metadata.uid.unwrap_or_default(),
        version: found.metadata.resource_version.unwrap_or_default(),
        labels: found.metadata.labels.unwrap_or_default(),
        secret,
    }
}
