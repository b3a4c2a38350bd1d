//! Functions that read and write Secrets.

use std::collections::BTreeMap;

use image_swap_core::{
    control::{effective::SecretData, webhooks::Anchor},
    labels,
};
use image_swap_text::base64;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use ring::digest;
use serde_json::{Value, json};

use crate::{api, error::Error, release::Release};

/// Returns the first 16 hexadecimal digits of the SHA-256 of `text`.
pub fn hash(text: &str) -> String {
    let mut digest = sha256(text);
    digest.truncate(16);
    digest
}

/// Returns the SHA-256 of `text` in hexadecimal digits.
pub fn sha256(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns type and data of `secret`, as a declaration is read from them.
pub fn declared(secret: &Secret) -> SecretData {
    let mut data = BTreeMap::new();
    data.extend(secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())));
    SecretData { kind: secret.type_.clone().unwrap_or_default(), data }
}

/// Returns the value of `key`; `None` if it is absent or not UTF-8.
pub fn text<'s>(secret: &'s Secret, key: &str) -> Option<&'s str> {
    let value = secret.data.as_ref()?.get(key)?;
    std::str::from_utf8(&value.0).ok()
}

/// Returns the value of an annotation.
pub fn annotation<'s>(secret: &'s Secret, key: &str) -> Option<&'s str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Returns true if `secret` has all of `annotations`.
pub fn is_annotated(secret: Option<&Secret>, annotations: &BTreeMap<&str, String>) -> bool {
    secret.is_some_and(|secret| {
        annotations.iter().all(|(key, value)| annotation(secret, key) == Some(value))
    })
}

/// Returns the labels of all objects that the controller creates.
pub fn labels(release: &Release) -> Value {
    json!({
        labels::APP_NAME: labels::IMAGE_SWAP,
        labels::APP_MANAGED_BY: labels::IMAGE_SWAP,
        labels::RELEASE: release.name,
    })
}

/// Returns the manifest of a Secret with `data`. It has no `stringData`: two writers that apply
/// that field do not notice each other.
pub fn object(
    release: &Release,
    owner: &Anchor,
    name: &str,
    annotations: &Value,
    data: &BTreeMap<&str, String>,
) -> Value {
    let mut encoded = json!({});
    for (key, value) in data {
        encoded[*key] = base64::encode(value).into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": release.namespace,
            "labels": labels(release),
            "annotations": annotations,
            "ownerReferences": [owner.reference()],
        },
        "type": "Opaque",
        "data": encoded,
    })
}

/// Writes `object`; `there` is the present Secret. A new Secret is applied, so that the permission
/// `create` can be limited to names. An existing one is changed by a merge patch, since an apply
/// keeps the keys that other writers have added.
///
/// # Errors
/// [`Error::Api`].
pub async fn write(
    secrets: &Api<Secret>,
    there: Option<&Secret>,
    name: &str,
    mut object: Value,
) -> Result<Secret, Error> {
    let Some(there) = there else { return api::apply(secrets, name, &object).await };
    let keys = there.data.iter().flat_map(BTreeMap::keys);
    let wanted = &mut object["data"];
    for key in keys {
        if wanted.get(key).is_none() {
            wanted[key] = Value::Null;
        }
    }
    api::patch_existing(secrets, name, &object).await
}

/// Returns true if `secret` contains exactly `data`.
pub fn holds(secret: Option<&Secret>, data: &BTreeMap<&str, String>) -> bool {
    let Some(found) = secret.and_then(|secret| secret.data.as_ref()) else { return false };
    found.len() == data.len()
        && data
            .iter()
            .all(|(key, value)| found.get(*key).is_some_and(|found| found.0 == value.as_bytes()))
}
