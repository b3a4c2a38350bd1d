//! The `NodeMirror` of the node.

use image_swap_core::status::node_mirror::{
    GROUP, KIND, NodeMirrorSpec, NodeMirrorStatus, PLURAL, VERSION,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Owner of the fields that agents write.
const MANAGER: &str = "image-swap-agent";

/// The `NodeMirror` of one node.
pub(crate) struct NodeMirrorObject {
    api: Api<DynamicObject>,
    name: String,
}

/// Content of a `NodeMirror`.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeMirrorContent {
    /// Facts by the controller.
    pub(crate) spec: NodeMirrorSpec,
    /// The stored status; empty before the first.
    pub(crate) status: NodeMirrorStatus,
}

impl NodeMirrorObject {
    /// Returns the object of the node `name`.
    pub(crate) fn new(client: Client, name: &str) -> Self {
        let kind = GroupVersionKind::gvk(GROUP, VERSION, KIND);
        let resource = ApiResource::from_gvk_with_plural(&kind, PLURAL);
        Self { api: Api::all_with(client, &resource), name: name.to_owned() }
    }

    /// Reads the object; `None` if it is absent, or its controller has not written it yet.
    ///
    /// # Errors
    /// If the API server refuses the request or does not respond.
    pub(crate) async fn read(&self) -> Result<Option<NodeMirrorContent>, kube::Error> {
        let object = self.api.get_opt(&self.name).await?;
        Ok(object.map(|object| content(&object.data)).filter(|it| !it.spec.node_uid.is_empty()))
    }

    /// Applies the part of the status that the agent owns.
    ///
    /// # Errors
    /// If the API server refuses the request or does not respond.
    pub(crate) async fn report(&self, status: &NodeMirrorStatus) -> Result<(), kube::Error> {
        let patch = patch(&self.name, status);
        let params = PatchParams::apply(MANAGER).force();
        self.api.patch_status(&self.name, &params, &Patch::Apply(patch)).await.map(drop)
    }
}

fn content(data: &Value) -> NodeMirrorContent {
    NodeMirrorContent { spec: part(data, "spec"), status: part(data, "status") }
}

/// Returns a part of an object; the default if it is absent or of another form.
fn part<T: DeserializeOwned + Default>(data: &Value, name: &str) -> T {
    data.get(name).and_then(|part| T::deserialize(part).ok()).unwrap_or_default()
}

/// Returns the object to apply. A value of `None` is left out, which removes the field.
fn patch(name: &str, status: &NodeMirrorStatus) -> Value {
    let mut status = json!(status);
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": { "name": name },
        "status": status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_left_out_of_the_patch() {
        let status = NodeMirrorStatus {
            node_uid: "u".into(),
            boot_id: "b".into(),
            wanted_revision: Some(3),
            ..NodeMirrorStatus::default()
        };
        let expected = json!({
            "apiVersion": "image-swap.io/v1alpha1", "kind": "NodeMirror",
            "metadata": { "name": "worker" },
            "status": {
                "nodeUid": "u", "bootID": "b", "wantedRevision": 3,
                "inexpressible": [], "conditions": [],
            },
        });
        assert_eq!(patch("worker", &status), expected);
    }

    #[test]
    fn content_of_another_form_is_empty() {
        let found = content(&json!({ "spec": { "nodeUid": "u" }, "status": { "bootID": 1 } }));
        assert_eq!((&*found.spec.node_uid, &*found.status.boot_id), ("u", ""));
        assert_eq!(content(&json!({})).spec, NodeMirrorSpec::default());
    }
}
