//! Objects of a workload cluster, from the templates of the chart.
//!
//! Helm renders the chart for a workload cluster, with slots in place of the values that differ
//! between clusters. [`Bundle::fill`] fills the slots, swaps the images, and adds the namespaces
//! and the Secret with the declaration.
//!
//! - `slots` has the texts of the slots.
//! - `value` converts YAML to JSON.
//! - `images` swaps the images of pods.
//! - `phase` has the order of the objects.
//! - `record` names the objects that a workload cluster has.

mod images;
mod object;
mod object_value;
mod phase;
mod record;
mod slots;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use image_swap_text::{base64, position::Position, yaml::Tree};
use serde_json::{Map, Value, json};

use self::{
    images::OwnImages,
    slots::{SlotName, SlotValues},
};
pub use self::{
    object::BundleObject,
    object_value::ObjectValue,
    phase::BundlePhase,
    record::AppliedObjects,
    slots::{InvalidApiServer, is_api_server, is_policy},
};
use crate::{
    control::effective::{Effective, Origin, SecretData},
    labels::{APP_MANAGED_BY, IMAGE_SWAP, JET_SYSTEM, LEAVING, POLICY, REGISTRY_INFO, REVISION},
    pull_secret,
    rule::RuleSet,
};

/// Name of the fleet controller in `managedFields` of workload clusters, and in the label
/// [`APP_MANAGED_BY`] of their objects.
pub const FLEET_MANAGER: &str = "image-swap-fleet";
/// Annotation of an object that only some API servers accept: the `GROUP/VERSION` that they serve.
pub const IF_SERVED: &str = "image-swap.io/if-served";
/// Annotation of an object that only a cluster that pulls receives. Its value is `true`.
pub const IF_PULLED: &str = "image-swap.io/if-pulled";
/// Annotation of a namespace, and of the Secret with the declaration, if the fleet controller, or the
/// manifest of an enrolment, created it. Its value is [`FLEET_MANAGER`].
pub const CREATED_BY: &str = "image-swap.io/created-by";
/// Annotation of Helm's hooks, which no workload cluster receives.
const HOOK: &str = "helm.sh/hook";

/// Objects with slots.
///
/// ```
/// use std::collections::BTreeSet;
///
/// use image_swap_core::{
///     control::effective::Effective,
///     fleet::bundle::{Bundle, BundlePhase, BundleSlots},
/// };
///
/// let text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: image-swap-agent}\n";
/// let (declaration, served) = (Effective::none(), BTreeSet::new());
/// let slots = BundleSlots {
///     policy: Some("fail"),
///     ..BundleSlots::new("image-swap", (1, &declaration), &served)
/// };
/// let objects = Bundle::parse(text)?.fill(&slots)?;
/// let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).collect();
/// assert_eq!(names, ["image-swap", "jet-system", "image-swap-agent"]);
/// assert_eq!(objects[0].phase, BundlePhase::Base);
/// # Ok::<(), image_swap_core::fleet::bundle::BundleError>(())
/// ```
#[derive(Debug)]
pub struct Bundle {
    documents: Vec<BundleDocument>,
}

/// Object of a bundle, before its slots are filled.
struct BundleDocument {
    place: Position,
    value: Value,
}

impl std::fmt::Debug for BundleDocument {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BundleDocument").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Values that differ between workload clusters.
#[derive(Clone, Debug)]
pub struct BundleSlots<'a> {
    /// Namespace of the release in the workload cluster.
    pub namespace: &'a str,
    /// Declaration, with its credential.
    pub declaration: &'a Effective,
    /// Number of the declaration.
    pub revision: u64,
    /// Address of the API server for agents, `HOST` or `HOST:PORT`; `None` for the Service
    /// `kubernetes`.
    pub api_server: Option<&'a str>,
    /// Value `policy` of the chart; `None` for that of the bundle, which is the annotation
    /// [`POLICY`] of its Deployments.
    pub policy: Option<&'a str>,
    /// Groups with versions that the API server serves, as `GROUP/VERSION`.
    pub served: &'a BTreeSet<String>,
    /// Secret with the access to the management cluster, in the namespace of the release; `None` for
    /// a cluster that does not pull.
    pub hub_secret: Option<&'a str>,
    /// Hash of the bundle, which the controller of the cluster reports; `None` if the fleet
    /// controller does not apply the bundle.
    pub hash: Option<&'a str>,
}

