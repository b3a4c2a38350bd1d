//! Kubeconfig files.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use crate::pki::Identity;

/// A kubeconfig with everything in it: it can be copied and moved. JSON, which
/// is YAML too.
pub(crate) fn render(url: &str, authority: &str, identity: &Identity) -> String {
    let data = |pem: &str| BASE64_STANDARD.encode(pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "testbed",
            "cluster": { "server": url, "certificate-authority-data": data(authority) },
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
