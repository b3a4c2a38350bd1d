//! The page's second tab, which a private cloud gateway follows, too: no registry
//! in the values, the Secret alone. Installed into a namespace of its own.

use anyhow::Result;
use image_swap_e2e::{Install, PAGE_SECRET, Stage};

use crate::{NGINX, runs_swapped};

pub(crate) const NAMESPACE: &str = "platform";

/// Where our image is; the values declare nothing.
const VALUES: &str = "image: {registry: harbor.example.org/airgap-images}";

fn release() -> Install<'static> {
    Install { namespace: NAMESPACE, release: "gateway-image-swap", values: &[VALUES] }
}

pub(crate) fn install(stage: &Stage, digest: &str) -> Result<()> {
    stage.step("the chart without a registry, in another namespace under another name");
    stage.install(&release())?;
    assert_eq!(stage.swapped("nginx:1.25")?, "nginx:1.25", "nothing is declared");
    assert!(!stage.kubectl(&["get", "namespace", "jet-system"])?.is_empty());

    stage.step("the Secret alone suffices");
    stage.write("registry-secret.yaml", PAGE_SECRET)?;
    stage.shell("kubectl create --filename registry-secret.yaml")?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    runs_swapped(stage, digest)?;

    stage.step("without it nothing is declared again");
    stage.kubectl(&["delete", "secret", "registry-info", "--namespace=jet-system"])?;
    stage.wait_swapped("nginx:1.25", "nginx:1.25")
}

pub(crate) fn uninstall(stage: &Stage) -> Result<()> {
    stage.step("helm uninstall gateway-image-swap --namespace platform");
    Ok(stage.uninstall(&release())?)
}
