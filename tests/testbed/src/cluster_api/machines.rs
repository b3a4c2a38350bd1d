//! The machines of a `Cluster`.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::ClusterApi;
use crate::{
    control_plane::ControlPlane,
    error::Error,
    wait::{Wait, until},
};

/// The deadline for machines to join. Normally it takes half a minute.
const DEADLINE: Duration = Duration::from_mins(4);

impl ClusterApi {
    /// Returns the `Machine` objects of a `Cluster`, in the order of their names.
    ///
    /// # Errors
    /// The API server does not answer.
    pub fn machines(
        &self,
        plane: &ControlPlane,
        namespace: &str,
        cluster: &str,
    ) -> Result<Vec<Value>, Error> {
        let path = format!(
            "/apis/cluster.x-k8s.io/v1beta2/namespaces/{namespace}/machines?labelSelector=\
             cluster.x-k8s.io%2Fcluster-name%3D{cluster}"
        );
        let list = plane.get(&path)?.unwrap_or_default();
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a `Cluster` has exactly `number` machines and all of them run. Returns them.
    ///
    /// # Errors
    /// The deadline passes before all machines run. The error contains their phases and the ends of all logs.
    pub fn wait_machines(
        &self,
        plane: &ControlPlane,
        namespace: &str,
        cluster: &str,
        number: usize,
    ) -> Result<Vec<Value>, Error> {
        let what = format!("{number} running machines of {cluster}");
        let waited = until(&what, DEADLINE, || {
            let machines = self.machines(plane, namespace, cluster)?;
            let all_run = machines.iter().all(|it| it["status"]["phase"] == "Running");
            if machines.len() == number && all_run {
                return Ok(machines);
            }
            Err(Wait::NotYet(machines.iter().map(shown).collect()))
        });
        waited.map_err(|error| self.with_logs(error))
    }

    /// Returns the bootstrap data of a `Machine`, as its machine receives them.
    ///
    /// # Errors
    /// There are none.
    pub fn bootstrap_data(&self, plane: &ControlPlane, machine: &Value) -> Result<String, Error> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let namespace = text(&machine["metadata"]["namespace"]);
        let name = text(&machine["spec"]["bootstrap"]["dataSecretName"]);
        let secret = plane.get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))?;
        let data = secret.unwrap_or_default()["data"]["value"].clone();
        let bytes = BASE64_STANDARD.decode(text(&data)).unwrap_or_default();
        if bytes.is_empty() {
            return Err(Error::unavailable(
                format!("bootstrap data of {}", machine["metadata"]["name"]),
                "wait until the machine runs",
            ));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Adds the ends of all logs to the error of a wait.
    pub(super) fn with_logs(&self, error: Error) -> Error {
        match error {
            Error::Deadline { what, seconds, last } => {
                Error::Deadline { what, seconds, last: format!("{last}\n{}", self.logs()) }
            }
            error => error,
        }
    }
}

/// Returns the name of a machine with its phase, and the conditions that are not met.
fn shown(machine: &Value) -> String {
    let conditions = machine["status"]["conditions"].as_array().into_iter().flatten();
    let unmet: Vec<String> = conditions
        .filter(|it| it["status"] == "False")
        .map(|it| format!("{}: {}", it["type"], it["message"]))
        .collect();
    format!(
        "{} {} ({})\n",
        machine["metadata"]["name"],
        machine["status"]["phase"],
        unmet.join("; ")
    )
}