impl<'a> BundleSlots<'a> {
    /// Returns the values for the release in `namespace`, without optional ones. The declaration has
    /// its number.
    pub const fn new(
        namespace: &'a str,
        (revision, declaration): (u64, &'a Effective),
        served: &'a BTreeSet<String>,
    ) -> Self {
        Self {
            namespace,
            declaration,
            revision,
            api_server: None,
            policy: None,
            served,
            hub_secret: None,
            hash: None,
        }
    }
}

/// Error in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {message}", place.line, place.column)]
pub struct BundleError {
    /// Position in the text of the bundle.
    pub place: Position,
    /// Reason. Quotes no value of a Secret.
    pub message: String,
}

impl BundleError {
    fn new(place: Position, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl Bundle {
    /// Parses the YAML documents that Helm rendered.
    ///
    /// # Errors
    /// Returns an error for invalid YAML, and for a document that is no object of Kubernetes.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let tree = Tree::parse(text).map_err(|error| {
            BundleError::new(error.place, format!("invalid YAML: {}", error.message))
        })?;
        let mut documents = Vec::new();
        let mut known = BTreeMap::new();
        for root in &tree.documents {
            if tree.is_null(*root) {
                continue;
            }
            let place = tree.node(*root).place;
            let value = value::convert(&tree, *root)?;
            let object = object::identity(&value)
                .map_err(|reason| BundleError::new(place, reason.to_owned()))?;
            if let Some(first) = known.insert(object.clone(), place) {
                let reason =
                    format!("expected each object once, found {object} on line {}", first.line);
                return Err(BundleError::new(place, reason));
            }
            documents.push(BundleDocument { place, value });
        }
        Ok(Self { documents })
    }

    /// Returns the objects of a workload cluster, in the order in which they are written.
    ///
    /// # Errors
    /// Returns an error for an unusable declaration, an invalid value of a slot, a slot without a
    /// value outside of `env` and `args`, and an invalid image.
    pub fn fill(&self, slots: &BundleSlots<'_>) -> Result<Vec<BundleObject>, BundleError> {
        let start = |reason: String| BundleError::new(Position::START, reason);
        let declaration = slots.declaration.declaration();
        if declaration.is_none() && slots.declaration.origin != Origin::None {
            return Err(start("the declaration is unusable".to_owned()));
        }
        let policy = slots.policy.or_else(|| self.policy());
        let more = (slots.hub_secret, slots.hash);
        let values = SlotValues::new(slots.api_server, policy, more, || {
            declaration.as_ref().and_then(pull_secret::content).map(base64::encode)
        })
        .map_err(start)?;
        let nothing = RuleSet::new(Vec::new());
        let rules = declaration.as_ref().map_or(&nothing, |it| it.rules());
        let dropped = self.dropped_secrets(&values);
        let mut images = OwnImages::new(rules);
        let mut objects = Vec::new();
        for document in &self.documents {
            let mut value = document.value.clone();
            if is_left_out(&mut value, slots) || values.lacks(&value, SlotName::PullSecret) {
                continue;
            }
            drop_secrets(&mut value, &dropped);
            values.fill(&mut value).map_err(|it| BundleError::new(document.place, it))?;
            images.swap(&mut value).map_err(|it| BundleError::new(document.place, it))?;
            mark_anchor(&mut value);
            objects.push(BundleObject::new(value, document.place)?);
        }
        for object in &mut objects {
            images.swap_in_policy(&mut object.value);
        }
        add_namespaces(&mut objects, slots.namespace);
        objects.extend(registry_info_of(slots.declaration, slots.revision).map(|mut object| {
            // The manifest of an enrolment takes over a Secret that exists.
            if slots.hub_secret.is_some() {
                object.value = object.value.created().clone();
            }
            object
        }));
        // The order of the text stays within a rank.
        objects.sort_by_key(|object| (object.phase, phase::rank(&object.kind)));
        Ok(objects)
    }

    /// Returns the versions that objects need to be sent: the values of [`IF_SERVED`].
    pub fn needed_versions(&self) -> impl Iterator<Item = &str> {
        let documents = self.documents.iter().map(|it| &it.value);
        documents.filter_map(|it| it["metadata"]["annotations"][IF_SERVED].as_str())
    }

    /// Returns the namespace of the release in workload clusters; `None` for a bundle without
    /// Deployments.
    pub fn release_namespace(&self) -> Option<&str> {
        let mut documents = self.documents.iter().map(|it| &it.value);
        let release = documents.find(|it| it["metadata"]["annotations"][POLICY].is_string());
        release?["metadata"]["namespace"].as_str()
    }

