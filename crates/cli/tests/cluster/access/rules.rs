//! The rules of the chart's roles, compared with the API server's answer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::VALUES;
use crate::{
    install::{AGENTS, Account, Installed, RESTART, TRIAL, Used},
    test_cluster::NAMESPACE,
};

/// Resources that Kubernetes opens to every service account, by `system:basic-user` and
/// `system:cluster-trust-bundle-discovery`.
const DEFAULTS: [(&str, &str); 4] = [
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("certificates.k8s.io", "clustertrustbundles"),
];

/// A verb on a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Right {
    verb: String,
    group: String,
    resource: String,
    /// The name of the object; empty for every name.
    name: String,
    /// The namespace; empty for all namespaces, and for resources without a namespace.
    namespace: String,
}

impl Right {
    /// Returns the permission as `VERB RESOURCE` with its namespace.
    pub(super) fn text(&self) -> String {
        format!("{} {} in {}", self.verb, self.resource, self.namespace)
    }

    /// Returns true if this permission allows `used`.
    pub(super) fn allows(&self, used: &Used) -> bool {
        let anything =
            |granted: &str, used_value: &str| granted.is_empty() || granted == used_value;
        self.verb == used.verb
            && self.group == used.group
            && self.resource == used.resource
            && anything(&self.name, &used.name)
            && anything(&self.namespace, &used.namespace)
    }
}

/// Returns the permissions that the chart grants `account`.
pub(super) fn granted(installed: &Installed, account: Account) -> BTreeSet<Right> {
    let roles = installed.roles(account);
    roles.iter().flat_map(of_role).collect()
}

/// Returns the permissions in a role.
pub(super) fn of_role(role: &Value) -> BTreeSet<Right> {
    let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
    rights(&role["rules"], namespace)
}

/// Returns each combination of verb and resource in `rules`.
fn rights(rules: &Value, namespace: &str) -> BTreeSet<Right> {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules.as_array().unwrap() {
        let mut names = list(&rule["resourceNames"]);
        if names.is_empty() {
            names.push(String::new());
        }
        for verb in list(&rule["verbs"]) {
            for group in list(&rule["apiGroups"]) {
                for resource in list(&rule["resources"]) {
                    for name in &names {
                        rights.insert(Right {
                            verb: verb.clone(),
                            group: group.clone(),
                            resource: resource.clone(),
                            name: name.clone(),
                            namespace: namespace.to_owned(),
                        });
                    }
                }
            }
        }
    }
    rights
}

/// Compares the API server's list of permissions with the chart, in each relevant namespace. Other
/// bindings must not grant more.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn api_server_grants_exactly_the_chart_permissions() {
    let installed = Installed::with(&format!("{VALUES}agent: {{restart: rolling}}\n")).await;
    for account in [Account::Controller, Account::Admission, Account::Agent] {
        let client = installed.client_as(account).await;
        let all = granted(&installed, account);
        let own = [NAMESPACE, AGENTS, TRIAL, RESTART];
        for namespace in own.into_iter().chain(["apps", "kube-system", "jet-system", "default"]) {
            let review = json!({
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectRulesReview",
                "spec": { "namespace": namespace },
            });
            let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
            let request = hyper::Request::post(path).header("content-type", "application/json");
            let request = request.body(review.to_string().into_bytes()).unwrap();
            let answer: Value = client.request(request).await.unwrap();
            assert_eq!(answer["status"]["incomplete"], false);
            let found: BTreeSet<Right> = rights(&answer["status"]["resourceRules"], "")
                .into_iter()
                .filter(|right| !DEFAULTS.contains(&(&right.group, &right.resource)))
                .collect();
            let expected: BTreeSet<Right> = all
                .iter()
                .filter(|right| right.namespace.is_empty() || right.namespace == namespace)
                .map(|right| Right { namespace: String::new(), ..right.clone() })
                .collect();
            assert_eq!(found, expected, "{account:?} in {namespace}");
        }
    }
}
