//! The custom resources and webhooks of a controller.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    control_plane::{ControlPlane, DEADLINE},
    error::Error,
    pki::Authority,
    wait::{Wait, until},
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The objects of a controller whose webhooks are on a port of 127.0.0.1. Each set is a `List`.
pub(super) struct ObjectSets {
    /// Definitions of custom resources.
    pub(super) definitions: String,
    /// Webhook configurations.
    pub(super) webhooks: String,
}

impl ObjectSets {
    /// Reads the rendered objects of a controller: JSON, one object after the other. The
    /// administrator runs the controller, so roles and accounts are left out.
    pub(super) fn read(path: &Path, port: u16, authority: &Authority) -> Result<Self, Error> {
        let text = fs::read(path).map_err(Error::io(format!("read {}", path.display())))?;
        let (mut definitions, mut webhooks) = (Vec::new(), Vec::new());
        for object in serde_json::Deserializer::from_slice(&text).into_iter::<Value>() {
            let doing = format!("read the JSON in {}", path.display());
            let mut object = object.map_err(|error| Error::io(doing)(error.into()))?;
            match object["kind"].as_str().unwrap_or_default() {
                "CustomResourceDefinition" => {
                    let conversion = &mut object["spec"]["conversion"];
                    if conversion["strategy"] == "Webhook" {
                        redirect(&mut conversion["webhook"]["clientConfig"], port, authority);
                    }
                    definitions.push(object);
                }
                "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                    let entries = object["webhooks"].as_array_mut().into_iter().flatten();
                    entries.for_each(|it| redirect(&mut it["clientConfig"], port, authority));
                    webhooks.push(object);
                }
                _ => {}
            }
        }
        let list = |items: Vec<Value>| {
            json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
        };
        Ok(Self { definitions: list(definitions), webhooks: list(webhooks) })
    }
}

/// Replaces the Service of a webhook by a URL on this machine.
fn redirect(config: &mut Value, port: u16, authority: &Authority) {
    let path = config["service"]["path"].as_str().unwrap_or_default();
    *config = json!({
        "url": format!("https://127.0.0.1:{port}{path}"),
        "caBundle": BASE64_STANDARD.encode(authority.certificate()),
    });
}

/// Waits until the API server serves every custom resource.
pub(super) fn wait_established(plane: &ControlPlane) -> Result<(), Error> {
    until("the custom resources of Cluster API", DEADLINE, || {
        let list = plane.get(DEFINITIONS)?.unwrap_or_default();
        let is_established = |object: &&Value| {
            let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|it| it["type"] == "Established" && it["status"] == "True")
        };
        let mut missing = list["items"].as_array().into_iter().flatten();
        match missing.find(|object| !is_established(object)) {
            Some(object) => Err(Wait::NotYet(object["metadata"]["name"].to_string())),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_are_redirected_to_the_port() {
        let objects = json!({
            "kind": "CustomResourceDefinition",
            "spec": { "conversion": {
                "strategy": "Webhook",
                "webhook": { "clientConfig": { "service": { "path": "/convert" } } },
            } },
        });
        let webhook = json!({
            "kind": "MutatingWebhookConfiguration",
            "webhooks": [{ "clientConfig": { "service": { "name": "s", "path": "/mutate" } } }],
        });
        let role = json!({ "kind": "ClusterRole" });
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{objects:#}\n{webhook:#}\n{role:#}\n")).unwrap();
        let sets = ObjectSets::read(file.path(), 21_000, &Authority::new("test").unwrap()).unwrap();
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let (definitions, webhooks) = (parse(&sets.definitions), parse(&sets.webhooks));
        let config = &definitions["items"][0]["spec"]["conversion"]["webhook"]["clientConfig"];
        assert_eq!(config["url"], "https://127.0.0.1:21000/convert");
        assert_eq!(config["service"], Value::Null);
        let items = webhooks["items"].as_array().unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!(
            items[0]["webhooks"][0]["clientConfig"]["url"],
            "https://127.0.0.1:21000/mutate"
        );
    }
}
