//! Clusters as their objects describe them, before the Secret is read.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{ClusterKey, ClusterSettings, EntryAccess, OriginObject};
use crate::{
    control::effective::SecretData,
    fleet::kubeconfig::{RemoteAccess, RemoteCredential, RemoteServer, bearer_token},
    labels::{ENABLED, FLEET_CREDENTIAL},
};

/// Type of the Secrets of Cluster API.
pub const CLUSTER_API_TYPE: &str = "cluster.x-k8s.io/secret";
/// Label of the Secrets of Cluster API, with the name of the `Cluster`.
pub const CLUSTER_NAME: &str = "cluster.x-k8s.io/cluster-name";
/// Key of the kubeconfig in Secrets of Cluster API.
const CLUSTER_API_KEY: &str = "value";
/// Keys of the kubeconfig in labelled Secrets, of which a Secret has one.
const LABELLED_KEYS: [&str; 3] = [CLUSTER_API_KEY, "kubeconfig", "config"];
/// Types of Secrets whose credential is for one API server. A `ClusterProfile` may name another one.
const BOUND_TYPES: [&str; 2] = [CLUSTER_API_TYPE, "kubernetes.io/service-account-token"];
/// Key of the token for the plugin `secretreader`.
const TOKEN_KEY: &str = "token";

/// Cluster that an object of the management cluster describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCluster {
    /// Key of the entry.
    pub key: ClusterKey,
    /// Object.
    pub origin: OriginObject,
    /// Labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Settings of an administrator.
    pub settings: ClusterSettings,
    /// Source of the credential.
    pub route: CredentialRoute,
}

/// Source of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialRoute {
    /// No Secret is read yet, for this reason; not an error.
    Waiting(String),
    /// No Secret is read, for this reason.
    Refused(String),
    /// No Secret is read: the cluster pulls its declaration.
    Pulls,
    /// Secret in the namespace of the object.
    Secret {
        /// Name.
        name: String,
        /// Form of its content.
        form: CredentialForm,
    },
}

/// Form of a Secret with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialForm {
    /// Kubeconfig of Cluster API.
    ClusterApi,
    /// Kubeconfig of a labelled Secret.
    Labelled,
    /// Token for this server.
    Token(RemoteServer),
    /// User of a kubeconfig, for this server.
    User {
        /// Server.
        server: RemoteServer,
        /// Key of the kubeconfig.
        key: String,
        /// Context; `None` for the current one.
        context: Option<String>,
    },
}

/// Secret with a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialSecret {
    /// UID.
    pub uid: String,
    /// Version of the object.
    pub version: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Type and data.
    pub secret: SecretData,
}

impl FoundCluster {
    /// Returns the name of the Secret that is to be read; `None` if there is none.
    pub fn secret(&self) -> Option<&str> {
        match &self.route {
            CredentialRoute::Secret { name, .. } => Some(name),
            CredentialRoute::Waiting(_) | CredentialRoute::Refused(_) | CredentialRoute::Pulls => {
                None
            }
        }
    }

    /// Returns the access by `secret`, the Secret of [`Self::secret`]; `None` if it does not exist.
    pub fn access(&self, secret: Option<&CredentialSecret>) -> EntryAccess {
        let (name, form) = match &self.route {
            CredentialRoute::Waiting(reason) => return EntryAccess::Waiting(reason.clone()),
            CredentialRoute::Refused(reason) => return EntryAccess::Refused(reason.clone()),
            CredentialRoute::Pulls => return EntryAccess::Pulls,
            CredentialRoute::Secret { name, form } => (name, form),
        };
        let Some(secret) = secret else {
            return EntryAccess::Waiting(format!("the Secret {name} does not exist"));
        };
        match self.read(form, secret) {
            Ok(access) => {
                let version = version(form, secret);
                EntryAccess::Usable { access, version }
            }
            Err(reason) => EntryAccess::Refused(format!("the Secret {name}: {reason}")),
        }
    }

    fn read(
        &self,
        form: &CredentialForm,
        secret: &CredentialSecret,
    ) -> Result<RemoteAccess, String> {
        match form {
            CredentialForm::ClusterApi => {
                if secret.secret.kind != CLUSTER_API_TYPE {
                    return Err(format!("expected the type {CLUSTER_API_TYPE}"));
                }
                if secret.labels.get(CLUSTER_NAME) != Some(&self.key.name) {
                    return Err(format!("expected the label {CLUSTER_NAME}={}", self.key.name));
                }
                kubeconfig(secret, CLUSTER_API_KEY)
            }
            CredentialForm::Labelled => {
                let there = |key: &&str| secret.secret.data.contains_key(*key);
                let keys: Vec<_> = LABELLED_KEYS.into_iter().filter(there).collect();
                match *keys {
                    [key] => kubeconfig(secret, key),
                    _ => Err(format!(
                        "found {} of the keys value, kubeconfig and config, expected 1",
                        keys.len(),
                    )),
                }
            }
            CredentialForm::Token(server) => {
                check_shared(secret)?;
                let token = std::str::from_utf8(value(secret, TOKEN_KEY)?).unwrap_or_default();
                let token = bearer_token(token);
                let credential = token.map_err(|reason| format!("key {TOKEN_KEY}: {reason}"))?;
                Ok(server.clone().with(credential))
            }
            CredentialForm::User { server, key, context } => {
                check_shared(secret)?;
                let credential = RemoteCredential::parse(value(secret, key)?, context.as_deref());
                let credential = credential.map_err(|error| format!("key {key}: {error}"))?;
                Ok(server.clone().with(credential))
            }
        }
    }
}

/// Returns an error unless the credential of `secret` may go to the server of a `ClusterProfile`. The
/// writer of the profile chooses the server, and may have no right to read the Secret.
fn check_shared(secret: &CredentialSecret) -> Result<(), String> {
    let CredentialSecret { labels, secret, .. } = secret;
    if BOUND_TYPES.contains(&&*secret.kind) {
        return Err(format!(
            "found the type {}, whose credential is for one API server; name a Secret of the type \
             Opaque",
            secret.kind
        ));
    }
    if labels.get(FLEET_CREDENTIAL).is_none_or(|it| it != ENABLED) {
        return Err(format!(
            "expected the label {FLEET_CREDENTIAL}={ENABLED}, by which an administrator lets \
             ClusterProfiles use the Secret"
        ));
    }
    Ok(())
}

fn kubeconfig(secret: &CredentialSecret, key: &str) -> Result<RemoteAccess, String> {
    RemoteAccess::parse(value(secret, key)?).map_err(|error| format!("key {key}: {error}"))
}

fn value<'s>(secret: &'s CredentialSecret, key: &str) -> Result<&'s [u8], String> {
    let value = secret.secret.data.get(key).map(Vec::as_slice);
    value.ok_or_else(|| format!("the key {key} is missing"))
}

/// Returns a text that changes with the access.
fn version(form: &CredentialForm, secret: &CredentialSecret) -> String {
    let CredentialSecret { uid, version, .. } = secret;
    match form {
        CredentialForm::ClusterApi | CredentialForm::Labelled => format!("{uid}/{version}"),
        CredentialForm::Token(server) => format!("{uid}/{version}/{}", digest(server)),
        CredentialForm::User { server, key, context } => {
            format!("{uid}/{version}/{}", digest(&(server, key, context)))
        }
    }
}

/// Returns a hash that is stable in one process.
fn digest(value: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:x}", hasher.finish())
}
