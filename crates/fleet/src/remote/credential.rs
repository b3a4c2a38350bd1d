//! The credential of the fleet controller in a workload cluster: a token of its own, with which
//! the kubeconfig of the administrator is used once.

use image_swap_cluster::{remote::IssuedToken, secret};
use image_swap_core::{
    declaration::UnixTime,
    fleet::{
        bundle::{BundleObject, BundlePhase, FLEET_MANAGER},
        drift::RepairLog,
        kubeconfig::{RemoteAccess, RemoteCredential},
    },
    labels::{APP_MANAGED_BY, APP_NAME, IMAGE_SWAP},
};
use image_swap_text::base64;
use serde_json::{Value, json};

use super::{apply::ApplyReport, client::RemoteCluster, error::RemoteError, limits::RemoteLimits};

/// Requested life of a token, in seconds.
const LIFE: UnixTime = 7 * 24 * 60 * 60;

/// Token of the fleet controller for a workload cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct FleetToken {
    /// Bearer token.
    pub token: String,
    /// Hash of the API server that issued it. No other server receives it.
    pub server: String,
    /// Time of the request for it.
    pub issued: UnixTime,
    /// Time at which it expires.
    pub expires: UnixTime,
}

/// Reason why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenError {
    /// A request failed.
    Request(RemoteError),
    /// Other writers hold objects of the account, which stay as they are.
    Contested(Box<ApplyReport>),
}

impl From<RemoteError> for TokenError {
    fn from(error: RemoteError) -> Self {
        Self::Request(error)
    }
}

impl std::fmt::Debug for FleetToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FleetToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl FleetToken {
    /// Returns true if the token is to be renewed at `now`: half of its life is over. The API server
    /// decides how long that is.
    pub const fn is_due(&self, now: UnixTime) -> bool {
        self.expires.saturating_sub(now) < self.expires.saturating_sub(self.issued) / 2
    }

    /// Returns true if the API server of `access` issued the token.
    pub fn is_of(&self, access: &RemoteAccess) -> bool {
        self.server == server(access)
    }

    /// Returns `access` with the token as its credential.
    #[must_use]
    pub fn access(&self, access: &RemoteAccess) -> RemoteAccess {
        RemoteAccess { credential: RemoteCredential::Token(self.token.clone()), ..access.clone() }
    }

    /// Renews the token by itself. If the cluster refuses it, `admin` creates the account again,
    /// with its permissions and a token.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses both credentials. Other writers hold an object of the
    /// account.
    pub async fn renew(
        &self,
        admin: &RemoteAccess,
        limits: &RemoteLimits,
        namespace: &str,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let own = RemoteCluster::connect(&self.access(admin), limits)?;
        match own.request_token(namespace, now).await {
            Err(RemoteError::Unauthorized | RemoteError::Refused(403 | 404)) => {
                Self::create(admin, limits, namespace, now).await
            }
            result => Ok(fleet_token(result?, admin, now)),
        }
    }

    /// Creates the account of the fleet controller in `namespace` by `admin`, and returns a token.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses a request. Other writers hold an object of the
    /// account.
    pub async fn create(
        admin: &RemoteAccess,
        limits: &RemoteLimits,
        namespace: &str,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let cluster = RemoteCluster::connect(admin, limits)?;
        Ok(fleet_token(cluster.create_token(namespace, now).await?, admin, now))
    }
}

/// Returns the token that the API server of `access` issued at `now`.
fn fleet_token(issued: IssuedToken, access: &RemoteAccess, now: UnixTime) -> FleetToken {
    let IssuedToken { token, expires } = issued;
    FleetToken { token, server: server(access), issued: now, expires }
}

/// Returns the hash of the API server of `access`: its address and its authority.
fn server(access: &RemoteAccess) -> String {
    let name = access.tls_server_name.as_deref().unwrap_or_default();
    let authority = base64::encode(access.authority.as_deref().unwrap_or_default());
    secret::sha256(&format!("{}\n{name}\n{authority}", access.server))
}

