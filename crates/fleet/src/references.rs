//! Objects of Cluster API that refer to the Secret with the bootstrap script.

use image_swap_cluster::{Error, api, object_watch::PAGE};
use image_swap_core::{
    labels::{BOOTSTRAP_SECRET, IMAGE_SWAP, REFERENCED_BY},
    machine_template::{ScriptReference, listed, reviewed_kinds},
    render::cluster_api::MachineKind,
};
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;

use crate::sources::{ApiKind, served};

/// Versions of Cluster API whose objects are read, newest first.
const VERSIONS: &[&str] = &["v1beta2", "v1beta1"];
/// Reason of the Event about the Secret.
const REASON: &str = "BootstrapScriptReferenced";

/// Returns the objects in `namespace` that refer to the Secret: control planes, templates, and
/// configurations of machines. Kinds that the API server does not serve have none.
///
/// # Errors
/// [`Error::Api`].
pub async fn references(client: &Client, namespace: &str) -> Result<Vec<ScriptReference>, Error> {
    let mut found = Vec::new();
    for kind in reviewed_kinds() {
        let wanted = ApiKind { group: kind.group, kind: kind.name, versions: VERSIONS };
        let resource = served(client, wanted).await;
        let resource = resource.map_err(Error::api(format!("search for {}", kind.name)))?;
        if let Some(resource) = resource {
            let objects = Api::namespaced_with(client.clone(), namespace, &resource);
            found.extend(of_kind(&objects, kind).await?);
        }
    }
    Ok(found)
}

/// Returns the `objects` of `kind` that refer to the Secret.
async fn of_kind(
    objects: &Api<DynamicObject>,
    kind: &MachineKind,
) -> Result<Vec<ScriptReference>, Error> {
    let mut found = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let list = objects.list(&page).await;
        let list = list.map_err(Error::api(format!("list objects of the kind {}", kind.name)))?;
        for object in list.items {
            let mut value = object.data;
            value["metadata"] = json!({
                "name": object.metadata.name,
                "ownerReferences": object.metadata.owner_references,
            });
            found.extend(ScriptReference::of(kind, &value));
        }
        match list.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => page = page.continue_token(&next),
            None => return Ok(found),
        }
    }
}

/// Writes `references` to the annotation of the Secret in `namespace`, and publishes an Event about
/// it. An absent Secret is no error.
///
/// # Errors
/// [`Error::Api`].
pub async fn note_references(
    client: &Client,
    namespace: &str,
    references: &[ScriptReference],
) -> Result<(), Error> {
    let text = listed(references);
    let secrets = api::namespaced::<Secret, DynamicObject>(client, namespace);
    let patch = json!({ "metadata": { "annotations": { REFERENCED_BY: text } } });
    let secret = match api::patch_existing(&secrets, BOOTSTRAP_SECRET, &patch).await {
        Ok(secret) => secret,
        Err(error) if error.code() == Some(404) => return Ok(()),
        Err(error) => return Err(error),
    };
    let Some(text) = text else { return Ok(()) };
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Secret".to_owned()),
        name: Some(BOOTSTRAP_SECRET.to_owned()),
        namespace: Some(namespace.to_owned()),
        uid: secret.metadata.uid,
        ..ObjectReference::default()
    };
    let event = Event {
        type_: EventType::Warning,
        reason: REASON.to_owned(),
        note: Some(format!("New machines need this Secret: {text}")),
        action: "Uninstall".to_owned(),
        secondary: None,
    };
    let reporter = Reporter::from(IMAGE_SWAP);
    let published = Recorder::new(client.clone(), reporter).publish(&event, &about).await;
    published.map_err(Error::api("publish an Event"))
}
