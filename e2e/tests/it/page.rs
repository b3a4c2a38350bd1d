//! The page's steps, in its order, on one cluster.

use anyhow::Result;
use chart_tests::Wait;
use image_swap_e2e::{Install, PAGE_SECRET, PAGE_VALUES, Stage};

const NGINX: &str = "harbor.example.org/airgap-images/docker.io/library/nginx:1.25";

#[test]
fn the_page_works_as_printed() -> Result<()> {
    let Some(stage) = Stage::start()? else { return Ok(()) };
    let before = stage.objects()?;
    air_gap(&stage)?;
    stage.step("uninstall");
    stage.uninstall(&Install::default())?;
    stage.wait_nothing_left(&before)?;
    Ok(())
}

fn air_gap(stage: &Stage) -> Result<()> {
    stage.step("helm upgrade --install with the page's values");
    stage.write("values.yaml", PAGE_VALUES)?;
    let release = stage.upgrade(&Install::default(), Wait::Hooks)?;
    assert_eq!(release["status"], "deployed", "{release}");
    stage.wait_ready(&Install::default())?;
    stage.wait_policy(&Install::default(), "Fail")?;
    stage.wait_swapped("nginx:1.25", NGINX)?;
    stage.step("kubectl create --filename registry-secret.yaml");
    stage.write("registry-secret.yaml", PAGE_SECRET)?;
    stage.shell("kubectl create --filename registry-secret.yaml")?;
    stage.step("the page's check");
    let line = stage.shell(
        "kubectl get secret registry-info --namespace=jet-system  \\\n\
         --output jsonpath='{.data.MIRROR_REGISTRIES}' | base64 --decode",
    )?;
    let page = PAGE_SECRET.lines().find_map(|line| line.strip_prefix("  MIRROR_REGISTRIES: "));
    assert_eq!(Some(line.as_str()), page);

    stage.step("a new pod");
    let digest = stage.publish("docker.io/library/nginx", "1.25", "nginx", &["sleep", "inf"])?;
    stage.kubectl(&["run", "web", "--image=nginx:1.25"])?;
    let pod = stage.wait_pod("default", "web")?;
    assert_eq!(pod["spec"]["containers"][0]["image"], NGINX);
    let running = &pod["status"]["containerStatuses"][0];
    assert!(running["imageID"].to_string().contains(&digest), "{running}");
    assert!(stage.public.calls().is_empty(), "{:?}", stage.public.calls());
    stage.kubectl(&["delete", "pod", "web", "--grace-period=0", "--force"])?;
    Ok(())
}
