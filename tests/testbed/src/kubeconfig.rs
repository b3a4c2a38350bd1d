//! Kubeconfig files.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::pki::Identity;

/// The name in the API server's certificate that holds at any address.
pub(crate) const SERVER_NAME: &str = "kubernetes";

/// A credential that a kubeconfig contains.
pub(crate) enum UserCredential<'a> {
    /// A client certificate with its key.
    Certificate(&'a Identity),
    /// A bearer token.
    Token(&'a str),
}

/// Renders a kubeconfig that refers to no other file. JSON is YAML too.
///
/// Clients check the name `server_name` in the certificate of the server, with `None` the host
/// of `url`.
pub(crate) fn render(
    url: &str,
    server_name: Option<&str>,
    authority: &str,
    credential: &UserCredential<'_>,
) -> String {
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    let mut cluster = json!({ "server": url, "certificate-authority-data": data(authority) });
    if let Some(name) = server_name {
        cluster["tls-server-name"] = Value::from(name);
    }
    let user = match credential {
        UserCredential::Certificate(identity) => json!({
            "client-certificate-data": data(&identity.certificate),
            "client-key-data": data(&identity.key),
        }),
        UserCredential::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testbed", "cluster": cluster }],
        "users": [{ "name": "testbed", "user": user }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "testbed" },
        }],
        "current-context": "testbed",
    });
    format!("{config:#}\n")
}
