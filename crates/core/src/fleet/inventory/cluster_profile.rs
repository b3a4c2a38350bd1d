//! `ClusterProfile` objects of the cluster inventory (SIG Multicluster).
//!
//! A profile has the server. The credential is that of a provider, which the reference library runs
//! as a program. Here both reference plugins are built in, and no program runs. A Secret is read
//! only in the namespace of the profile.

use serde_json::Value;

use super::{
    ClusterSource,
    found::{CredentialForm, CredentialRoute, FoundCluster},
    metadata,
};
use crate::fleet::kubeconfig::RemoteServer;

/// API group.
pub const GROUP: &str = "multicluster.x-k8s.io";
/// Versions that are read, newest first.
pub const VERSIONS: [&str; 2] = ["v1alpha2", "v1alpha1"];
/// Kind.
pub const KIND: &str = "ClusterProfile";
/// Extension of `cluster` with the configuration of the plugin.
const EXTENSION: &str = "client.authentication.k8s.io/exec";

/// Provider of credentials that an administrator configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfiguredProvider {
    /// Name in `status.accessProviders`.
    pub name: String,
    /// Source of the credential.
    pub plugin: CredentialPlugin,
}

/// Source of a credential, as the reference plugin of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialPlugin {
    /// Key `token` of the Secret that `clusterName` names.
    SecretReader,
    /// User of a kubeconfig, in the Secret and key that the extension names.
    KubeconfigSecretReader,
}

impl CredentialPlugin {
    /// Returns the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretReader => "secretreader",
            Self::KubeconfigSecretReader => "kubeconfig-secretreader",
        }
    }

    /// Returns the plugin called `name`; `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::SecretReader, Self::KubeconfigSecretReader];
        all.into_iter().find(|plugin| plugin.as_str() == name)
    }
}

/// Reads a `ClusterProfile` of any of [`VERSIONS`]. The first of `providers` that the profile has
/// is chosen. Returns `None` for an object without name, namespace or UID.
pub fn found(profile: &Value, providers: &[ConfiguredProvider]) -> Option<FoundCluster> {
    let kind = ("multicluster.x-k8s.io/v1alpha1", KIND);
    metadata::found(ClusterSource::ClusterProfile, kind, profile, || {
        let status = &profile["status"];
        // v1alpha1 has both lists. The first one is preferred.
        let of = |list: &str| status[list].as_array().map(Vec::as_slice).unwrap_or_default();
        let all = || of("accessProviders").iter().chain(of("credentialProviders"));
        let chosen = providers
            .iter()
            .find_map(|it| Some((it.plugin, all().find(|provider| provider["name"] == *it.name)?)));
        match chosen {
            Some((plugin, provider)) => {
                let namespace = profile["metadata"]["namespace"].as_str().unwrap_or_default();
                route(plugin, &provider["cluster"], namespace)
                    .unwrap_or_else(CredentialRoute::Refused)
            }
            None if all().next().is_none() => {
                CredentialRoute::Waiting("status.accessProviders is empty".to_owned())
            }
            None => CredentialRoute::Refused(unsupported(all())),
        }
    })
}

/// Returns the reason to refuse a profile with none of the configured providers.
fn unsupported<'v>(providers: impl Iterator<Item = &'v Value>) -> String {
    let names: Vec<_> = providers
        .filter_map(|provider| provider["name"].as_str())
        .filter(|name| name.len() <= 63 && name.bytes().all(|byte| byte.is_ascii_graphic()))
        .take(3)
        .collect();
    format!(
        "unsupported credential providers: {}; configure one with --credential-provider \
         NAME=secretreader or NAME=kubeconfig-secretreader",
        names.join(", "),
    )
}

/// Returns the source of the credential that `plugin` reads for the server `cluster`.
fn route(
    plugin: CredentialPlugin,
    cluster: &Value,
    namespace: &str,
) -> Result<CredentialRoute, String> {
    let server = RemoteServer::parse(&cluster.to_string(), "status.accessProviders[].cluster")
        .map_err(|error| error.to_string())?;
    let extensions = cluster["extensions"].as_array().into_iter().flatten();
    let extension = extensions
        .filter(|it| it["name"] == EXTENSION)
        .map(|it| &it["extension"])
        .next()
        .ok_or_else(|| format!("the extension {EXTENSION} of the provider is missing"))?;
    let text = |key: &str| extension[key].as_str().filter(|text| !text.is_empty());
    let secret = |key: &str| {
        let name = text(key).filter(|name| metadata::is_name(name)).map(str::to_owned);
        name.ok_or_else(|| format!("extension {EXTENSION}: {key}: expected the name of a Secret"))
    };
    match plugin {
        CredentialPlugin::SecretReader => {
            let name = secret("clusterName")?;
            Ok(CredentialRoute::Secret { name, form: CredentialForm::Token(server) })
        }
        CredentialPlugin::KubeconfigSecretReader => {
            if text("namespace").is_some_and(|other| other != namespace) {
                return Err(format!(
                    "extension {EXTENSION}: namespace: expected the namespace of the \
                     ClusterProfile; move the Secret there"
                ));
            }
            let key = text("key").filter(|key| is_key(key)).map(str::to_owned);
            let key = key.ok_or_else(|| {
                format!("extension {EXTENSION}: key: expected the key of a Secret")
            })?;
            let context = text("context").map(str::to_owned);
            let form = CredentialForm::User { server, key, context };
            Ok(CredentialRoute::Secret { name: secret("name")?, form })
        }
    }
}

/// Returns true if `text` is a key of a Secret.
fn is_key(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= 253 && text.bytes().all(is_allowed)
}
