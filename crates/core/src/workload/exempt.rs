//! Pods and images that are exempt although a rule matches them.
//!
//! Some operators compare the image of a pod with the image that they requested, and replace
//! the pod if the two differ. A swapped pod of such an operator is deleted and created again
//! forever.
//!
//! Some injectors replace a placeholder image, and treat any other name as the user's own
//! choice. [`BUILT_IN`] lists both; administrators extend the list or disable it.

use std::{borrow::Cow, str::FromStr};

/// A row of the built-in list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Pods with an owner of this kind.
    Owner {
        /// The kind in `ownerReferences`.
        kind: &'static str,
        /// The API group, in any of its versions.
        group: &'static str,
        /// The owner as reasons name it.
        named: &'static str,
    },
    /// Pods with this label: their owner is a built-in kind.
    Label {
        /// The label's key.
        key: &'static str,
        /// The label's value.
        value: &'static str,
        /// The name of the operator or product.
        product: &'static str,
    },
    /// An image that an injector replaces.
    Placeholder {
        /// The image as written.
        image: &'static str,
        /// The container that the injector looks for in every pod of its namespaces.
        container: &'static str,
        /// Labels and annotations by which a pod is injected, whatever the names of its
        /// containers.
        marks: &'static [&'static str],
        /// The name of the injector.
        product: &'static str,
    },
}

/// The labels and annotations by which Istio injects a pod.
const ISTIO_MARKS: &[&str] =
    &["inject.istio.io/templates", "sidecar.istio.io/inject", "istio.io/rev"];

/// The built-in list. docs/operators.md has a row for each, with the setting of the
/// operator that replaces the swap.
pub const BUILT_IN: &[BuiltIn] = &[
    owner("Cluster", "postgresql.cnpg.io", "a CloudNativePG Cluster"),
    owner("Cluster", "postgresql.k8s.enterprisedb.io", "an EDB Postgres Cluster"),
    owner("CatalogSource", "operators.coreos.com", "an OLM CatalogSource"),
    owner("AerospikeCluster", "asdb.aerospike.com", "an AerospikeCluster"),
    owner("InstanceSet", "workloads.kubeblocks.io", "a KubeBlocks InstanceSet"),
    owner("Instance", "workloads.kubeblocks.io", "a KubeBlocks Instance"),
    owner("Jenkins", "jenkins.io", "a Jenkins of the Jenkins Operator"),
    owner("KafkaCluster", "kafka.banzaicloud.io", "a KafkaCluster of Koperator"),
    owner("NifiCluster", "nifi.konpyutaika.com", "a NifiCluster of NiFiKop"),
    owner("NifiCluster", "nifi.orange.com", "a NifiCluster of NiFiKop"),
    owner("postgresql", "acid.zalan.do", "a postgresql of the Zalando Postgres Operator"),
    owner("Skyhook", "skyhook.nvidia.com", "an NVIDIA Skyhook"),
    owner("VitessShard", "planetscale.com", "a VitessShard"),
    owner("EtcdLockserver", "planetscale.com", "a Vitess EtcdLockserver"),
    BuiltIn::Label { key: "application", value: "spilo", product: "Zalando Postgres Operator" },
    BuiltIn::Label { key: "app", value: "aerospike-cluster", product: "Aerospike Operator" },
    BuiltIn::Placeholder {
        image: "auto",
        container: "istio-proxy",
        marks: ISTIO_MARKS,
        product: "Istio",
    },
];

const fn owner(kind: &'static str, group: &'static str, named: &'static str) -> BuiltIn {
    BuiltIn::Owner { kind, group, named }
}

/// The pods and images that are exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemptions {
    owners: Vec<ExemptOwner>,
    labels: Vec<ExemptLabel>,
    images: Vec<ExemptImage>,
    /// The kinds of all owners.
    kinds: Sieve,
    /// The keys of all labels.
    keys: Sieve,
    /// The marks of all images.
    marks: Sieve,
}

/// A bit set of texts that excludes most other texts. Most pods have no text of the list, and
/// need no comparison with each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sieve(u64);

impl Sieve {
    const EMPTY: Self = Self(0);

    /// Returns the set of `texts`.
    fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        Self(texts.fold(0, |all, text| all | Self::bit(text.as_bytes())))
    }

    /// Returns false for a text that is surely outside of the set.
    #[inline]
    const fn may_hold(self, text: &[u8]) -> bool {
        self.0 & Self::bit(text) != 0
    }

    #[inline]
    const fn bit(text: &[u8]) -> u64 {
        let first = match text {
            [first, ..] => *first as usize,
            [] => 0,
        };
        1 << (text.len().wrapping_add(first) % 64)
    }
}

