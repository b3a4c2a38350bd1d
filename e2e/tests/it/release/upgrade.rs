//! The same command again.

use anyhow::Result;
use chart_tests::Wait;
use image_swap_e2e::{DEADLINE, Install, PAGE_VALUES, Stage};
use image_swap_testbed::until;
use serde_json::Value;

use crate::{
    NGINX, people,
    stream::{Stream, assert_all_swapped},
};

/// The page's release with `more` values.
fn with<'a>(values: &'a [&'a str]) -> Install<'a> {
    Install { values, ..Install::default() }
}

pub(crate) fn in_place(stage: &Stage) -> Result<()> {
    stage.step("the same command again changes no pod");
    let before = pods(stage)?;
    let revision = stage.follow_the_page()?;
    assert_eq!((revision.number, revision.status.as_str()), (2, "deployed"));
    stage.wait_ready(&Install::default())?;
    assert_eq!(pods(stage)?, before);

    stage.step("an upgrade in place, while pods are created");
    let values = [PAGE_VALUES, "podAnnotations: {upgraded: 'yes'}"];
    let created = Stream::during(stage, || {
        assert_eq!(stage.upgrade(&with(&values), Wait::Ready)?.number, 3);
        stage.wait_ready(&Install::default())
    })?;
    assert_all_swapped(&created);
    let after = pods(stage)?;
    assert!(after.iter().all(|pod| !before.contains(pod)), "{before:?} {after:?}");
    assert_eq!(stage.swapped("nginx:1.25")?, NGINX);
    Ok(())
}

pub(crate) fn to_what_cannot_be_pulled(stage: &Stage) -> Result<()> {
    stage.step("an upgrade whose image cannot be pulled leaves the old version serving");
    let before = pods(stage)?;
    let values = [PAGE_VALUES, "image: {tag: not-there}"];
    assert_eq!(stage.upgrade(&with(&values), Wait::Hooks)?.number, 4);
    let waiting = until("a pod that cannot be pulled", DEADLINE, || {
        let reasons = "{.items[*].status.containerStatuses[*].state.waiting.reason}";
        let reasons = format!("--output=jsonpath={reasons}");
        match stage.kubectl(&["get", "pods", "--namespace=default", &reasons]) {
            Ok(said) if said.contains("ImagePull") || said.contains("ErrImage") => Ok(said),
            said => Err(image_swap_testbed::Wait::NotYet(format!("{said:?}"))),
        }
    })?;
    assert!(!waiting.is_empty());
    let now = pods(stage)?;
    let serving = before.iter().filter(|pod| pod.contains("-admission-"));
    assert!(
        serving.clone().count() == 2 && serving.clone().all(|pod| now.contains(pod)),
        "{now:?}"
    );
    assert_eq!(stage.swapped("nginx:1.25")?, NGINX);
    stage.wait_policy(&Install::default(), "Fail")?;

    stage.step("helm rollback, while pods are created: to what serves, and to what served before");
    let created = Stream::during(stage, || {
        stage.helm().rollback("default", "image-swap", None, Wait::Ready)?;
        stage.wait_ready(&Install::default())?;
        stage.helm().rollback("default", "image-swap", Some(2), Wait::Ready)?;
        stage.wait_ready(&Install::default())
    })?;
    assert_all_swapped(&created);
    assert_eq!(stage.swapped("nginx:1.25")?, NGINX);
    let history = stage.helm().history("default", "image-swap")?;
    assert_eq!(history.last().map(|last| last.number), Some(6), "{history:?}");
    Ok(())
}

/// The names of our pods, but those that are going.
fn pods(stage: &Stage) -> Result<Vec<String>> {
    let ours = "labelSelector=app.kubernetes.io/name=image-swap";
    let pods = people::pods(stage, &format!("/api/v1/namespaces/default/pods?{ours}"))?;
    let name = |pod: &Value| Some(pod["metadata"]["name"].as_str()?.to_owned());
    Ok(pods.iter().filter_map(name).collect())
}
