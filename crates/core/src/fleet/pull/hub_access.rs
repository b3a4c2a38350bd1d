//! Access of a workload cluster to its objects on the management cluster.

use std::collections::BTreeMap;

use image_swap_text::base64;
use serde_json::{Map, Value, json};

use super::names::PullNames;
use crate::{
    declaration::{Certificates, UnixTime},
    fleet::{
        bundle::{BundleObject, BundlePhase, FLEET_MANAGER},
        inventory::is_name,
        kubeconfig::{RemoteAccess, RemoteCredential, bearer_token, server_url},
    },
    labels::{APP_MANAGED_BY, APP_NAME, IMAGE_SWAP},
};

/// Name of the Secret with the access, in the namespace of the release on the workload cluster.
pub const HUB_SECRET: &str = "image-swap-hub";
/// Requested life of a token, in seconds.
pub const TOKEN_LIFE: UnixTime = 24 * 60 * 60;

const SERVER: &str = "server";
const TLS_SERVER_NAME: &str = "tls-server-name";
const AUTHORITY: &str = "ca.crt";
const TOKEN: &str = "token";
const ISSUED: &str = "issued";
const EXPIRES: &str = "expires";
const NAMESPACE: &str = "namespace";
const DECLARATION: &str = "declaration";
const HEARTBEAT: &str = "heartbeat";
const ACCOUNT: &str = "account";

/// Access of a workload cluster to its objects on the management cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubAccess {
    /// API server of the management cluster, with the token.
    pub remote: RemoteAccess,
    /// Time at which the token was issued.
    pub issued: UnixTime,
    /// Time at which the token expires.
    pub expires: UnixTime,
    /// Namespace of the objects.
    pub namespace: String,
    /// Secret with the declaration.
    pub declaration: String,
    /// Lease that the cluster renews.
    pub heartbeat: String,
    /// Service account of the token.
    pub account: String,
}

/// Error in the Secret with the access. Quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key {key} of the Secret {HUB_SECRET}: {reason}; apply the manifest of a new enrolment")]
pub struct HubAccessError {
    key: &'static str,
    reason: String,
}

impl HubAccess {
    /// Returns the access of an enrolment.
    pub fn new(
        names: &PullNames,
        remote: RemoteAccess,
        (issued, expires): (UnixTime, UnixTime),
    ) -> Self {
        Self {
            remote,
            issued,
            expires,
            namespace: names.namespace.clone(),
            declaration: names.secret(),
            heartbeat: names.lease(),
            account: names.account(),
        }
    }

    /// Returns the time at which the token is renewed: half of its life is over.
    pub const fn due(&self) -> UnixTime {
        self.issued.saturating_add(self.expires.saturating_sub(self.issued) / 2)
    }

    /// Returns the access with the successor of the token.
    #[must_use]
    pub fn renewed(&self, token: String, issued: UnixTime, expires: UnixTime) -> Self {
        let remote =
            RemoteAccess { credential: RemoteCredential::Token(token), ..self.remote.clone() };
        Self { remote, issued, expires, ..self.clone() }
    }

