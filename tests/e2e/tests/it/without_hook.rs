//! The release is deleted without Helm's hook: by `kubectl delete`, by a controller that
//! follows a repository, or by `helm uninstall --no-hooks`.

use anyhow::Result;
use image_swap_e2e::{HelmCluster, Install};

use crate::{NGINX, STAYS};

/// The kinds of everything that the chart installs.
const KINDS: &str = "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,\
    clusterrolebindings,secrets,networkpolicies,poddisruptionbudgets,priorityclasses,\
    validatingadmissionpolicies,validatingadmissionpolicybindings";

// guarantee: 4d
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn registration_is_deleted_without_the_hook() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let before = cluster.objects()?;
    cluster.install(&Install::default())?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;

    cluster.step("the release is deleted without its hook");
    let of_the_release = "app.kubernetes.io/instance=image-swap,app.kubernetes.io/managed-by=Helm";
    let now = ["--namespace=default", "--wait=false"];
    cluster.kubectl(&[&["delete", KINDS, "--selector", of_the_release], &now[..]].concat())?;
    let history = "owner=helm,name=image-swap";
    cluster.kubectl(&[&["delete", "secrets", "--selector", history], &now[..]].concat())?;
    let of_agents = ["image-swap-agent", "image-swap-trial", "--wait=false"];
    cluster.kubectl(&[&["delete", "namespaces"], &of_agents[..]].concat())?;
    cluster.wait_swapped("nginx:1.25", "nginx:1.25")?;
    cluster.wait_nothing_left(&before, &STAYS)
}
