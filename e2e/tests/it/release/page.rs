//! The page's first tab: the chart with the page's values, and the Secret.

use anyhow::Result;
use image_swap_e2e::{Install, PAGE_SECRET, Stage};

use crate::{
    NGINX, runs_swapped,
    stream::{Stream, assert_swapped_until_we_had_left},
};

pub(crate) fn install(stage: &Stage, digest: &str) -> Result<()> {
    let page = Install::default();
    stage.step("helm upgrade --values values.yaml image-swap image-swap-*.tgz --install");
    let revision = stage.follow_the_page()?;
    assert_eq!((revision.number, revision.status.as_str()), (1, "deployed"));
    stage.wait_ready(&page)?;
    stage.wait_policy(&page, "Fail")?;
    stage.wait_swapped("nginx:1.25", NGINX)?;

    stage.step("kubectl create --filename registry-secret.yaml");
    stage.write("registry-secret.yaml", PAGE_SECRET)?;
    let said = stage.shell("kubectl create --filename registry-secret.yaml")?;
    assert_eq!(said, "secret/registry-info created\n");
    let line = stage.shell(
        "kubectl get secret registry-info --namespace=jet-system  \\\n\
         --output jsonpath='{.data.MIRROR_REGISTRIES}' | base64 --decode",
    )?;
    let page = PAGE_SECRET.lines().find_map(|line| line.strip_prefix("  MIRROR_REGISTRIES: "));
    assert_eq!(Some(line.as_str()), page);
    runs_swapped(stage, digest)
}

/// The Secret is the user's, and goes by hand.
pub(crate) fn uninstall(stage: &Stage) -> Result<()> {
    stage.step("helm uninstall image-swap, while pods are created");
    let created = Stream::during(stage, || Ok(stage.uninstall(&Install::default())?))?;
    assert_swapped_until_we_had_left(&created);
    assert_eq!(stage.registration(&Install::default())?, None);
    assert_eq!(stage.swapped("nginx:1.25")?, "nginx:1.25");
    let secret = ["secret", "registry-info", "--namespace=jet-system", "--ignore-not-found"];
    stage.kubectl(&[&["delete"], &secret[..]].concat())?;
    Ok(())
}
