//! Kubeconfig files.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::pki::Identity;

/// The name in the API server's certificate that holds at any address.
const SERVER_NAME: &str = "kubernetes";

/// Renders a kubeconfig that refers to no other file. JSON is YAML too.
///
/// The certificate of the server may lack the host of `url`: a name that it always has
/// is checked.
pub(crate) fn render(url: &str, authority: &str, identity: &Identity) -> String {
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": {
                "server": url,
                "tls-server-name": SERVER_NAME,
                "certificate-authority-data": data(authority),
            },
        }],
        "users": [{
            "name": "testbed",
            "user": {
                "client-certificate-data": data(&identity.certificate),
                "client-key-data": data(&identity.key),
            },
        }],
        "contexts": [{
            "name": "testbed",
            "context": { "cluster": "testbed", "user": "testbed" },
        }],
        "current-context": "testbed",
    });
    format!("{config:#}\n")
}
