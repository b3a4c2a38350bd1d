//! Content of the management cluster that a manifest needs: bundle, declaration and server.

use image_swap_cluster::{
    Error, Release, api,
    secret::{annotation, text},
};
use image_swap_core::{
    control::effective::{Effective, Origin},
    fleet::{
        bundle::Bundle,
        kubeconfig::{RemoteServer, server_url},
        pull::{DeclarationCopy, FleetAccount, PullNames},
    },
    labels::{REGISTRY_INFO, REVISION},
    status::StoredDeclaration,
};
use image_swap_text::base64;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret},
    rbac::v1::RoleBinding,
};
use kube::{Api, Client, Config};

use super::{error::EnrolmentError, request::EnrolmentRequest};
use crate::{
    controller::namespaces,
    names::{BUNDLE, FleetNames},
};

/// `ConfigMap` in every namespace with the authority of the API server.
const ROOT_CA: &str = "kube-root-ca.crt";
/// Namespace of the release in workload clusters, if the bundle names none.
const WORKLOAD: &str = "image-swap";

/// Content of the management cluster for a manifest.
pub(super) struct HubContent {
    pub(super) bundle: Bundle,
    pub(super) declaration: Effective,
    /// Number of the declaration.
    pub(super) revision: u64,
    /// Account of the fleet controller.
    pub(super) fleet: FleetAccount,
}

impl HubContent {
    /// Reads the content for the cluster `cluster`.
    ///
    /// # Errors
    /// Something is missing or unusable, or the API server refuses a request.
    pub(super) async fn read(
        client: &Client,
        cluster: &PullNames,
        release: &Release,
    ) -> Result<Self, EnrolmentError> {
        let fleet = account(client, &cluster.namespace, release).await?;
        let names = FleetNames::new(&fleet.namespace, release);
        let (revision, declaration) = match copy(client, cluster).await? {
            Some(DeclarationCopy { revision, effective }) => (revision, effective),
            None => declaration(client, &cluster.namespace, release, &names).await?,
        };
        let bundle = bundle(client, &names).await?;
        Ok(Self { bundle, declaration, revision, fleet })
    }

    /// Returns the namespace of the release in the workload cluster.
    pub(super) fn namespace(&self) -> &str {
        self.bundle.release_namespace().unwrap_or(WORKLOAD)
    }
}

/// Returns the account of the fleet controller that reads `namespace`.
async fn account(
    client: &Client,
    namespace: &str,
    release: &Release,
) -> Result<FleetAccount, EnrolmentError> {
    let binding = format!("{}-clusters", release.name);
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let found = api::get(&bindings, &binding).await?;
    let mut subjects = found.into_iter().flat_map(|it| it.subjects.unwrap_or_default());
    let account =
        subjects.find_map(|it| Some(FleetAccount { namespace: it.namespace?, name: it.name }));
    account.ok_or_else(|| EnrolmentError::NoFleet { namespace: namespace.to_owned(), binding })
}

/// Returns the copy of the declaration that an enrolled cluster is to have: annotations and waves may
/// keep an earlier one in force. `None` before the fleet controller has written it.
async fn copy(
    client: &Client,
    cluster: &PullNames,
) -> Result<Option<DeclarationCopy>, EnrolmentError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &cluster.namespace);
    let name = cluster.secret();
    let Some(found) = api::get(&secrets, &name).await? else { return Ok(None) };
    let copy = DeclarationCopy::read(|key| text(&found, key), annotation(&found, REVISION));
    copy.map_err(|_| EnrolmentError::InvalidCopy(format!("{}/{name}", cluster.namespace)))
}

/// Returns the newest declaration of a cluster in `namespace`, with its number: that of the
/// namespace, else that of the management cluster.
async fn declaration(
    client: &Client,
    namespace: &str,
    release: &Release,
    names: &FleetNames,
) -> Result<(u64, Effective), EnrolmentError> {
    let beside: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let is_beside = beside.get_metadata_opt(REGISTRY_INFO).await;
    let is_beside = is_beside.map_err(Error::api(format!("read {namespace}/{REGISTRY_INFO}")))?;
    if is_beside.is_some() {
        let stored: Api<Secret> = Api::namespaced(client.clone(), &names.controller.namespace);
        let stored = api::get(&stored, &names.namespace_declaration(namespace)).await?;
        let own = stored.as_ref().map(namespaces::read).unwrap_or_default();
        return own
            .effective
            .map(|it| (own.revision, Effective::clone(&it)))
            .ok_or_else(|| EnrolmentError::NoDeclaration(format!("{namespace}/{REGISTRY_INFO}")));
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &release.namespace);
    let missing =
        || EnrolmentError::NoDeclaration(format!("{}/{}", release.namespace, release.last_good()));
    let stored = api::get(&secrets, &release.last_good()).await?.ok_or_else(missing)?;
    let StoredDeclaration(effective) =
        StoredDeclaration::read(|key| text(&stored, key)).ok_or_else(missing)?;
    let revision = annotation(&stored, REVISION).and_then(|it| it.parse().ok());
    let revision = revision.filter(|_| effective.origin != Origin::None).ok_or_else(missing)?;
    Ok((revision, effective))
}

/// Returns the bundle.
async fn bundle(client: &Client, names: &FleetNames) -> Result<Bundle, EnrolmentError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &names.controller.namespace);
    let name = names.bundle();
    let map = api::get(&maps, &name).await?;
    let text = map.and_then(|it| it.data).and_then(|mut it| it.remove(BUNDLE));
    let missing = || EnrolmentError::NoBundle(format!("{}/{name}", names.controller.namespace));
    Bundle::parse(&text.ok_or_else(missing)?).map_err(EnrolmentError::Bundle)
}

/// Returns the API server of the management cluster, for the workload cluster.
///
/// # Errors
/// The URL is unusable, or the API server refuses a request.
pub(super) async fn server(
    client: &Client,
    config: &Config,
    request: &EnrolmentRequest,
) -> Result<RemoteServer, EnrolmentError> {
    let url = request.server.clone().unwrap_or_else(|| config.cluster_url.to_string());
    let server = server_url(&url).map_err(EnrolmentError::Server)?;
    let tls_server_name = config.tls_server_name.clone().filter(|_| request.server.is_none());
    let authority = match &config.root_cert {
        Some(found) => Some(found.iter().map(|der| pem(der)).collect::<String>()),
        None => root_ca(client, &request.names.namespace).await?,
    };
    Ok(RemoteServer { server, tls_server_name, authority: authority.map(String::into_bytes) })
}

/// Returns the authority of the API server, from `namespace`; `None` if it has none.
async fn root_ca(client: &Client, namespace: &str) -> Result<Option<String>, EnrolmentError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = api::get(&maps, ROOT_CA).await?;
    Ok(map.and_then(|it| it.data).and_then(|mut it| it.remove("ca.crt")))
}

/// Returns a certificate as PEM.
fn pem(der: &[u8]) -> String {
    const COLUMNS: usize = 64;
    let encoded = base64::encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % COLUMNS == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_have_short_lines() {
        let text = pem(&[7; 96]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1..3].iter().all(|line| line.len() == 64), "{text}");
        assert_eq!(base64::decode(lines[1..3].concat()), Some(vec![7; 96]));
    }
}