/// A kind whose pods are exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptOwner {
    kind: Cow<'static, str>,
    group: Cow<'static, str>,
    reason: String,
}

/// A label whose pods are exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptLabel {
    key: Cow<'static, str>,
    /// The value; `None` for any value.
    value: Option<Cow<'static, str>>,
    reason: String,
}

/// An image that is exempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExemptImage {
    image: Cow<'static, str>,
    /// The container of the image; `None` for any container.
    container: Option<Cow<'static, str>>,
    marks: &'static [&'static str],
    reason: String,
}

/// A text that names no owner, label or image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found '{found}'; write for example {example}")]
pub struct InvalidExemption {
    expected: &'static str,
    found: String,
    example: &'static str,
}

/// The exemption of one pod: a handle into [`Exemptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodExemption {
    /// The pod has an owner on the list.
    Owner(usize),
    /// The pod has a label on the list.
    Label(usize),
}

impl Default for Exemptions {
    fn default() -> Self {
        let mut exemptions = Self::none();
        for row in BUILT_IN {
            match *row {
                BuiltIn::Owner { kind, group, named } => exemptions.owners.push(ExemptOwner {
                    kind: kind.into(),
                    group: group.into(),
                    reason: format!("owned by {named}"),
                }),
                BuiltIn::Label { key, value, product } => exemptions.labels.push(ExemptLabel {
                    key: key.into(),
                    value: Some(value.into()),
                    reason: format!("labelled {key}={value} by the {product}"),
                }),
                BuiltIn::Placeholder { image, container, marks, product } => {
                    exemptions.images.push(ExemptImage {
                        image: image.into(),
                        container: Some(container.into()),
                        marks,
                        reason: format!("placeholder that {product} replaces"),
                    });
                }
            }
        }
        exemptions.sifted()
    }
}

impl Exemptions {
    /// Returns a list without rows.
    pub const fn none() -> Self {
        Self {
            owners: Vec::new(),
            labels: Vec::new(),
            images: Vec::new(),
            kinds: Sieve::EMPTY,
            keys: Sieve::EMPTY,
            marks: Sieve::EMPTY,
        }
    }

    /// Computes the sieves from the present rows.
    fn sifted(mut self) -> Self {
        self.kinds = Sieve::of(self.owners.iter().map(|row| &*row.kind));
        self.keys = Sieve::of(self.label_keys());
        self.marks = Sieve::of(self.marks());
        self
    }

    /// Adds rows in front of the present ones.
    #[must_use]
    pub fn with(
        mut self,
        owners: impl IntoIterator<Item = ExemptOwner>,
        labels: impl IntoIterator<Item = ExemptLabel>,
        images: impl IntoIterator<Item = ExemptImage>,
    ) -> Self {
        self.owners.splice(..0, owners);
        self.labels.splice(..0, labels);
        self.images.splice(..0, images);
        self.sifted()
    }

    /// Returns the exemption by an owner of this `apiVersion` and `kind`, in UTF-8; `None` if
    /// there is none.
    #[inline]
    pub fn owner(
        &self,
        api_version: impl AsRef<[u8]>,
        kind: impl AsRef<[u8]>,
    ) -> Option<PodExemption> {
        let (api_version, kind) = (api_version.as_ref(), kind.as_ref());
        if !self.kinds.may_hold(kind) {
            return None;
        }
        let group = super::group(api_version);
        let is_row =
            |row: &ExemptOwner| row.kind.as_bytes() == kind && row.group.as_bytes() == group;
        self.owners.iter().position(is_row).map(PodExemption::Owner)
    }

    /// Returns true if a row has the label `key`, so that its value must be read.
    #[inline]
    pub fn has_label(&self, key: &[u8]) -> bool {
        self.keys.may_hold(key) && self.labels.iter().any(|row| row.key.as_bytes() == key)
    }

    /// Returns the exemption by the label `key` with this value; `None` if there is none.
    pub fn label(&self, key: &[u8], value: &str) -> Option<PodExemption> {
        let is_value = |row: &ExemptLabel| row.value.as_ref().is_none_or(|wanted| wanted == value);
        let is_row = |row: &ExemptLabel| row.key.as_bytes() == key && is_value(row);
        self.labels.iter().position(is_row).map(PodExemption::Label)
    }

