//! Everything that is stored in a cluster.

use std::collections::BTreeSet;

use anyhow::Result;

use image_swap_testbed::{Wait, until};

use crate::{DEADLINE, stage::Stage};

/// Every object as `resource namespace name`; events apart, which tell what was
/// and go by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objects(pub BTreeSet<String>);

impl Objects {
    /// What is here and not in `before`.
    pub fn since(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}

impl Stage {
    /// Waits until nothing is stored that was not `before`, but for the namespace
    /// `jet-system` and what is in it: it stays by design.
    ///
    /// # Errors
    /// What is left after the deadline, or what kubectl says.
    pub fn wait_nothing_left(&self, before: &Objects) -> Result<()> {
        until("everything of the release to be gone", DEADLINE, || {
            let now = self.objects().map_err(|error| Wait::NotYet(format!("{error:#}")))?;
            let left = now.since(before);
            let ours = left.iter().filter(|name| !name.contains(" jet-system"));
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
    /// What kubectl says.
    pub fn objects(&self) -> Result<Objects> {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "--output=name"])?;
        let mut objects = BTreeSet::new();
        for kind in kinds.lines() {
            // The second is asked of the servers themselves, and is not stored.
            if kind.starts_with("events") || kind == "componentstatuses" {
                continue;
            }
            let columns = "custom-columns=NS:.metadata.namespace,NAME:.metadata.name";
            let listed = self.kubectl(&[
                "get",
                kind,
                "--all-namespaces",
                "--no-headers",
                "--ignore-not-found",
                "--output",
                columns,
            ])?;
            let named = listed.lines().map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{kind} {}", words.join(" "))
            });
            // The node's heartbeat begins when it likes.
            objects.extend(named.filter(|name| !name.contains(" kube-node-lease ")));
        }
        Ok(Objects(objects))
    }
}
