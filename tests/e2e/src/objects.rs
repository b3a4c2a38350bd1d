//! Every object that is stored in a cluster.

use std::collections::BTreeSet;

use anyhow::Result;
use image_swap_testbed::{Error, Wait, until};
use serde_json::Value;

use crate::{DEADLINE, helm_cluster::HelmCluster};

/// Objects that the cluster makes at any time: heartbeats of the node, and in each
/// namespace the root authority.
const OF_THE_CLUSTER: [&str; 2] = [" kube-node-lease/", "/kube-root-ca.crt"];

/// The names of all objects: `resource.group namespace/name`. Events, objects that the
/// cluster makes at any time, and pods that are being deleted are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects(pub BTreeSet<String>);

impl Objects {
    /// Returns the objects that are missing in `before`.
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

impl HelmCluster {
    /// Waits until every object is gone that is missing in `before`. An object stays if
    /// its name contains one of `by_design`.
    ///
    /// # Errors
    /// The deadline has passed; the error names the objects.
    pub fn wait_nothing_left(&self, before: &Objects, by_design: &[&str]) -> Result<()> {
        until("everything of the release to be gone", DEADLINE, || {
            let mut left = self.objects()?.since(before);
            left.retain(|name| !by_design.iter().any(|part| name.contains(part)));
            if left.is_empty() { Ok(()) } else { Err(Wait::NotYet(left.join(", "))) }
        })?;
        Ok(())
    }

    /// Returns every object of every kind that the API server lists.
    ///
    /// # Errors
    /// The API server gives no answer.
    pub fn objects(&self) -> Result<Objects, Error> {
        let mut objects = BTreeSet::new();
        let groups = self.items("/apis", "groups")?;
        let versions = groups.iter().map(|group| &group["preferredVersion"]["groupVersion"]);
        let versions = versions.filter_map(Value::as_str).map(|version| format!("/apis/{version}"));
        for version in ["/api/v1".to_owned()].into_iter().chain(versions) {
            for kind in self.items(&version, "resources")? {
                let name = kind["name"].as_str().unwrap_or_default();
                let lists =
                    kind["verbs"].as_array().is_some_and(|all| all.contains(&"list".into()));
                // The API server computes `componentstatuses` and stores none.
                if lists && name != "events" && name != "componentstatuses" {
                    self.list(&version, name, &mut objects)?;
                }
            }
        }
        Ok(Objects(objects))
    }

    fn list(&self, version: &str, kind: &str, into: &mut BTreeSet<String>) -> Result<(), Error> {
        let group = version.split('/').nth(2).filter(|_| version.starts_with("/apis"));
        let group = group.map(|group| format!(".{group}")).unwrap_or_default();
        let items = self.items(&format!("{version}/{kind}"), "items")?;
        // The kubelet takes some time to end a pod.
        let is_going =
            |item: &Value| kind == "pods" && !item["metadata"]["deletionTimestamp"].is_null();
        let named = items.iter().filter(|item| !is_going(item)).map(|item| {
            let word = |key: &str| item["metadata"][key].as_str().unwrap_or_default();
            format!("{kind}{group} {}/{}", word("namespace"), word("name"))
        });
        let of_the_cluster = |name: &str| OF_THE_CLUSTER.iter().any(|part| name.contains(part));
        into.extend(named.filter(|name| !of_the_cluster(name)));
        Ok(())
    }

    fn items(&self, path: &str, key: &str) -> Result<Vec<Value>, Error> {
        let found = self.control_plane.get(path)?.unwrap_or_default();
        Ok(found[key].as_array().cloned().unwrap_or_default())
    }
}
