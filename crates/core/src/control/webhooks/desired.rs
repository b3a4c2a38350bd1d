//! The desired webhook configuration.

use image_swap_text::base64;
use serde_json::{Value, json};

use super::Settings;
use crate::{
    control::policy::FailurePolicy,
    labels,
    machine_template::{loss_conditions, reviewed_kinds},
};

/// Path of reviews of pods on the replicas.
const PATH: &str = "/mutate";
/// Path of reviews of machine templates on the replicas.
const TEMPLATES_PATH: &str = "/bootstrap";

/// Expression for pods that other pods need in order to start: they use the host network, or
/// have a critical priority of Kubernetes.
const IS_SYSTEM: &str = "(has(object.spec.hostNetwork) && object.spec.hostNetwork) || \
    (has(object.spec.priorityClassName) && \
    object.spec.priorityClassName in ['system-node-critical', 'system-cluster-critical'])";

/// A configuration to register.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredWebhooks {
    /// Name of the configuration.
    pub name: String,
    /// Owner, as an `ownerReferences` entry.
    pub owner: Value,
    /// Webhooks of the configuration.
    pub entries: Vec<WebhookEntry>,
}

/// One webhook of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookEntry {
    /// Qualified name.
    pub name: &'static str,
    /// `matchExpressions` of the namespace selector.
    pub namespaces: Vec<Value>,
    /// `matchExpressions` of the object selector.
    pub objects: Vec<Value>,
    /// All other fields; an empty one must be absent.
    pub fields: Value,
}

/// Returns the configuration to register for `settings`.
pub fn desired(settings: &Settings) -> DesiredWebhooks {
    let namespaces = serde_json::to_string(&settings.system_namespaces).unwrap_or_default();
    let is_system = format!("request.namespace in {namespaces} || {IS_SYSTEM}");
    let ordinary = condition("ordinary", &format!("!({is_system})"));
    let system = condition("system", &is_system);
    let image = condition("image", &changes());
    let (fail, ignore) = (settings.policy, FailurePolicy::Ignore);
    let pods = [rule("CREATE", "pods", &[])];
    let updates = [rule("UPDATE", "pods", &["pods/ephemeralcontainers"])];
    let mut entries = vec![
        settings.entry(labels::PODS_WEBHOOK, fail, &pods, &ordinary),
        settings.entry(labels::SYSTEM_WEBHOOK, ignore, &pods, &system),
        settings.entry(labels::UPDATES_WEBHOOK, ignore, &updates, &image),
        settings.probe(),
    ];
    if !settings.template_namespaces.is_empty() {
        let conditions = loss_conditions();
        let conditions = conditions.iter().map(|(name, expression)| condition(name, expression));
        let enabled = [labels::ENABLED.to_owned()];
        entries.push(WebhookEntry {
            objects: vec![expression(labels::BOOTSTRAP, "In", &enabled)],
            ..settings.templates(labels::BOOTSTRAP_WEBHOOK, ignore, "CREATE", &[])
        });
        // While no replica is reached, only an update that loses the script is refused.
        let (name, fail) = (labels::BOOTSTRAP_UPDATES_WEBHOOK, FailurePolicy::Fail);
        let conditions: Vec<Value> = conditions.collect();
        entries.push(settings.templates(name, fail, "UPDATE", &conditions));
    }
    DesiredWebhooks { name: settings.name.clone(), owner: settings.owner.reference(), entries }
}

impl Settings {
    fn entry(
        &self,
        name: &'static str,
        policy: FailurePolicy,
        rules: &[Value],
        condition: &Value,
    ) -> WebhookEntry {
        let (operator, value) = if self.opt_in { ("In", "enabled") } else { ("NotIn", "disabled") };
        let namespaces = vec![expression(&self.namespace_label, operator, &[value.to_owned()])];
        let mut fields = self.fields(policy, rules);
        fields["matchConditions"] = json!([condition]);
        let objects = vec![expression(labels::EXEMPT, "NotIn", &["true".to_owned()])];
        WebhookEntry { name, namespaces, objects, fields }
    }

    /// Returns an entry for machine templates.
    fn templates(
        &self,
        name: &'static str,
        policy: FailurePolicy,
        operation: &str,
        conditions: &[Value],
    ) -> WebhookEntry {
        let rules: Vec<Value> = reviewed_kinds()
            .map(|kind| {
                let plural = format!("{}s", kind.name.to_lowercase());
                let mut rule = rule(operation, &plural, &[]);
                rule["apiGroups"] = json!([kind.group]);
                rule["apiVersions"] = json!(["*"]);
                rule
            })
            .collect();
        let mut fields = self.fields(policy, &rules);
        fields["clientConfig"]["service"]["path"] = json!(TEMPLATES_PATH);
        fields["matchConditions"] = json!(conditions);
        let names = &self.template_namespaces;
        let namespaces = vec![expression("kubernetes.io/metadata.name", "In", names)];
        WebhookEntry { name, namespaces, objects: Vec::new(), fields }
    }

    /// Returns the entry for probes. Its policy is always `Fail`, since a rejected probe is the
    /// sign that the API server reaches no replica.
    fn probe(&self) -> WebhookEntry {
        let rules = [rule("CREATE", "configmaps", &[])];
        let mut fields = self.fields(FailurePolicy::Fail, &rules);
        fields["matchConditions"] = json!([]);
        let objects = vec![expression(labels::PROBE, "In", std::slice::from_ref(&self.release))];
        WebhookEntry { name: labels::PROBE_WEBHOOK, namespaces: Vec::new(), objects, fields }
    }

    fn fields(&self, policy: FailurePolicy, rules: &[Value]) -> Value {
        let super::Service { namespace, name, port } = &self.service;
        json!({
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "caBundle": base64::encode(&self.ca_bundle),
                "service": { "namespace": namespace, "name": name, "path": PATH, "port": port },
            },
            "failurePolicy": policy.as_str(),
            "matchPolicy": "Equivalent",
            // Webhooks that follow may add containers.
            "reinvocationPolicy": "IfNeeded",
            "rules": rules,
            "sideEffects": "None",
            "timeoutSeconds": self.timeout_seconds,
        })
    }
}

fn rule(operation: &str, resource: &str, more: &[&str]) -> Value {
    let resources: Vec<&str> = std::iter::once(resource).chain(more.iter().copied()).collect();
    json!({
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": [operation],
        "resources": resources,
        "scope": "Namespaced",
    })
}

fn expression(key: &str, operator: &str, values: &[String]) -> Value {
    json!({ "key": key, "operator": operator, "values": values })
}

fn condition(name: &str, expression: &str) -> Value {
    json!({ "name": format!("{name}{}", labels::WEBHOOK_SUFFIX), "expression": expression })
}

/// Returns the expression that is true of a request which changes an image: some list has other
/// images than before, in their order.
///
/// The expression compares whole lists, so that its cost grows with the number of containers. A
/// search by name would grow with the square, up to the API server's cost limit.
fn changes() -> String {
    let lists = [
        ("containers", "has(it.image) ? it.image : ''"),
        ("initContainers", "has(it.image) ? it.image : ''"),
        ("ephemeralContainers", "has(it.image) ? it.image : ''"),
        ("volumes", "has(it.image) && has(it.image.reference) ? it.image.reference : ''"),
    ];
    let differs = |(list, image): (&str, &str)| {
        let images = |object: &str| {
            let list = format!("{object}.spec.{list}");
            format!("(has({list}) ? {list}.map(it, {image}) : [])")
        };
        format!("{} != {}", images("object"), images("oldObject"))
    };
    lists.map(differs).join(" || ")
}