    /// Returns the keys of all labels that exempt a pod.
    pub fn label_keys(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|row| &*row.key)
    }

    /// Returns true if `key` is a label or annotation by which an injector chooses pods.
    #[inline]
    pub fn is_mark(&self, key: &[u8]) -> bool {
        self.marks.may_hold(key) && self.marks().any(|mark| mark.as_bytes() == key)
    }

    /// Returns the labels and annotations by which injectors choose pods.
    pub fn marks(&self) -> impl Iterator<Item = &str> {
        self.images.iter().flat_map(|row| row.marks).copied()
    }

    /// Returns the reason of a pod's exemption, as a message: `owned by a ...`.
    pub fn reason(&self, of: PodExemption) -> &str {
        match of {
            PodExemption::Owner(row) => self.owners.get(row).map(|row| &*row.reason),
            PodExemption::Label(row) => self.labels.get(row).map(|row| &*row.reason),
        }
        .unwrap_or_default()
    }

    /// Returns the reason for which `image` of `container` is exempt; `None` if it is not.
    /// `is_marked` is true for a pod with one of [`Self::marks`].
    #[inline]
    pub fn image(&self, image: &str, container: &str, is_marked: bool) -> Option<&str> {
        let row = self.images.iter().find(|row| {
            let is_container = || row.container.as_ref().is_none_or(|wanted| wanted == container);
            row.image == image && (is_container() || (is_marked && !row.marks.is_empty()))
        })?;
        Some(&row.reason)
    }
}

fn invalid(expected: &'static str, found: &str, example: &'static str) -> InvalidExemption {
    InvalidExemption { expected, found: found.to_owned(), example }
}

/// Returns true for a text of letters, digits and `.`, `-`, `_`, as names in Kubernetes are.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(is_plain)
}

/// Parses `KIND.GROUP`, as kubectl writes it: `Cluster.postgresql.cnpg.io`.
impl FromStr for ExemptOwner {
    type Err = InvalidExemption;

    fn from_str(text: &str) -> Result<Self, InvalidExemption> {
        let parts = text.split_once('.').filter(|(kind, group)| {
            let is_kind = kind.bytes().all(|byte| byte.is_ascii_alphanumeric());
            !kind.is_empty() && is_kind && is_name(group)
        });
        let (kind, group) = parts
            .ok_or_else(|| invalid("an owner as KIND.GROUP", text, "Cluster.postgresql.cnpg.io"))?;
        Ok(Self {
            kind: kind.to_owned().into(),
            group: group.to_owned().into(),
            reason: format!("owned by a {text}"),
        })
    }
}

/// Parses `KEY` or `KEY=VALUE`.
impl FromStr for ExemptLabel {
    type Err = InvalidExemption;

    fn from_str(text: &str) -> Result<Self, InvalidExemption> {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (text, None),
        };
        let is_key = match key.split_once('/') {
            Some((prefix, name)) => is_name(prefix) && is_name(name),
            None => is_name(key),
        };
        if !is_key || value.is_some_and(|value| !value.is_empty() && !is_name(value)) {
            return Err(invalid("a label as KEY or KEY=VALUE", text, "app=database"));
        }
        Ok(Self {
            key: key.to_owned().into(),
            value: value.map(|value| value.to_owned().into()),
            reason: format!("labelled {text}"),
        })
    }
}

/// Parses `IMAGE` or `CONTAINER=IMAGE`.
impl FromStr for ExemptImage {
    type Err = InvalidExemption;

