//! Objects of a filled bundle, and their paths in the API.

use std::fmt;

use image_swap_text::position::Position;
use serde_json::{Value, json};

use super::{BundleError, BundlePhase, ObjectValue};

/// Object of a workload cluster.
#[derive(Clone, PartialEq)]
pub struct BundleObject {
    /// Phase in which it is written.
    pub phase: BundlePhase,
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for an object of the cluster.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Object as JSON. A Secret has credentials in it.
    pub value: ObjectValue,
}

impl fmt::Debug for BundleObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self} ({:?})", self.phase)
    }
}

/// Writes `KIND NAMESPACE/NAME`, or `KIND NAME` for an object of the cluster.
impl fmt::Display for BundleObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.kind, self.namespace.as_deref(), &self.name))
    }
}

fn shown(kind: &str, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Returns kind and name of `value`.
///
/// # Errors
/// Returns the reason why `value` is no object of Kubernetes.
pub(super) fn identity(value: &Value) -> Result<String, &'static str> {
    let text = |field: &Value| field.as_str().filter(|it| !it.is_empty()).map(str::to_owned);
    let metadata = &value["metadata"];
    let (Some(_), Some(kind)) = (text(&value["apiVersion"]), text(&value["kind"])) else {
        return Err("expected an object of Kubernetes, found no apiVersion or kind");
    };
    let Some(name) = text(&metadata["name"]) else {
        return Err("expected an object of Kubernetes, found no metadata.name");
    };
    let namespace = text(&metadata["namespace"]);
    // Names are parts of paths.
    if !is_part(&name) || !namespace.as_deref().is_none_or(is_part) {
        return Err("expected a name of Kubernetes in metadata");
    }
    Ok(shown(&kind, namespace.as_deref(), &name))
}

/// Returns true if `text` is valid as a part of a path: a name of Kubernetes, a group or a version.
pub(super) fn is_part(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b".-:_".contains(&byte);
    !text.starts_with('.') && text.bytes().all(is_inner)
}

impl BundleObject {
    /// Returns `value` as an object. `place` is its position in an error.
    ///
    /// # Errors
    /// Returns the reason why `value` is no object of Kubernetes.
    pub(super) fn new(value: Value, place: Position) -> Result<Self, BundleError> {
        identity(&value).map_err(|reason| BundleError::new(place, reason))?;
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        Ok(Self {
            phase: BundlePhase::of(&value),
            api_version: text(&value["apiVersion"]),
            kind: text(&value["kind"]),
            namespace: value["metadata"]["namespace"].as_str().map(str::to_owned),
            name: text(&value["metadata"]["name"]),
            value: value.into(),
        })
    }

    /// Returns the namespace `name`.
    pub fn namespace(name: &str) -> Self {
        Self {
            phase: BundlePhase::Base,
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: name.to_owned(),
            value: json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
                .into(),
        }
    }

    /// Returns the path of the object in the API.
    ///
    /// ```
    /// use image_swap_core::fleet::bundle::BundleObject;
    ///
    /// assert_eq!(BundleObject::namespace("apps").path(), "/api/v1/namespaces/apps");
    /// ```
    pub fn path(&self) -> String {
        let root = if self.api_version.contains('/') { "apis" } else { "api" };
        let (version, plural, name) = (&self.api_version, plural(&self.kind), &self.name);
        match &self.namespace {
            Some(namespace) => format!("/{root}/{version}/namespaces/{namespace}/{plural}/{name}"),
            None => format!("/{root}/{version}/{plural}/{name}"),
        }
    }
}

/// Returns the name of the resource of `kind`. Every kind of the chart follows the rules of
/// English, but one.
fn plural(kind: &str) -> String {
    let mut name = kind.to_ascii_lowercase();
    if name == "securitycontextconstraints" {
        return name;
    }
    let is_vowel = |it: Option<char>| it.is_some_and(|it| "aeiou".contains(it));
    if name.ends_with('y') && !is_vowel(name.chars().rev().nth(1)) {
        name.pop();
        name.push_str("ies");
    } else if ["s", "x", "ch", "sh"].iter().any(|end| name.ends_with(end)) {
        name.push_str("es");
    } else {
        name.push('s');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_resources_of_kubernetes() {
        let all = [
            ("Namespace", "namespaces"),
            ("NetworkPolicy", "networkpolicies"),
            ("PriorityClass", "priorityclasses"),
            ("PodDisruptionBudget", "poddisruptionbudgets"),
            ("SecurityContextConstraints", "securitycontextconstraints"),
            ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
            ("ServiceMonitor", "servicemonitors"),
            ("Gateway", "gateways"),
        ];
        for (kind, expected) in all {
            assert_eq!(plural(kind), expected);
        }
    }

    #[test]
    fn invalid_names_are_errors() {
        for name in ["", "..", "a/b", "a?b", "a%2f"] {
            let value =
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
            assert!(identity(&value).is_err(), "{name}");
        }
    }
}
