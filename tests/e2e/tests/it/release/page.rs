//! The first tab of the page: the chart with the page's values, and the Secret.

use anyhow::Result;
use image_swap_e2e::{Install, PAGE_SECRET, Stage};

use super::upgrade;
use crate::{
    NGINX, STAYS, assert_air_gap, publish_nginx, runs_swapped,
    stream::{self, Stream, assert_swapped_until_registration_is_gone},
};

#[test]
#[ignore = "needs a cluster: cargo xtask test"]
fn page_commands_work_from_installation_to_removal() -> Result<()> {
    let stage = Stage::start()?;
    let digest = publish_nginx(&stage)?;
    stage.control_plane.create_namespace(stream::NAMESPACE)?;
    let before = stage.objects()?;

    install(&stage, &digest)?;
    upgrade::in_place(&stage)?;
    upgrade::to_missing_image(&stage)?;
    upgrade::roll_back(&stage)?;
    uninstall(&stage)?;

    stage.wait_nothing_left(&before, &STAYS)?;
    assert_air_gap(&stage);
    Ok(())
}

fn install(stage: &Stage, digest: &str) -> Result<()> {
    let page = Install::default();
    stage.step("helm upgrade --values values.yaml image-swap image-swap-*.tgz --install");
    let revision = stage.follow_the_page()?;
    assert_eq!((revision.number, revision.status.as_str()), (1, "deployed"));
    stage.wait_ready(&page)?;
    stage.wait_policy(&page, "Fail")?;
    stage.wait_swapped("nginx:1.25", NGINX)?;

    stage.step("kubectl create --filename registry-secret.yaml");
    stage.write("registry-secret.yaml", PAGE_SECRET)?;
    let printed = stage.shell("kubectl create --filename registry-secret.yaml")?;
    assert_eq!(printed, "secret/registry-info created\n");
    let line = stage.shell(
        "kubectl get secret registry-info --namespace=jet-system  \\\n\
         --output jsonpath='{.data.MIRROR_REGISTRIES}' | base64 --decode",
    )?;
    let page = PAGE_SECRET.lines().find_map(|line| line.strip_prefix("  MIRROR_REGISTRIES: "));
    assert_eq!(Some(line.as_str()), page);
    runs_swapped(stage, digest)
}

/// Uninstalls the release. The Secret is the administrator's, and is deleted by hand.
fn uninstall(stage: &Stage) -> Result<()> {
    stage.step("helm uninstall image-swap, while pods are created");
    let created = Stream::during(stage, || Ok(stage.uninstall(&Install::default())?))?;
    assert_swapped_until_registration_is_gone(&created);
    assert_eq!(stage.registration(&Install::default())?, None);
    assert_eq!(stage.swapped("nginx:1.25")?, "nginx:1.25");
    let secret = ["secret", "registry-info", "--namespace=jet-system", "--ignore-not-found"];
    stage.kubectl(&[&["delete"], &secret[..]].concat())?;
    Ok(())
}