    fn from_str(text: &str) -> Result<Self, InvalidExemption> {
        let (container, image) = match text.split_once('=') {
            Some((container, image)) => (Some(container), image),
            None => (None, text),
        };
        let is_image = !image.is_empty() && !image.contains([' ', '\t', '\n', '=']);
        if !is_image || container.is_some_and(|container| !is_name(container)) {
            return Err(invalid("an image as IMAGE or CONTAINER=IMAGE", text, "proxy=auto"));
        }
        Ok(Self {
            image: image.to_owned().into(),
            container: container.map(|container| container.to_owned().into()),
            marks: &[],
            reason: format!("image {text}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_matches_in_every_version() {
        let exemptions = Exemptions::default();
        for version in ["v1", "v2beta1"] {
            let api_version = format!("postgresql.cnpg.io/{version}");
            let found = exemptions.owner(&api_version, "Cluster").unwrap();
            assert_eq!(exemptions.reason(found), "owned by a CloudNativePG Cluster");
        }
        for (api_version, kind) in [
            ("postgresql.cnpg.io/v1", "Pooler"),
            ("cluster.x-k8s.io/v1beta1", "Cluster"),
            ("apps/v1", "ReplicaSet"),
            ("v1", "Cluster"),
            ("", ""),
        ] {
            assert_eq!(exemptions.owner(api_version, kind), None, "{api_version} {kind}");
        }
    }

    #[test]
    fn label_exempts_by_key_and_value() {
        let exemptions = Exemptions::default();
        let found = exemptions.label(b"application", "spilo").unwrap();
        let reason = "labelled application=spilo by the Zalando Postgres Operator";
        assert_eq!(exemptions.reason(found), reason);
        assert_eq!(exemptions.label(b"application", "shop"), None);
        assert_eq!(exemptions.label(b"app", "spilo"), None);
        let any: ExemptLabel = "example.org/keep".parse().unwrap();
        let exemptions = Exemptions::none().with([], [any], []);
        for value in ["", "a"] {
            let found = exemptions.label(b"example.org/keep", value).unwrap();
            assert_eq!(exemptions.reason(found), "labelled example.org/keep");
        }
    }

    #[test]
    fn placeholder_needs_its_container_or_a_mark() {
        let exemptions = Exemptions::default();
        let reason = Some("placeholder that Istio replaces");
        assert_eq!(exemptions.image("auto", "istio-proxy", false), reason);
        assert_eq!(exemptions.image("auto", "gateway", true), reason);
        assert_eq!(exemptions.image("auto", "gateway", false), None);
        assert_eq!(exemptions.image("auto:1", "istio-proxy", true), None);
        assert_eq!(Exemptions::none().image("auto", "istio-proxy", true), None);
    }

    #[test]
    fn configured_rows_come_before_built_in_ones() {
        let owner: ExemptOwner = "Cluster.postgresql.cnpg.io".parse().unwrap();
        let image: ExemptImage = "proxy=registry.example:5000/a/b:1".parse().unwrap();
        let exemptions = Exemptions::default().with([owner], [], [image]);
        let found = exemptions.owner("postgresql.cnpg.io/v1", "Cluster").unwrap();
        assert_eq!(exemptions.reason(found), "owned by a Cluster.postgresql.cnpg.io");
        let image = "registry.example:5000/a/b:1";
        assert!(exemptions.image(image, "proxy", false).is_some());
        // A mark does not replace the container of a configured row.
        assert_eq!(exemptions.image(image, "other", true), None);
    }

    #[test]
    fn invalid_rows_are_rejected_with_an_example() {
        for text in ["", "Cluster", ".example.org", "Cluster.", "Clu ster.example.org"] {
            let error = text.parse::<ExemptOwner>().unwrap_err().to_string();
            assert!(error.contains("KIND.GROUP"), "{error}");
            assert!(error.ends_with("write for example Cluster.postgresql.cnpg.io"), "{error}");
        }
        for text in ["", "=a", "a=b c", "a/b/c", "a b"] {
            assert!(text.parse::<ExemptLabel>().is_err(), "{text:?}");
        }
        for text in ["", "a=", "=auto", "a b", "a=b=c"] {
            assert!(text.parse::<ExemptImage>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_built_in_row_exempts() {
        let exemptions = Exemptions::default();
        for row in BUILT_IN {
            let is_exempt = match row {
                BuiltIn::Owner { kind, group, .. } => {
                    exemptions.owner(format!("{group}/v1"), kind).is_some()
                }
                BuiltIn::Label { key, value, .. } => {
                    exemptions.has_label(key.as_bytes())
                        && exemptions.label(key.as_bytes(), value).is_some()
                }
                BuiltIn::Placeholder { image, container, marks, .. } => {
                    exemptions.image(image, container, false).is_some()
                        && marks.iter().all(|mark| exemptions.is_mark(mark.as_bytes()))
                }
            };
            assert!(is_exempt, "{row:?}");
        }
    }

    #[test]
    fn every_built_in_row_is_in_the_docs() {
        let docs = include_str!("../../../../docs/operators.md");
        for row in BUILT_IN {
            let written = match row {
                BuiltIn::Owner { kind, group, .. } => format!("`{kind}.{group}`"),
                BuiltIn::Label { key, value, .. } => format!("`{key}={value}`"),
                BuiltIn::Placeholder { image, .. } => format!("`{image}`"),
            };
            assert!(docs.contains(&written), "{written}");
        }
    }
}
