//! Access for other programs: kubeconfigs with certificates and tokens.

use serde_json::json;

use super::{ControlPlane, DEADLINE};
use crate::{
    error::Error,
    kubeconfig::{self, UserCredential},
    wait::{Wait, until},
};

/// The group with all rights (`system:masters`, by the API server's own bootstrap policy).
pub(super) const ADMINISTRATORS: &str = "system:masters";

impl ControlPlane {
    /// Issues a client certificate for the administrator, and returns it in a kubeconfig with the
    /// URL and the authority of the API server. The text refers to no file.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn administrator_kubeconfig(&self) -> Result<String, Error> {
        self.certificate_kubeconfig("administrator", Some(ADMINISTRATORS))
    }

    /// Issues a client certificate for a user, and returns it in a kubeconfig.
    ///
    /// # Errors
    /// The name is not valid in a certificate.
    pub fn certificate_kubeconfig(&self, user: &str, group: Option<&str>) -> Result<String, Error> {
        let identity = self.authority.client(user, group)?;
        Ok(self.render(&UserCredential::Certificate(&identity)))
    }

    /// Returns a kubeconfig with a token of a service account, which may do all if
    /// `is_administrator`. Creates the account if it does not exist.
    ///
    /// # Errors
    /// The API server refused an object.
    pub fn token_kubeconfig(
        &self,
        namespace: &str,
        account: &str,
        is_administrator: bool,
    ) -> Result<String, Error> {
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let metadata = json!({ "name": account });
        self.create_missing(
            &accounts,
            &json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata }),
        )?;
        if is_administrator {
            let binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": { "name": format!("{namespace}-{account}") },
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": "cluster-admin",
                },
                "subjects": [{ "kind": "ServiceAccount", "namespace": namespace, "name": account }],
            });
            let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
            self.create_missing(bindings, &binding)?;
        }
        let token = self.issue_token(namespace, account)?;
        Ok(self.token_to_kubeconfig(&token))
    }

    /// Issues a token of a service account, valid for an hour. Deleting the account revokes it.
    ///
    /// # Errors
    /// The API server refused the request.
    pub fn issue_token(&self, namespace: &str, account: &str) -> Result<String, Error> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "expirationSeconds": 3600 },
        });
        let answer = self.create(&path, &request)?;
        Ok(answer["status"]["token"].as_str().unwrap_or_default().to_owned())
    }

    /// Returns a kubeconfig with any token, valid or not.
    pub fn token_to_kubeconfig(&self, token: &str) -> String {
        self.render(&UserCredential::Token(token))
    }

    /// Returns the UID of the namespace `kube-system`, which identifies the cluster.
    ///
    /// # Errors
    /// The API server does not answer, or creates no such namespace.
    pub fn uid(&self) -> Result<String, Error> {
        let path = "/api/v1/namespaces/kube-system";
        until("the namespace kube-system", DEADLINE, || match self.get(path)? {
            Some(found) => Ok(found["metadata"]["uid"].as_str().unwrap_or_default().to_owned()),
            None => Err(Wait::NotYet("no such namespace".into())),
        })
    }

    fn create_missing(&self, path: &str, object: &serde_json::Value) -> Result<(), Error> {
        let answer = self.request("POST", path, Some(object))?;
        if answer.status == 409 {
            return Ok(());
        }
        answer.expect(201, &format!("POST {path}")).map(drop)
    }

    pub(super) fn render(&self, credential: &UserCredential<'_>) -> String {
        kubeconfig::render(&self.url, None, self.authority.certificate(), credential)
    }
}