    /// Returns the policy of the bundle; `None` without one.
    fn policy(&self) -> Option<&str> {
        let mut documents = self.documents.iter().map(|it| &it.value);
        documents.find_map(|it| it["metadata"]["annotations"][POLICY].as_str())
    }

    /// Returns the names of the pull Secrets that are left out.
    fn dropped_secrets(&self, values: &SlotValues) -> BTreeSet<String> {
        let documents = self.documents.iter().map(|it| &it.value);
        let lacking = documents.filter(|it| values.lacks(it, SlotName::PullSecret));
        lacking.filter_map(|it| Some(it["metadata"]["name"].as_str()?.to_owned())).collect()
    }
}

/// Returns true if a workload cluster does not receive `value`: a hook of Helm, an object that its
/// API server does not serve, or one for clusters that pull. Removes the annotations [`IF_SERVED`]
/// and [`IF_PULLED`].
fn is_left_out(value: &mut Value, slots: &BundleSlots<'_>) -> bool {
    let Some(metadata) = value["metadata"].as_object_mut() else { return false };
    let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) else {
        return false;
    };
    if annotations.contains_key(HOOK) {
        return true;
    }
    let (version, pulled) = (annotations.remove(IF_SERVED), annotations.remove(IF_PULLED));
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    let is_served = |version: Value| version.as_str().is_some_and(|it| slots.served.contains(it));
    !version.is_none_or(is_served) || pulled.is_some() && slots.hub_secret.is_none()
}

/// Removes the references of pods to the pull Secrets `dropped`. Arguments and policies may still
/// name them: an absent pull Secret does not keep a pod from its start.
fn drop_secrets(value: &mut Value, dropped: &BTreeSet<String>) {
    if dropped.is_empty() {
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| drop_secrets(item, dropped)),
        Value::Object(fields) => {
            if let Some(Value::Array(secrets)) = fields.get_mut("imagePullSecrets") {
                secrets.retain(|it| it["name"].as_str().is_none_or(|name| !dropped.contains(name)));
                if secrets.is_empty() {
                    fields.remove("imagePullSecrets");
                }
            }
            fields.values_mut().for_each(|field| drop_secrets(field, dropped));
        }
        _ => {}
    }
}

/// Marks the anchor as staying, which ends an abandoned removal.
fn mark_anchor(value: &mut Value) {
    if value["kind"] != "ClusterRole" || value["metadata"]["name"] != IMAGE_SWAP {
        return;
    }
    value["metadata"]["annotations"][LEAVING] = "false".into();
}

/// Adds the namespace of the release and that of the declaration, unless the bundle has them.
fn add_namespaces(objects: &mut Vec<BundleObject>, release: &str) {
    for name in [JET_SYSTEM, release] {
        let is_known = objects.iter().any(|it| it.kind == "Namespace" && it.name == name);
        if !is_known {
            objects.insert(0, BundleObject::namespace(name));
        }
    }
}

/// Returns the objects of a declaration alone, for a cluster that keeps its former bundle: the Secret
/// with the declaration, and the namespace for it.
pub fn declaration_objects(declaration: &Effective, revision: u64) -> Vec<BundleObject> {
    let namespace = BundleObject::namespace(JET_SYSTEM);
    std::iter::once(namespace).chain(registry_info_of(declaration, revision)).collect()
}

/// Returns the Secret with `declaration`; `None` for an absent one.
fn registry_info_of(declaration: &Effective, revision: u64) -> Option<BundleObject> {
    (declaration.origin != Origin::None).then(|| registry_info(&declaration.secret, revision))
}

/// Returns the Secret with the declaration `secret`, whose number is `revision`.
pub fn registry_info(secret: &SecretData, revision: u64) -> BundleObject {
    let kind = if secret.kind.is_empty() { "Opaque" } else { &secret.kind };
    let data: Map<String, Value> = secret
        .data
        .iter()
        .map(|(key, value)| (key.clone(), base64::encode(value).into()))
        .collect();
    BundleObject {
        phase: BundlePhase::Base,
        api_version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        namespace: Some(JET_SYSTEM.to_owned()),
        name: REGISTRY_INFO.to_owned(),
        value: json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": REGISTRY_INFO,
                "namespace": JET_SYSTEM,
                "labels": { APP_MANAGED_BY: FLEET_MANAGER },
                "annotations": { REVISION: revision.to_string() },
            },
            "type": kind,
            "data": data,
        })
        .into(),
    }
}

#[cfg(test)]
mod tests;
