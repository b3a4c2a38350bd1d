//! Writes and deletes pull Secrets of the release, but none of other writers.

use image_swap_core::{
    control::pull_secrets::PullSecretAction,
    labels,
    pull_secret::{KEY, NAME, TYPE},
};
use image_swap_text::base64;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::existing::FoundSecret;
use crate::{
    api::{MANAGER, namespaced},
    error::code,
    partial_meta::WholeObject,
    release::Release,
    secret,
};

/// The outcome of an action.
pub(super) enum WriteOutcome {
    /// The Secret was written; contains its new state.
    Written(Box<WholeObject>),
    /// The Secret does not exist any more.
    Deleted,
    /// The write failed; contains the reason, and `None` if another writer was quicker or the
    /// namespace is being deleted.
    Failed(Option<String>),
}

/// The limit of owners of a Secret, since references add to its size.
const OWNERS: usize = 500;

/// A writer of the Secrets of one release.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    release: Release,
}

impl Writer {
    pub(super) fn new(client: &Client, release: &Release) -> Self {
        Self { client: client.clone(), release: release.clone() }
    }

    /// Returns the Secret for every namespace. It has no owner, so that it outlives the
    /// release where a pod needs it.
    pub(super) fn object(&self, content: &[u8]) -> Value {
        let mut labels = secret::labels(&self.release);
        labels[labels::MANAGED_BY] = self.release.name.as_str().into();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": NAME, "labels": labels },
            "type": TYPE,
            "data": { KEY: base64::encode(content) },
        })
    }

    /// Executes `action` in `namespace`; `found` is its present Secret.
    pub(super) fn execute(
        &self,
        namespace: &str,
        action: PullSecretAction,
        object: Option<&Value>,
        found: Option<&FoundSecret>,
    ) -> impl Future<Output = (String, WriteOutcome)> + use<> {
        let secrets = namespaced::<Secret, _>(&self.client, namespace);
        let (namespace, object, found) = (namespace.to_owned(), object.cloned(), found.cloned());
        async move {
            let done = match (action, object, found) {
                (PullSecretAction::Create, Some(object), _) => create(&secrets, &object).await,
                (PullSecretAction::Update, Some(object), Some(found)) => {
                    update(&secrets, object, &found).await
                }
                (PullSecretAction::Delete, _, Some(found)) => delete(&secrets, &found).await,
                (PullSecretAction::Release, _, Some(found)) => {
                    let metadata = json!({ "ownerReferences": null });
                    change(&secrets, &found, metadata, json!({})).await
                }
                _ => Ok(WriteOutcome::Failed(None)),
            };
            (namespace, done.unwrap_or_else(|error| WriteOutcome::Failed(reason(&error))))
        }
    }

    /// Makes `pods` the owners of the Secret in a namespace: names and UIDs of the pods that refer
    /// to it. The garbage collector deletes the Secret with the last of them. Without pods the
    /// Secret is deleted.
    pub(super) async fn leave(
        &self,
        namespace: &str,
        found: &FoundSecret,
        pods: &[(String, String)],
    ) -> Result<WriteOutcome, kube::Error> {
        let secrets = namespaced::<Secret, _>(&self.client, namespace);
        if pods.is_empty() {
            return delete(&secrets, found).await;
        }
        let owner = |(name, uid): &(String, String)| json!({ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid });
        // With only some of the owners, the Secret would be deleted too early.
        let owners = pods.iter().map(owner).collect::<Vec<_>>();
        let owners = if owners.len() > OWNERS { Value::Null } else { owners.into() };
        let metadata =
            json!({ "ownerReferences": owners, "annotations": { labels::KEPT: "true" } });
        change(&secrets, found, metadata, json!({})).await
    }
}

/// Patches exactly the version that was read. The merge patch can remove owners that other writers
/// added, unlike an apply.
async fn change(
    secrets: &Api<WholeObject>,
    found: &FoundSecret,
    mut metadata: Value,
    mut object: Value,
) -> Result<WriteOutcome, kube::Error> {
    metadata["resourceVersion"] = (*found.version).into();
    object["metadata"] = metadata;
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let written = secrets.patch(NAME, &params, &Patch::Merge(&object)).await?;
    Ok(WriteOutcome::Written(Box::new(written)))
}

/// Creates the Secret by an apply without force. If another writer has created it meanwhile, the
/// API server reports a conflict.
async fn create(secrets: &Api<WholeObject>, object: &Value) -> Result<WriteOutcome, kube::Error> {
    let written = secrets.patch(NAME, &PatchParams::apply(MANAGER), &Patch::Apply(object)).await?;
    Ok(WriteOutcome::Written(Box::new(written)))
}

