//! The namespaces whose pods the registration selects.

use std::collections::BTreeMap;

use serde_json::Value;

use super::DesiredWebhooks;
use crate::labels;

/// The entries that review new pods.
const ENTRIES: [&str; 2] = [labels::PODS_WEBHOOK, labels::SYSTEM_WEBHOOK];

/// The namespaces whose new pods are reviewed: those that match all requirements of one of
/// the entries. The default matches none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceScope {
    entries: Vec<Vec<Requirement>>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// An operator of a later Kubernetes version, which matches nothing.
    Unknown,
}

impl NamespaceScope {
    /// Returns the scope of a registration: the selectors of `desired` and those that other
    /// writers added to `observed`.
    pub fn of(desired: &DesiredWebhooks, observed: Option<&Value>) -> Self {
        let registered = observed.and_then(|object| object["webhooks"].as_array());
        let entries = desired.entries.iter().filter(|entry| ENTRIES.contains(&entry.name));
        let requirements = |entry: &super::WebhookEntry| {
            let mut all: Vec<Requirement> =
                entry.namespaces.iter().map(Requirement::read).collect();
            let found = registered.into_iter().flatten().find(|it| it["name"] == entry.name);
            let selector = found.map(|entry| &entry["namespaceSelector"]);
            for requirement in selector.into_iter().flat_map(Requirement::of_selector) {
                if !all.contains(&requirement) {
                    all.push(requirement);
                }
            }
            all
        };
        let mut entries: Vec<_> = entries.map(requirements).collect();
        entries.dedup();
        Self { entries }
    }

    /// Returns true if new pods of a namespace with these labels are reviewed.
    pub fn covers(&self, labels: &BTreeMap<String, String>) -> bool {
        self.entries.iter().any(|all| all.iter().all(|requirement| requirement.matches(labels)))
    }

    /// Returns true if the scope depends on the label `key`.
    pub fn reads(&self, key: &str) -> bool {
        self.entries.iter().flatten().any(|requirement| requirement.key == key)
    }
}

impl Requirement {
    fn of_selector(selector: &Value) -> Vec<Self> {
        let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
        let labels = selector["matchLabels"].as_object().into_iter().flatten();
        let equal = labels.map(|(key, value)| Self {
            key: key.clone(),
            operator: Operator::In,
            values: value.as_str().map(str::to_owned).into_iter().collect(),
        });
        expressions.map(Self::read).chain(equal).collect()
    }

    fn read(expression: &Value) -> Self {
        let values = expression["values"].as_array().into_iter().flatten();
        Self {
            key: expression["key"].as_str().unwrap_or_default().to_owned(),
            operator: match expression["operator"].as_str() {
                Some("In") => Operator::In,
                Some("NotIn") => Operator::NotIn,
                Some("Exists") => Operator::Exists,
                Some("DoesNotExist") => Operator::DoesNotExist,
                _ => Operator::Unknown,
            },
            values: values.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let found = labels.get(&self.key);
        match self.operator {
            Operator::In => found.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => found.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => found.is_some(),
            Operator::DoesNotExist => found.is_none(),
            Operator::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::webhooks::WebhookEntry;

    fn desired(operator: &str, value: &str) -> DesiredWebhooks {
        let namespaces =
            vec![json!({ "key": "k8s.twr.io/imageswap", "operator": operator, "values": [value] })];
        let entry = |name| WebhookEntry {
            name,
            namespaces: namespaces.clone(),
            objects: Vec::new(),
            fields: Value::Null,
        };
        let entries = ["pods.image-swap.io", "system.image-swap.io"].map(entry).into();
        DesiredWebhooks { name: "image-swap-admission".into(), owner: Value::Null, entries }
    }

    fn covers(scope: &NamespaceScope, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        scope.covers(&labels)
    }

    #[test]
    fn own_label_decides() {
        let label = "k8s.twr.io/imageswap";
        let scope = NamespaceScope::of(&desired("NotIn", "disabled"), None);
        assert!(covers(&scope, &[]) && covers(&scope, &[(label, "enabled")]));
        assert!(!covers(&scope, &[(label, "disabled")]));
        let scope = NamespaceScope::of(&desired("In", "enabled"), None);
        assert!(!covers(&scope, &[]) && covers(&scope, &[(label, "enabled")]));
        assert!(scope.reads(label) && !scope.reads("team"));
        assert!(!covers(&NamespaceScope::default(), &[]));
    }

    #[test]
    fn selectors_of_others_count_too() {
        let registered = |selector: Value| {
            let entry = |name: &str| json!({ "name": name, "namespaceSelector": selector });
            json!({ "webhooks": [entry("pods.image-swap.io"), entry("system.image-swap.io")] })
        };
        for (selector, inside, outside) in [
            (
                json!({ "matchExpressions": [{ "key": "control-plane", "operator": "DoesNotExist" }] }),
                ("team", "a"),
                ("control-plane", "true"),
            ),
            (json!({ "matchLabels": { "team": "a" } }), ("team", "a"), ("team", "b")),
            (
                json!({ "matchExpressions": [{ "key": "team", "operator": "Exists" }] }),
                ("team", ""),
                ("other", ""),
            ),
        ] {
            let scope =
                NamespaceScope::of(&desired("NotIn", "disabled"), Some(&registered(selector)));
            assert!(covers(&scope, &[inside]) && !covers(&scope, &[outside]), "{scope:?}");
            assert!(!covers(&scope, &[inside, ("k8s.twr.io/imageswap", "disabled")]));
        }
        let later =
            json!({ "matchExpressions": [{ "key": "a", "operator": "Gt", "values": ["1"] }] });
        let scope = NamespaceScope::of(&desired("NotIn", "disabled"), Some(&registered(later)));
        assert!(!covers(&scope, &[("a", "2")]));
    }
}
