//! Writing and deleting one of them, and never somebody else's.

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::cluster::{
    pull_secrets::{Action, KEY, MANAGED_BY, NAME, TYPE},
    webhooks::Owner,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::existing::{Found, SeenSecret};
use crate::{api::MANAGER, error::code, release::Release, secret};

/// What became of an action.
pub(super) enum Outcome {
    /// It is there, like this.
    Written(Box<SeenSecret>),
    /// It is gone.
    Deleted,
    /// It is not done; with a reason, unless somebody else was quicker or the
    /// namespace is going away.
    Failed(Option<String>),
}

/// Writes in the name of one release.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    release: Release,
    owner: Owner,
}

impl Writer {
    pub(super) fn new(client: &Client, release: &Release, owner: &Owner) -> Self {
        Self { client: client.clone(), release: release.clone(), owner: owner.clone() }
    }

    /// The Secret that is to be in every namespace.
    pub(super) fn object(&self, content: &[u8]) -> Value {
        let mut labels = secret::labels(&self.release);
        labels[MANAGED_BY] = self.release.name.as_str().into();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": NAME,
                "labels": labels,
                "ownerReferences": [self.owner.reference()],
            },
            "type": TYPE,
            "data": { KEY: STANDARD.encode(content) },
        })
    }

    /// Carries out `action` in `namespace`, where `found` is.
    pub(super) fn carry_out(
        &self,
        namespace: &str,
        action: Action,
        object: Option<&Value>,
        found: Option<&Found>,
    ) -> impl Future<Output = (String, Outcome)> + use<> {
        let secrets: Api<SeenSecret> = Api::namespaced(self.client.clone(), namespace);
        let (namespace, object, found) = (namespace.to_owned(), object.cloned(), found.cloned());
        async move {
            let done = match (action, object, found) {
                (Action::Create, Some(object), _) => create(&secrets, &object).await,
                (Action::Update, Some(object), Some(found)) => {
                    update(&secrets, object, &found).await
                }
                (Action::Delete, _, Some(found)) => delete(&secrets, &found).await,
                _ => Ok(Outcome::Failed(None)),
            };
            (namespace, done.unwrap_or_else(|error| Outcome::Failed(reason(&error))))
        }
    }
}

/// Without force: if somebody else's is there by now, its fields are not ours to
/// take, and we get a conflict.
async fn create(secrets: &Api<SeenSecret>, object: &Value) -> Result<Outcome, kube::Error> {
    let written = secrets.patch(NAME, &PatchParams::apply(MANAGER), &Patch::Apply(object)).await?;
    Ok(Outcome::Written(Box::new(written)))
}

/// The version that was seen, and no other.
async fn update(
    secrets: &Api<SeenSecret>,
    mut object: Value,
    found: &Found,
) -> Result<Outcome, kube::Error> {
    let plain = object.clone();
    object["metadata"]["resourceVersion"] = (*found.version).into();
    let params = PatchParams::apply(MANAGER).force();
    match secrets.patch(NAME, &params, &Patch::Apply(&object)).await {
        Ok(written) => Ok(Outcome::Written(Box::new(written))),
        // Somebody changed its type, or made it immutable: no patch mends that.
        Err(error) if code(&error) == Some(422) => {
            delete(secrets, found).await?;
            create(secrets, &plain).await
        }
        Err(error) => Err(error),
    }
}

async fn delete(secrets: &Api<SeenSecret>, found: &Found) -> Result<Outcome, kube::Error> {
    let preconditions = Preconditions {
        resource_version: Some(found.version.to_string()),
        uid: Some(found.uid.to_string()),
    };
    let params = DeleteParams::default().preconditions(preconditions);
    match secrets.delete(NAME, &params).await {
        Ok(_) => Ok(Outcome::Deleted),
        Err(error) if code(&error) == Some(404) => Ok(Outcome::Deleted),
        Err(error) => Err(error),
    }
}

/// Why it was not done, in words that hold nothing of what was to be written;
/// `None`: somebody else was quicker, or the namespace goes away.
fn reason(error: &kube::Error) -> Option<String> {
    match error {
        kube::Error::Api(status) => {
            let is_ending = status.message.contains("is being terminated");
            let is_expected = matches!(status.code, 404 | 409) || is_ending;
            (!is_expected).then(|| format!("{} ({})", status.reason, status.code))
        }
        _ => Some("the API server could not be reached".to_owned()),
    }
}
