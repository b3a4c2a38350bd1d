//! The second tab of the page, which a private cloud gateway follows, too: the Secret
//! declares the registry, and the values do not.

use anyhow::Result;
use image_swap_e2e::{Install, PAGE_SECRET, Stage};
use image_swap_testbed::{HelmMajor, HelmWait};

use crate::{NGINX, STAYS, assert_air_gap, publish_nginx, runs_swapped};

const NAMESPACE: &str = "platform";
/// The place of the program's image. No registry is declared.
const VALUES: &str = "image: {registry: harbor.example.org/airgap-images}";

/// The release is installed by Helm 3, and upgraded and removed by Helm 4.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn secret_alone_declares_the_registry() -> Result<()> {
    let stage = Stage::start()?;
    let digest = publish_nginx(&stage)?;
    let before = stage.objects()?;
    let release =
        Install { namespace: NAMESPACE, release: "gateway-image-swap", values: &[VALUES] };

    stage.step("Helm 3 installs the chart without a registry");
    stage.install_by(&stage.helm().other(HelmMajor::Three)?, &release)?;
    assert_eq!(stage.swapped("nginx:1.25")?, "nginx:1.25", "nothing is declared");
    assert!(!stage.kubectl(&["get", "namespace", "jet-system"])?.is_empty());

    stage.step("the Secret alone suffices");
    stage.write("registry-secret.yaml", PAGE_SECRET)?;
    stage.shell("kubectl create --filename registry-secret.yaml")?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    runs_swapped(&stage, &digest)?;

    stage.step("Helm 4 upgrades the release of Helm 3, and replaces no pod");
    let pods = ["get", "pods", "--namespace", NAMESPACE, "--output=name"];
    let running = stage.kubectl(&pods)?;
    let revision = stage.upgrade(&release, HelmWait::Ready)?;
    assert_eq!((revision.number, revision.status.as_str()), (2, "deployed"));
    stage.wait_ready(&release)?;
    assert_eq!(stage.kubectl(&pods)?, running);
    assert_eq!(stage.swapped("nginx:1.25")?, NGINX);

    stage.step("without the Secret nothing is declared again");
    stage.kubectl(&["delete", "secret", "registry-info", "--namespace=jet-system"])?;
    stage.wait_swapped("nginx:1.25", "nginx:1.25")?;

    stage.step("helm uninstall gateway-image-swap --namespace platform");
    stage.uninstall(&release)?;
    stage.kubectl(&["delete", "namespace", NAMESPACE])?;
    stage.wait_nothing_left(&before, &STAYS)?;
    assert_air_gap(&stage);
    Ok(())
}