impl RemoteCluster {
    /// Creates the account of the fleet controller in `namespace`, with the permissions of an
    /// administrator, and returns a token for it. Needs the access of an administrator.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses a request. Other writers hold an object of the
    /// account.
    pub async fn create_token(
        &self,
        namespace: &str,
        now: UnixTime,
    ) -> Result<IssuedToken, TokenError> {
        let mut objects = vec![binding(namespace), account(namespace)];
        let release = BundleObject::namespace(namespace);
        // A namespace that exists keeps the labels of the bundle. One of Helm is a conflict.
        if self.live(&release).await?.is_none_or(|it| it.is_of_helm()) {
            objects.insert(0, release);
        }
        let report = self.apply(&objects, &mut RepairLog::default(), now).await?;
        if let Some(failure) = report.failures.first() {
            return Err(failure.error.into());
        }
        if !report.is_complete() {
            return Err(TokenError::Contested(Box::new(report)));
        }
        Ok(self.request_token(namespace, now).await?)
    }

    /// Requests a token for the account of the fleet controller in `namespace`.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the request.
    async fn request_token(
        &self,
        namespace: &str,
        now: UnixTime,
    ) -> Result<IssuedToken, RemoteError> {
        self.inner().request_token(&account(namespace).path(), LIFE, now).await
    }
}

fn labels() -> Value {
    json!({ APP_NAME: IMAGE_SWAP, APP_MANAGED_BY: FLEET_MANAGER })
}

/// Returns the account of the fleet controller.
pub(super) fn account(namespace: &str) -> BundleObject {
    object(
        "v1",
        "ServiceAccount",
        Some(namespace),
        json!({ "automountServiceAccountToken": false }),
    )
}

/// Returns the permissions of the account.
pub(super) fn binding(namespace: &str) -> BundleObject {
    let more = json!({
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{ "kind": "ServiceAccount", "name": FLEET_MANAGER, "namespace": namespace }],
    });
    object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", None, more)
}

/// Returns an object of the credential with the fields `more`.
fn object(api_version: &str, kind: &str, namespace: Option<&str>, mut more: Value) -> BundleObject {
    more["apiVersion"] = api_version.into();
    more["kind"] = kind.into();
    more["metadata"] = json!({ "name": FLEET_MANAGER, "labels": labels() });
    if let Some(namespace) = namespace {
        more["metadata"]["namespace"] = namespace.into();
    }
    BundleObject {
        phase: BundlePhase::Base,
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: FLEET_MANAGER.to_owned(),
        value: more.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(server: &str, authority: &str) -> RemoteAccess {
        RemoteAccess {
            server: server.to_owned(),
            tls_server_name: None,
            authority: Some(authority.as_bytes().to_vec()),
            credential: RemoteCredential::Token("administrator".to_owned()),
        }
    }

    #[test]
    fn short_life_is_renewed_at_its_half() {
        let issued = IssuedToken { token: "t".to_owned(), expires: 1_000 + 600 };
        let token = fleet_token(issued, &access("https://a", "one"), 1_000);
        assert!(!token.is_due(1_000) && !token.is_due(1_299));
        assert!(token.is_due(1_301) && token.is_due(9_000));
    }

    #[test]
    fn no_other_server_receives_the_token() {
        let issued = IssuedToken { token: "t".to_owned(), expires: 1_600 };
        let token = fleet_token(issued, &access("https://a", "one"), 1_000);
        let other = RemoteCredential::Token("renewed".to_owned());
        assert!(token.is_of(&RemoteAccess { credential: other, ..access("https://a", "one") }));
        assert!(!token.is_of(&access("https://b", "one")));
        assert!(!token.is_of(&access("https://a", "two")));
        let name = Some("b".to_owned());
        assert!(
            !token.is_of(&RemoteAccess { tls_server_name: name, ..access("https://a", "one") })
        );
    }
}
