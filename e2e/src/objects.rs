//! Everything that is stored in a cluster.

use std::collections::BTreeSet;

use anyhow::Result;
use image_swap_testbed::{Error, Wait, until};
use serde_json::Value;

use crate::{DEADLINE, stage::Stage};

/// What the cluster itself makes when it likes: the node's heartbeat, and in every
/// namespace its authority.
const OF_THE_CLUSTER: [&str; 2] = [" kube-node-lease/", "/kube-root-ca.crt"];

/// Every object as `resource.group namespace/name`; events apart, which tell what
/// was and go by themselves, the node's heartbeat, which begins when it likes, and
/// pods that are going already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects(pub BTreeSet<String>);

impl Objects {
    /// What is here and not in `before`.
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

impl Stage {
    /// Waits until nothing is stored that was not `before` except what is named
    /// `by_design` (the namespace `jet-system` and what is in it, say).
    ///
    /// # Errors
    /// What is left after the deadline.
    pub fn wait_nothing_left(&self, before: &Objects, by_design: &[&str]) -> Result<()> {
        until("everything of the release to be gone", DEADLINE, || {
            let left = self.objects()?.since(before);
            let stays = |name: &str| by_design.iter().any(|part| name.contains(part));
            let ours = left.iter().filter(|name| !stays(name));
            match ours.map(String::as_str).collect::<Vec<_>>().as_slice() {
                [] => Ok(()),
                left => Err(Wait::NotYet(left.join(", "))),
            }
        })?;
        Ok(())
    }

    /// Everything that is stored, of every kind that the server lists.
    ///
    /// # Errors
    /// There was no answer.
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
                // The last is asked of the servers themselves, and is not stored.
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
        // Of pods that are going a kubelet takes its time to let go.
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
