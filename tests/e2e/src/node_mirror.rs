//! The reports of agents.

use anyhow::Result;
use image_swap_testbed::{Node, Wait, until};
use serde_json::Value;

use crate::{DEADLINE, helm_cluster::HelmCluster, release::Install};

/// The path of the objects that agents report in.
const MIRRORS: &str = "/apis/image-swap.io/v1alpha1/nodemirrors";

impl HelmCluster {
    /// Waits until the controller has numbered a declaration for nodes, and returns its last
    /// number.
    ///
    /// # Errors
    /// The deadline has passed.
    pub fn wait_declared(&self, install: &Install<'_>) -> Result<u64> {
        let Install { namespace, release, .. } = install;
        let numbers = "go-template={{range $key, $value := .data}}\
                       {{$key}} {{$value | base64decode}}{{\"\\n\"}}{{end}}";
        Ok(until("a declaration for nodes", DEADLINE, || {
            let name = format!("{release}-nodes");
            let get = ["get", "secret", &name, "--namespace", namespace, "--output", numbers];
            let data = self.kubectl(&get).map_err(|error| Wait::NotYet(format!("{error:#}")))?;
            let number = |line: &str| {
                let (key, value) = line.split_once(' ')?;
                let is_number = ["revision", "trial-revision", "failed-revision"].contains(&key);
                value.parse().ok().filter(|_| is_number)
            };
            // The declarations may hold a credential.
            data.lines().filter_map(number).max().ok_or_else(|| Wait::NotYet("no number".into()))
        })?)
    }

    /// Waits until every node reports the same declaration in force, with a number above
    /// `after`, and the controller has verified it. Returns the number.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last reports.
    pub fn wait_in_force(&self, after: u64) -> Result<u64> {
        Ok(until("a verified declaration in force on every node", DEADLINE, || {
            let all =
                self.nodes().map(|node| self.node_mirror(node)).collect::<Result<Vec<_>, _>>();
            let all = all?;
            let mut numbers = all.iter().map(|it| it["status"]["appliedRevision"].as_u64());
            let first = numbers.next().flatten();
            let in_force = |mirror: &Value| {
                let status = &mirror["status"];
                ["Applied", "Verified"].iter().all(|it| condition(status, it)["status"] == "True")
            };
            match first {
                Some(number)
                    if number > after
                        && numbers.all(|it| it == first)
                        && all.iter().all(in_force) =>
                {
                    Ok(number)
                }
                _ => {
                    let statuses = all.iter().map(|mirror| mirror["status"].to_string());
                    Err(Wait::NotYet(statuses.collect::<Vec<_>>().join("; ")))
                }
            }
        })?)
    }

    /// Waits until the condition `kind` of a node has the reason `reason`.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last report.
    pub fn wait_reason(&self, node: &Node, kind: &str, reason: &str) -> Result<()> {
        let is_wanted = |status: &Value| condition(status, kind)["reason"] == reason;
        self.wait_report(node, &format!("{kind} to be {reason}"), is_wanted).map(drop)
    }

    /// Waits until the status of a node's report `is_wanted`, and returns it.
    ///
    /// # Errors
    /// The deadline has passed; the error has the last report.
    pub fn wait_report(
        &self,
        node: &Node,
        what: &str,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        Ok(until(&format!("{what} on {}", node.name()), DEADLINE, || {
            let status = self.node_report(node)?;
            if is_wanted(&status) { Ok(status) } else { Err(Wait::NotYet(status.to_string())) }
        })?)
    }

    /// Returns the status of a node's report; null before the first.
    ///
    /// # Errors
    /// There is no object of the node, or the API server does not answer.
    pub fn node_report(&self, node: &Node) -> Result<Value, Wait> {
        Ok(self.node_mirror(node)?["status"].clone())
    }

    /// Reads the object of a node.
    fn node_mirror(&self, node: &Node) -> Result<Value, Wait> {
        self.look(&format!("{MIRRORS}/{}", node.name()))
    }
}

/// Returns the condition of a type in the status of a report; null if it is absent.
pub fn condition(status: &Value, kind: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|it| it["type"] == kind).cloned().unwrap_or_default()
}
