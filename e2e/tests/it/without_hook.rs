//! The release is deleted by somebody who runs no hook of Helm: `kubectl delete`, a
//! controller that follows a repository, `helm uninstall --no-hooks`. Nobody says goodbye then.

use anyhow::Result;
use image_swap_e2e::Stage;

/// Everything that the chart installs.
const KINDS: &str = "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,\
    clusterrolebindings,secrets,networkpolicies,poddisruptionbudgets,priorityclasses";

pub(crate) fn delete(stage: &Stage) -> Result<()> {
    stage.step("the release is deleted without its hook: the registration goes with it");
    let ours = "app.kubernetes.io/instance=image-swap,app.kubernetes.io/managed-by=Helm";
    let now = ["--namespace=default", "--wait=false"];
    stage.kubectl(&[&["delete", KINDS, "--selector", ours], &now[..]].concat())?;
    let history = "owner=helm,name=image-swap";
    stage.kubectl(&[&["delete", "secrets", "--selector", history], &now[..]].concat())?;
    stage.wait_swapped("nginx:1.25", "nginx:1.25")
}
