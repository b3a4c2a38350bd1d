//! Objects of a cluster that pulls, on the management cluster.

use serde_json::{Value, json};

use super::names::PullNames;
use crate::{
    fleet::bundle::{BundleObject, BundlePhase},
    labels::{APP_MANAGED_BY, APP_NAME, FLEET_CLUSTER, IMAGE_SWAP, PULL},
};

/// Name of `fleet enroll` in `managedFields`.
pub const ENROLLER: &str = "image-swap-enroll";
/// API group of Roles and bindings.
const RBAC: &str = "rbac.authorization.k8s.io";

/// Kinds of the objects, in the order in which a revocation deletes them. The service account comes
/// first: its tokens are invalid from then on.
pub const REVOKED_KINDS: [&str; 5] = ["ServiceAccount", "RoleBinding", "Role", "Lease", "Secret"];

/// Service account of the fleet controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetAccount {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Enrolment of a cluster that pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// Names of the objects.
    pub names: PullNames,
    /// Account that writes the declaration.
    pub fleet: FleetAccount,
}

impl Enrolment {
    /// Returns the objects in the order in which they are created. The Secret has no data: the
    /// fleet controller writes them.
    pub fn objects(&self) -> Vec<BundleObject> {
        let names = &self.names;
        let (account, role) = (names.account(), names.fleet_role());
        let mut objects = vec![
            self.object(
                "v1",
                "ServiceAccount",
                &account,
                json!({
                    "automountServiceAccountToken": false,
                }),
            ),
            self.role(&account, &self.cluster_rules()),
            self.binding(&account, &names.namespace, &account),
            self.role(&role, &self.fleet_rules()),
            self.binding(&role, &self.fleet.namespace, &self.fleet.name),
            self.object("coordination.k8s.io/v1", "Lease", &names.lease(), json!({})),
        ];
        let mut secret = self.object("v1", "Secret", &names.secret(), json!({ "type": "Opaque" }));
        secret.value["metadata"]["labels"][FLEET_CLUSTER] = PULL.into();
        objects.push(secret);
        objects
    }

    /// Returns the rights of the cluster: its declaration, its heartbeat, and its next token.
    fn cluster_rules(&self) -> Value {
        json!([
            rule("", "secrets", &self.names.secret(), &["get", "watch"]),
            rule("coordination.k8s.io", "leases", &self.names.lease(), &["get", "patch"]),
            rule("", "serviceaccounts/token", &self.names.account(), &["create"]),
        ])
    }

    /// Returns the rights of the fleet controller that it has for no other object.
    fn fleet_rules(&self) -> Value {
        json!([
            rule("", "secrets", &self.names.secret(), &["patch"]),
            rule("coordination.k8s.io", "leases", &self.names.lease(), &["list", "watch"]),
        ])
    }

    fn role(&self, name: &str, rules: &Value) -> BundleObject {
        self.object(&format!("{RBAC}/v1"), "Role", name, json!({ "rules": rules }))
    }

    /// Returns the binding of the Role `name` to an account.
    fn binding(&self, name: &str, namespace: &str, account: &str) -> BundleObject {
        let more = json!({
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }],
        });
        self.object(&format!("{RBAC}/v1"), "RoleBinding", name, more)
    }

    /// Returns an object with the fields `more`.
    fn object(&self, api_version: &str, kind: &str, name: &str, mut more: Value) -> BundleObject {
        let namespace = &self.names.namespace;
        more["apiVersion"] = api_version.into();
        more["kind"] = kind.into();
        more["metadata"] = json!({
            "name": name,
            "namespace": namespace,
            "labels": { APP_NAME: IMAGE_SWAP, APP_MANAGED_BY: ENROLLER },
        });
        BundleObject {
            phase: BundlePhase::Base,
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.clone()),
            name: name.to_owned(),
            value: more.into(),
        }
    }
}

fn rule(group: &str, resource: &str, name: &str, verbs: &[&str]) -> Value {
    json!({
        "apiGroups": [group], "resources": [resource], "resourceNames": [name], "verbs": verbs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolment() -> Enrolment {
        let fleet = FleetAccount { namespace: "f".into(), name: "image-swap-fleet".into() };
        Enrolment { names: PullNames::new("clusters", "edge").unwrap(), fleet }
    }

    #[test]
    fn cluster_has_rights_for_three_names() {
        let objects = enrolment().objects();
        let named: Vec<String> = objects.iter().map(ToString::to_string).collect();
        assert_eq!(
            named,
            [
                "ServiceAccount clusters/image-swap-pull-edge",
                "Role clusters/image-swap-pull-edge",
                "RoleBinding clusters/image-swap-pull-edge",
                "Role clusters/image-swap-pull-edge.fleet",
                "RoleBinding clusters/image-swap-pull-edge.fleet",
                "Lease clusters/edge.heartbeat",
                "Secret clusters/edge.declaration",
            ]
        );
        let rules = objects[1].value["rules"].as_array().unwrap();
        let rights: Vec<String> = rules
            .iter()
            .map(|it| format!("{} {} {}", it["resources"], it["resourceNames"], it["verbs"]))
            .collect();
        assert_eq!(
            rights,
            [
                r#"["secrets"] ["edge.declaration"] ["get","watch"]"#,
                r#"["leases"] ["edge.heartbeat"] ["get","patch"]"#,
                r#"["serviceaccounts/token"] ["image-swap-pull-edge"] ["create"]"#,
            ]
        );
        assert_eq!(objects[4].value["subjects"][0]["namespace"], "f");
        assert_eq!(objects[6].value["metadata"]["labels"][FLEET_CLUSTER], "pull");
        assert!(objects[6].value.get("data").is_none());
    }

    #[test]
    fn every_kind_is_revoked() {
        for object in enrolment().objects() {
            assert!(REVOKED_KINDS.contains(&&*object.kind), "{object}");
        }
    }
}
