//! The release is deleted without Helm's hook: by `kubectl delete`, by a controller that
//! follows a repository, or by `helm uninstall --no-hooks`.

use anyhow::Result;
use image_swap_e2e::{Install, Stage};

use crate::{NGINX, STAYS};

/// The kinds of everything that the chart installs.
const KINDS: &str = "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,\
    clusterrolebindings,secrets,networkpolicies,poddisruptionbudgets,priorityclasses,\
    validatingadmissionpolicies,validatingadmissionpolicybindings";

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn registration_goes_with_a_release_deleted_without_hook() -> Result<()> {
    let stage = Stage::start()?;
    let before = stage.objects()?;
    stage.install(&Install::default())?;
    stage.wait_swapped("nginx:1.25", NGINX)?;

    stage.step("the release is deleted without its hook");
    let of_the_release = "app.kubernetes.io/instance=image-swap,app.kubernetes.io/managed-by=Helm";
    let now = ["--namespace=default", "--wait=false"];
    stage.kubectl(&[&["delete", KINDS, "--selector", of_the_release], &now[..]].concat())?;
    let history = "owner=helm,name=image-swap";
    stage.kubectl(&[&["delete", "secrets", "--selector", history], &now[..]].concat())?;
    stage.wait_swapped("nginx:1.25", "nginx:1.25")?;
    stage.wait_nothing_left(&before, &STAYS)
}
