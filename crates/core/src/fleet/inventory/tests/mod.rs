mod access;
mod objects;
mod properties;

use serde_json::{Value, json};

use super::{
    cluster_profile::{ConfiguredProvider, CredentialPlugin},
    found::{CredentialRoute, FoundCluster},
};

/// Returns an object called `a` in the namespace `clusters`, with the other fields of `more`.
fn object(kind: (&str, &str), more: Value) -> Value {
    let (api_version, kind) = kind;
    let mut object = json!({ "apiVersion": api_version, "kind": kind });
    merge(&mut object, more);
    merge(&mut object, json!({ "metadata": { "namespace": "clusters", "name": "a", "uid": "1" } }));
    object
}

/// Adds the fields of `more` to `object`.
fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(object), Value::Object(more)) => {
            for (key, value) in more {
                merge(object.entry(key).or_insert(Value::Null), value);
            }
        }
        (object, more) => *object = more,
    }
}

/// Returns the providers of the tests.
fn providers() -> Vec<ConfiguredProvider> {
    [
        ("tokens", CredentialPlugin::SecretReader),
        ("kubeconfigs", CredentialPlugin::KubeconfigSecretReader),
    ]
    .map(|(name, plugin)| ConfiguredProvider { name: name.to_owned(), plugin })
    .to_vec()
}

/// Returns the reason why no Secret is read, with its kind; `None` if one is read.
fn reason(found: &FoundCluster) -> Option<(&'static str, &str)> {
    match &found.route {
        CredentialRoute::Waiting(reason) => Some(("waiting", reason)),
        CredentialRoute::Refused(reason) => Some(("refused", reason)),
        CredentialRoute::Secret { .. } | CredentialRoute::Pulls => None,
    }
}