    /// Returns the data of the Secret.
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut data = BTreeMap::from([
            (SERVER, self.remote.server.clone()),
            (ISSUED, self.issued.to_string()),
            (EXPIRES, self.expires.to_string()),
            (NAMESPACE, self.namespace.clone()),
            (DECLARATION, self.declaration.clone()),
            (HEARTBEAT, self.heartbeat.clone()),
            (ACCOUNT, self.account.clone()),
        ]);
        if let RemoteCredential::Token(token) = &self.remote.credential {
            data.insert(TOKEN, token.clone());
        }
        data.extend(self.remote.authority.as_deref().map(|it| (AUTHORITY, text(it))));
        data.extend(self.remote.tls_server_name.clone().map(|it| (TLS_SERVER_NAME, it)));
        data
    }

    /// Reads the Secret whose values `value` returns by key.
    ///
    /// # Errors
    /// [`HubAccessError`] for a missing or invalid value.
    pub fn read<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Result<Self, HubAccessError> {
        let invalid = |key, reason: &str| HubAccessError { key, reason: reason.to_owned() };
        let text = |key| value(key).ok_or_else(|| invalid(key, "expected a text, found none"));
        let number = |key| {
            let found = text(key)?.parse::<UnixTime>();
            found.map_err(|_| invalid(key, "expected seconds since 1970"))
        };
        let name = |key| {
            let found = Some(text(key)?).filter(|it| is_name(it));
            found.map(str::to_owned).ok_or_else(|| invalid(key, "expected a name of Kubernetes"))
        };
        let authority = value(AUTHORITY).map(|pem| {
            let parsed = Certificates::parse(pem);
            parsed.map(|_| pem.as_bytes().to_vec()).map_err(|reason| invalid(AUTHORITY, &reason))
        });
        let server = server_url(text(SERVER)?).map_err(|it| invalid(SERVER, &it.to_string()))?;
        let token = bearer_token(text(TOKEN)?).map_err(|it| invalid(TOKEN, &it.to_string()))?;
        let remote = RemoteAccess {
            server,
            tls_server_name: value(TLS_SERVER_NAME).map(str::to_owned),
            authority: authority.transpose()?,
            credential: token,
        };
        Ok(Self {
            remote,
            issued: number(ISSUED)?,
            expires: number(EXPIRES)?,
            namespace: name(NAMESPACE)?,
            declaration: name(DECLARATION)?,
            heartbeat: name(HEARTBEAT)?,
            account: name(ACCOUNT)?,
        })
    }

    /// Returns the Secret with the access in `namespace` of the workload cluster.
    pub fn secret(&self, namespace: &str) -> BundleObject {
        let data: Map<String, Value> = self
            .data()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), base64::encode(value).into()))
            .collect();
        BundleObject {
            phase: BundlePhase::Base,
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: Some(namespace.to_owned()),
            name: HUB_SECRET.to_owned(),
            value: json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": HUB_SECRET,
                    "namespace": namespace,
                    "labels": { APP_NAME: IMAGE_SWAP, APP_MANAGED_BY: FLEET_MANAGER },
                },
                "type": "Opaque",
                "data": data,
            })
            .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> HubAccess {
        let names = PullNames::new("clusters", "edge").unwrap();
        let remote = RemoteAccess {
            server: "https://hub.example.org:6443".into(),
            tls_server_name: Some("kubernetes".into()),
            authority: None,
            credential: RemoteCredential::Token("hunter2-hunter2".into()),
        };
        HubAccess::new(&names, remote, (1000, 87_400))
    }

    fn read(change: impl FnOnce(&mut BTreeMap<&'static str, String>)) -> Result<HubAccess, String> {
        let mut data = access().data();
        change(&mut data);
        HubAccess::read(|key| data.get(key).map(String::as_str)).map_err(|it| it.to_string())
    }

    #[test]
    fn written_access_reads_the_same() {
        assert_eq!(read(|_| {}), Ok(access()));
        let keys: Vec<&str> = access().data().into_keys().collect();
        let expected = [
            "account",
            "declaration",
            "expires",
            "heartbeat",
            "issued",
            "namespace",
            "server",
            "tls-server-name",
            "token",
        ];
        assert_eq!(keys, expected);
        let secret = access().secret("image-swap");
        assert_eq!(secret.path(), "/api/v1/namespaces/image-swap/secrets/image-swap-hub");
    }

    // guarantee: 6b
    #[test]
    fn errors_quote_no_value() {
        let values = [
            ("server", "http://hub.example.org"),
            ("token", "hunter2 hunter2"),
            ("issued", "hunter2"),
            ("declaration", "../hunter2"),
            ("ca.crt", "hunter2"),
        ];
        for (key, value) in values {
            let error = read(|data| drop(data.insert(key, value.to_owned()))).unwrap_err();
            assert!(
                error.starts_with(&format!("key {key} of the Secret image-swap-hub: ")),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = read(|data| drop(data.remove("account"))).unwrap_err();
        assert!(error.contains("key account"), "{error}");
        assert!(!format!("{:?}", access()).contains("hunter2"));
    }

    #[test]
    fn token_is_renewed_at_half_of_its_life() {
        let access = access();
        assert_eq!(access.due(), 1000 + 43_200);
        let renewed = access.renewed("next".into(), 44_200, 44_800);
        assert_eq!(renewed.due(), 44_500);
        assert_eq!(renewed.remote.credential, RemoteCredential::Token("next".into()));
        // The clocks of both clusters may differ.
        assert_eq!(access.renewed("next".into(), 900, 800).due(), 900);
    }
}
