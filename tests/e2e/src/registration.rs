//! The state of a release, as stored in the cluster.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{release::Install, stage::Stage, wait::registration};

impl Stage {
    /// Returns the controller's report, from the `ConfigMap` with the status. It is null
    /// if there is none yet.
    ///
    /// # Errors
    /// The API server gives no answer.
    pub fn status(&self, install: &Install<'_>) -> Result<Value> {
        let (namespace, name) = (install.namespace, format!("{}-status", install.release));
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let map = self.control_plane.get(&path)?.unwrap_or_default();
        Ok(serde_json::from_str(map["data"]["status.json"].as_str().unwrap_or("null"))?)
    }

    /// Returns the codes of the problems that `image-swap status` reports.
    ///
    /// # Errors
    /// The command prints something else.
    pub fn problems(&self, install: &Install<'_>) -> Result<Vec<String>> {
        let Install { namespace, release, .. } = install;
        let line =
            format!("image-swap status --namespace={namespace} --name={release} --output=json");
        // The exit code is 1 if there is a problem.
        let output = self.shell_command(&line).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let status: Value = serde_json::from_str(&printed).with_context(|| {
            format!("`{line}`: {printed}{}", String::from_utf8_lossy(&output.stderr))
        })?;
        let problems = status["problems"].as_array().context("expected a list of problems")?;
        Ok(problems.iter().filter_map(|it| it["code"].as_str().map(str::to_owned)).collect())
    }

    /// Returns the webhook configuration of the release, if it is registered.
    ///
    /// # Errors
    /// The API server gives no answer.
    pub fn registration(&self, install: &Install<'_>) -> Result<Option<Value>> {
        Ok(self.control_plane.get(&registration(install.release))?)
    }
}
