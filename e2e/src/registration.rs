//! What the API server was told to ask.

use anyhow::Result;
use serde_json::Value;

use crate::{release::Install, stage::Stage, wait::registration};

impl Stage {
    /// The controller's view: the `ConfigMap` with the status, read.
    ///
    /// # Errors
    /// There is none yet.
    pub fn status(&self, install: &Install<'_>) -> Result<Value> {
        let (namespace, name) = (install.namespace, format!("{}-status", install.release));
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let map = self.control_plane.get(&path)?.unwrap_or_default();
        Ok(serde_json::from_str(map["data"]["status.json"].as_str().unwrap_or("null"))?)
    }

    /// The release's webhook configuration, if it is registered.
    ///
    /// # Errors
    /// There was no answer.
    pub fn registration(&self, install: &Install<'_>) -> Result<Option<Value>> {
        Ok(self.control_plane.get(&registration(install.release))?)
    }
}
