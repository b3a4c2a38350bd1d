//! Objects that no bundle has: those of the controller in a workload cluster, and the namespaces
//! of the release.

use image_swap_cluster::Release;
use image_swap_core::{
    fleet::bundle::BundleObject,
    labels::{APP_NAME, IMAGE_SWAP, JET_SYSTEM, REGISTRY_INFO},
};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    client::RemoteCluster,
    error::RemoteError,
    objects::{LiveObject, named},
    removal_report::{KeptObject, RemovalReport},
};

/// Response with the metadata of a list of objects.
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Number of objects of a kind that are read of a namespace.
const LISTED: usize = 50;
/// Resources by which a namespace counts as used: root of their API, and plural.
const USES: [(&str, &str); 12] = [
    ("api/v1", "pods"),
    ("api/v1", "configmaps"),
    ("api/v1", "secrets"),
    ("api/v1", "services"),
    ("api/v1", "serviceaccounts"),
    ("api/v1", "persistentvolumeclaims"),
    ("apis/apps/v1", "deployments"),
    ("apis/apps/v1", "statefulsets"),
    ("apis/apps/v1", "daemonsets"),
    ("apis/batch/v1", "jobs"),
    ("apis/batch/v1", "cronjobs"),
    ("apis/networking.k8s.io/v1", "ingresses"),
];
/// Objects that Kubernetes and its distributions create in every namespace.
const EVERYWHERE: [(&str, &str); 7] = [
    ("configmaps", "kube-root-ca.crt"),
    ("configmaps", "openshift-service-ca.crt"),
    ("configmaps", "istio-ca-root-cert"),
    ("serviceaccounts", "default"),
    ("serviceaccounts", "builder"),
    ("serviceaccounts", "deployer"),
    ("serviceaccounts", "pipeline"),
];

/// List of objects of which only metadata are read.
#[derive(Default, Deserialize)]
struct FoundList {
    #[serde(default)]
    metadata: FoundPage,
    /// Objects; `None` in an empty list of an API server.
    items: Option<Vec<FoundObject>>,
}

#[derive(Default, Deserialize)]
struct FoundPage {
    /// Token of the next page; `None` on the last.
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct FoundObject {
    metadata: FoundMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FoundMetadata {
    name: String,
    #[serde(default)]
    owner_references: Vec<IgnoredAny>,
    #[serde(default)]
    annotations: FoundAnnotations,
}

#[derive(Default, Deserialize)]
struct FoundAnnotations {
    /// Account of a token; `None` unless a Secret belongs to a service account.
    #[serde(rename = "kubernetes.io/service-account.name")]
    account: Option<IgnoredAny>,
}

/// Returns the objects that the controller of a release creates in its namespace, and the Secret
/// with the declaration.
pub(super) fn of_controller(release: &Release) -> Vec<BundleObject> {
    let namespace = &release.namespace;
    let secrets = [
        release.effective(),
        release.last_good(),
        release.nodes(),
        release.authority(),
        release.certificate(),
    ];
    let leases = [release.heartbeat(), release.controller()];
    let secrets = secrets.map(|name| named("v1", "Secret", namespace, &name));
    let leases = leases.map(|name| named("coordination.k8s.io/v1", "Lease", namespace, &name));
    let status = named("v1", "ConfigMap", namespace, &release.status());
    let declaration = named("v1", "Secret", JET_SYSTEM, REGISTRY_INFO);
    secrets.into_iter().chain([status]).chain(leases).chain([declaration]).collect()
}

impl RemoteCluster {
    /// Deletes a namespace that the fleet controller created, unless other programs use it.
    ///
    /// # Errors
    /// The cluster does not respond, or refuses the credential.
    pub(super) async fn remove_namespace(
        &self,
        namespace: &BundleObject,
        report: &mut RemovalReport,
    ) -> Result<(), RemoteError> {
        let live = self.live(namespace).await?;
        let Some(live) = live.filter(|it| !it.is_ending()) else { return Ok(()) };
        if live.is_created_by_fleet() {
            match self.other_object(&namespace.name).await {
                Ok(None) => return self.remove_object(namespace, report).await.map(drop),
                Ok(Some(_)) => {}
                Err(error) => return report.note(namespace, error),
            }
        }
        let reason = if live.is_created_by_fleet() {
            "it has objects of other programs"
        } else {
            "the fleet controller did not create it"
        };
        report.kept.push(KeptObject { object: namespace.to_string(), reason });
        Ok(())
    }

    /// Returns the resource of an object of another program in `namespace`; `None` without one.
    async fn other_object(&self, namespace: &str) -> Result<Option<&'static str>, RemoteError> {
        for (root, plural) in USES {
            // `!=` as a part of a query.
            let path = format!(
                "/{root}/namespaces/{namespace}/{plural}?limit={LISTED}&labelSelector={}%21%3D{IMAGE_SWAP}",
                APP_NAME.replace('/', "%2F"),
            );
            // An API server may not serve a resource.
            let found: FoundList = self.read(&path, METADATA_LIST).await?.unwrap_or_default();
            let is_more = found.metadata.next.is_some_and(|it| !it.is_empty());
            if is_more || found.items.iter().flatten().any(|it| it.is_of_others(plural)) {
                return Ok(Some(plural));
            }
        }
        Ok(None)
    }
}

impl FoundObject {
    /// Returns true unless Kubernetes created the object in the namespace, or deletes it with its
    /// owner.
    fn is_of_others(&self, plural: &str) -> bool {
        let metadata = &self.metadata;
        metadata.owner_references.is_empty()
            && metadata.annotations.account.is_none()
            && !EVERYWHERE.contains(&(plural, metadata.name.as_str()))
    }
}

/// Returns the reason why `object` stays; `None` if it is deleted. `is_written` is true if its
/// writer is the expected one.
pub(super) fn reason_to_keep(
    object: &BundleObject,
    live: &LiveObject,
    is_written: bool,
) -> Option<&'static str> {
    let is_declaration = object.kind == "Secret" && object.name == REGISTRY_INFO;
    let is_marked = object.kind == "Namespace" || is_declaration;
    if live.is_of_helm() {
        return Some("Helm installed it");
    }
    if is_marked && !live.is_created_by_fleet() {
        return Some("the fleet controller did not create it");
    }
    if !is_written {
        return Some("another program wrote it");
    }
    if live.has_other_apply() {
        return Some("another program applies it");
    }
    // The wait for nodes deletes it with the last report.
    (object.kind == "CustomResourceDefinition").then_some("it has the reports of nodes")
}