/// Updates exactly the version that was read. A Secret that cannot be patched is deleted and
/// created again.
async fn update(
    secrets: &Api<WholeObject>,
    object: Value,
    found: &FoundSecret,
) -> Result<WriteOutcome, kube::Error> {
    let metadata = json!({
        "labels": object["metadata"]["labels"],
        "annotations": { labels::KEPT: null },
        "ownerReferences": null,
    });
    let patch = json!({ "type": object["type"], "data": object["data"] });
    match change(secrets, found, metadata, patch).await {
        // No patch can change the type of a Secret, or an immutable Secret.
        Err(error) if code(&error) == Some(422) => {
            delete(secrets, found).await?;
            create(secrets, &object).await
        }
        done => done,
    }
}

async fn delete(
    secrets: &Api<WholeObject>,
    found: &FoundSecret,
) -> Result<WriteOutcome, kube::Error> {
    let preconditions = Preconditions {
        resource_version: Some(found.version.to_string()),
        uid: Some(found.uid.to_string()),
    };
    let params = DeleteParams::default().preconditions(preconditions);
    match secrets.delete(NAME, &params).await {
        Ok(_) => Ok(WriteOutcome::Deleted),
        Err(error) if code(&error) == Some(404) => Ok(WriteOutcome::Deleted),
        Err(error) => Err(error),
    }
}

/// Returns the reason for a failed write, without any content of the Secret. [`None`] if another
/// writer was quicker, or the namespace is being deleted.
pub(super) fn reason(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) => {
            let is_ending = status.message.contains("is being terminated");
            let is_expected = matches!(status.code, 404 | 409) || is_ending;
            let answer = format!("{} ({})", status.reason, status.code);
            (!is_expected).then(|| match refusal(&status.message) {
                Some(refusal) => format!("{answer}: {refusal}"),
                None => answer,
            })
        }
        _ => Some("cannot reach the API server".to_owned()),
    }
}

/// The longest part of an API server's message that is repeated, in bytes.
const LONGEST: usize = 300;

/// Returns the part of an API server's message that names the cause: a quota, a missing permission,
/// a policy or a webhook. The messages of policies and webhooks are left out, since they may quote
/// the object.
fn refusal(message: &str) -> Option<&str> {
    for quota in ["exceeded quota: ", "failed quota: "] {
        if let Some(at) = message.find(quota) {
            let text = &message[at..];
            return Some(&text[..text.floor_char_boundary(LONGEST)]);
        }
    }
    for (begins, ends) in [
        ("admission webhook \"", " denied the request"),
        ("ValidatingAdmissionPolicy '", " denied request"),
        ("failed calling webhook \"", "\":"),
        ("User \"", " cannot "),
    ] {
        let text = message.find(begins).map(|at| &message[at..]);
        let end = text.and_then(|text| text.find(ends));
        if let (Some(text), Some(end)) = (text, end) {
            let end = end + ends.trim_end_matches([' ', ':']).len();
            return Some(&text[..end.min(text.floor_char_boundary(LONGEST))]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    fn reported(code: u16, reason: &str, message: &str) -> Option<String> {
        let status = Status::failure(message, reason).with_code(code);
        super::reason(&kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn reason_names_what_refuses() {
        for (message, expected) in [
            (
                "secrets \"image-swap-pull\" is forbidden: exceeded quota: q, requested: secrets=1, \
                 used: secrets=0, limited: secrets=0",
                "Forbidden (403): exceeded quota: q, requested: secrets=1, used: secrets=0, \
                 limited: secrets=0",
            ),
            (
                "admission webhook \"v.example.org\" denied the request: cGFzc3dvcmQ= is bad",
                "Forbidden (403): admission webhook \"v.example.org\" denied the request",
            ),
            (
                "secrets \"image-swap-pull\" is forbidden: ValidatingAdmissionPolicy 'labels' with \
                 binding 'all' denied request: cGFzc3dvcmQ=",
                "Forbidden (403): ValidatingAdmissionPolicy 'labels' with binding 'all' denied \
                 request",
            ),
            (
                "secrets \"image-swap-pull\" is forbidden: User \"system:serviceaccount:a:b\" cannot \
                 patch resource",
                "Forbidden (403): User \"system:serviceaccount:a:b\" cannot",
            ),
            ("cGFzc3dvcmQ= is invalid", "Forbidden (403)"),
        ] {
            assert_eq!(reported(403, "Forbidden", message).as_deref(), Some(expected));
        }
    }

    #[test]
    fn quicker_writer_is_not_a_failure() {
        for (code, message) in
            [(409, "conflict"), (404, "not found"), (403, "because it is being terminated")]
        {
            assert_eq!(reported(code, "Reason", message), None, "{code}");
        }
    }
}
