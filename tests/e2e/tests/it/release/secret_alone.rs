//! The second tab of Palette's documentation, which a private cloud gateway follows, too: the Secret
//! declares the registry, and the values do not.

use anyhow::Result;
use image_swap_e2e::{HelmCluster, Install, PALETTE_SECRET};
use image_swap_testbed::{HelmMajor, HelmWait};

use crate::{NGINX, STAYS, assert_air_gap, publish_nginx, runs_swapped};

const NAMESPACE: &str = "platform";
/// The place of the program's image. No registry is declared.
const VALUES: &str = "image: {registry: harbor.example.org/airgap-images}";

/// The release is installed by Helm 3, and upgraded and removed by Helm 4.
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn secret_alone_declares_the_registry() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let digest = publish_nginx(&cluster)?;
    let before = cluster.objects()?;
    let release =
        Install { namespace: NAMESPACE, release: "gateway-image-swap", values: &[VALUES] };

    cluster.step("Helm 3 installs the chart without a registry");
    cluster.install_by(&cluster.helm().other(HelmMajor::Three)?, &release)?;
    assert_eq!(cluster.swapped("nginx:1.25")?, "nginx:1.25", "nothing is declared");
    assert!(!cluster.kubectl(&["get", "namespace", "jet-system"])?.is_empty());

    cluster.step("the Secret alone suffices");
    cluster.write("registry-secret.yaml", PALETTE_SECRET)?;
    cluster.shell("kubectl create --filename registry-secret.yaml")?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;
    runs_swapped(&cluster, &digest)?;

    cluster.step("Helm 4 upgrades the release of Helm 3, and replaces no pod");
    let pods = ["get", "pods", "--namespace", NAMESPACE, "--output=name"];
    let running = cluster.kubectl(&pods)?;
    let revision = cluster.upgrade(&release, HelmWait::Ready)?;
    assert_eq!((revision.number, revision.status.as_str()), (2, "deployed"));
    cluster.wait_ready(&release)?;
    assert_eq!(cluster.kubectl(&pods)?, running);
    assert_eq!(cluster.swapped("nginx:1.25")?, NGINX);

    cluster.step("without the Secret nothing is declared again");
    cluster.kubectl(&["delete", "secret", "registry-info", "--namespace=jet-system"])?;
    cluster.wait_swapped("nginx:1.25", "nginx:1.25")?;

    cluster.step("helm uninstall gateway-image-swap --namespace platform");
    cluster.uninstall(&release)?;
    cluster.kubectl(&["delete", "namespace", NAMESPACE])?;
    cluster.wait_nothing_left(&before, &STAYS)?;
    assert_air_gap(&cluster);
    Ok(())
}
