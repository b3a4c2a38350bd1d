//! The first tab of Palette's documentation: the chart with Palette's values, and the Secret.

use anyhow::Result;
use image_swap_e2e::{HelmCluster, Install, PALETTE_SECRET};

use super::upgrade;
use crate::{
    NGINX, STAYS, assert_air_gap, publish_nginx, runs_swapped,
    stream::{self, Stream, assert_swapped_until_registration_is_gone},
};

// guarantee: 4d
#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn palette_commands_work_from_installation_to_removal() -> Result<()> {
    let cluster = HelmCluster::start()?;
    let digest = publish_nginx(&cluster)?;
    cluster.control_plane.create_namespace(stream::NAMESPACE)?;
    let before = cluster.objects()?;

    install(&cluster, &digest)?;
    upgrade::in_place(&cluster)?;
    upgrade::to_missing_image(&cluster)?;
    upgrade::roll_back(&cluster)?;
    uninstall(&cluster)?;

    cluster.wait_nothing_left(&before, &STAYS)?;
    assert_air_gap(&cluster);
    Ok(())
}

fn install(cluster: &HelmCluster, digest: &str) -> Result<()> {
    let palette = Install::default();
    cluster.step("helm upgrade --values values.yaml image-swap image-swap-*.tgz --install");
    let revision = cluster.follow_palette()?;
    assert_eq!((revision.number, revision.status.as_str()), (1, "deployed"));
    cluster.wait_ready(&palette)?;
    cluster.wait_policy(&palette, "Fail")?;
    cluster.wait_swapped("nginx:1.25", NGINX)?;

    cluster.step("kubectl create --filename registry-secret.yaml");
    cluster.write("registry-secret.yaml", PALETTE_SECRET)?;
    let printed = cluster.shell("kubectl create --filename registry-secret.yaml")?;
    assert_eq!(printed, "secret/registry-info created\n");
    let line = cluster.shell(
        "kubectl get secret registry-info --namespace=jet-system  \\\n\
         --output jsonpath='{.data.MIRROR_REGISTRIES}' | base64 --decode",
    )?;
    let palette =
        PALETTE_SECRET.lines().find_map(|line| line.strip_prefix("  MIRROR_REGISTRIES: "));
    assert_eq!(Some(line.as_str()), palette);
    runs_swapped(cluster, digest)
}

/// Uninstalls the release. The Secret is the administrator's, and is deleted by hand.
fn uninstall(cluster: &HelmCluster) -> Result<()> {
    cluster.step("helm uninstall image-swap, while pods are created");
    let created = Stream::during(cluster, || Ok(cluster.uninstall(&Install::default())?))?;
    assert_swapped_until_registration_is_gone(&created);
    assert_eq!(cluster.registration(&Install::default())?, None);
    assert_eq!(cluster.swapped("nginx:1.25")?, "nginx:1.25");
    let secret = ["secret", "registry-info", "--namespace=jet-system", "--ignore-not-found"];
    cluster.kubectl(&[&["delete"], &secret[..]].concat())?;
    Ok(())
}
