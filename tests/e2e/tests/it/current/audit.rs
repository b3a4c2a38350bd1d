//! The audit log of the API server.

use std::fs;

use anyhow::Result;
use image_swap_e2e::{DEADLINE, HelmCluster, HelmClusterOptions, Install, pod};
use image_swap_testbed::{Wait, until};
use serde_json::Value;

use super::REDIS;
use crate::NGINX;

const NAMESPACE: &str = "audited";

/// A pod is created and updated, and another one is created for the system. The three
/// webhooks of the registration put their decisions into the audit log.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn audit_log_has_decisions_of_each_webhook() -> Result<()> {
    let cluster = HelmCluster::start_with(HelmClusterOptions {
        audit: true,
        ..HelmClusterOptions::default()
    })?;
    cluster.install(&Install::default())?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    cluster.control_plane.create_namespace(NAMESPACE)?;
    for namespace in [NAMESPACE, "kube-system"] {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        cluster.control_plane.create(&pods, &pod("web", "nginx:1.25"))?;
    }
    cluster.kubectl(&["set", "image", "--namespace", NAMESPACE, "pod/web", "main=redis:7"])?;
    for (webhook, namespace, from, to) in [
        ("pods", NAMESPACE, "nginx:1.25", NGINX),
        ("system", "kube-system", "nginx:1.25", NGINX),
        ("updates", NAMESPACE, "redis:7", REDIS),
    ] {
        let key = format!("{webhook}.image-swap.io/decisions");
        let decisions = until(&format!("the annotation {key}"), DEADLINE, || {
            let log = fs::read_to_string(cluster.audit_log());
            let log = log.map_err(|error| Wait::NotYet(error.to_string()))?;
            let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut events = events.filter(|event| event["objectRef"]["namespace"] == namespace);
            let found =
                events.find_map(|event| Some(event["annotations"][&key].as_str()?.to_owned()));
            found.ok_or_else(|| Wait::NotYet(format!("{} lines without it", log.lines().count())))
        })?;
        let decisions: Value = serde_json::from_str(&decisions)?;
        let decision = &decisions["main"];
        assert_eq!((&decision["from"], &decision["to"]), (&from.into(), &to.into()), "{decisions}");
    }
    Ok(())
}
