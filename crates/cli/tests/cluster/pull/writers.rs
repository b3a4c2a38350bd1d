//! Other writers of `registry-info` in a cluster that pulls.

use std::{collections::BTreeMap, io::Write as _, process::Stdio};

use image_swap_core::status::ControllerReport;
use image_swap_text::base64;
use serde_json::{Value, json};
use tokio::{sync::watch, task::block_in_place};

use super::{
    fleet::{PullFleet, REGISTRY_INFO, apply, text},
    problem,
};
use crate::test_cluster::{eventually, until};

/// Domain that no declaration of this test has.
const EVIL: &str = "evil.example.org";

/// Changes `registry-info` as an `Update` manager.
fn edit(fleet: &PullFleet, change: &Value) {
    PullFleet::patch(fleet.workload(), REGISTRY_INFO, change);
}

/// Applies these values of `registry-info` as the manager `flux`.
fn apply_by_flux(fleet: &PullFleet, values: &[(&str, &str)]) {
    let encoded = values.iter().map(|(key, value)| ((*key).to_owned(), base64::encode(value)));
    let values: BTreeMap<String, String> = encoded.collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": "jet-system" },
        "data": values,
    });
    let mut kubectl = fleet.workload().kubectl();
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--field-manager=flux"]);
    kubectl.arg("--filename=-").stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = kubectl.spawn().unwrap();
    child.stdin.take().unwrap().write_all(secret.to_string().as_bytes()).unwrap();
    assert!(block_in_place(|| child.wait()).unwrap().success());
}

fn value(fleet: &PullFleet, key: &str) -> Option<String> {
    let secret = fleet.get(REGISTRY_INFO).unwrap();
    secret["data"][key].is_string().then(|| text(&secret, key))
}

/// Waits until the report names this reason for which `registry-info` stays as it is.
async fn refused(report: &mut watch::Receiver<ControllerReport>, reason: &str) {
    until(report, |it| problem(it).is_some_and(|it| it.contains(reason))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn only_changes_by_update_managers_are_repaired() {
    let fleet = PullFleet::start().await;
    apply(fleet.workload(), &fleet.enroll());
    let (mut report, _controller) = fleet.controller().await;
    fleet.declare(2, "two");
    fleet.declared(2, "two").await;

    // Changes of an `Update` manager are repaired three times.
    let added = json!({ "stringData": { "OTHER": "a" } });
    let edited = json!({ "stringData": { "DOMAIN": EVIL } });
    for (number, path, change) in [(3, "three", &added), (4, "four", &edited), (5, "five", &added)]
    {
        edit(&fleet, change);
        fleet.declare(number, path);
        fleet.declared(number, path).await;
        let is_repaired = || {
            let other = value(&fleet, "OTHER").is_some();
            (!other && value(&fleet, "DOMAIN").is_some_and(|it| it != EVIL)).then_some(())
        };
        eventually(is_repaired).await;
        until(&mut report, |it| problem(it).is_none()).await;
    }
    edit(&fleet, &added);
    fleet.declare(6, "six");
    refused(&mut report, "again and again: .data by another manager").await;
    assert_eq!(value(&fleet, "OTHER").as_deref(), Some("a"));

    // A value that another program applies stays, while the declaration changes.
    apply_by_flux(&fleet, &[("OTHER", "flux")]);
    fleet.declare(7, "seven");
    refused(&mut report, ".data by flux; remove them from that writer").await;
    fleet.declared(7, "seven").await;
    assert_eq!(value(&fleet, "OTHER").as_deref(), Some("flux"));

    // So does a value of the declaration.
    apply_by_flux(&fleet, &[("OTHER", "flux"), ("DOMAIN", EVIL)]);
    fleet.declare(8, "eight");
    refused(&mut report, ".data.DOMAIN by flux; remove them from that writer").await;
    assert_eq!(value(&fleet, "DOMAIN").as_deref(), Some(EVIL));

    // Without that writer the declaration is complete.
    apply_by_flux(&fleet, &[]);
    fleet.declare(9, "nine");
    fleet.declared(9, "nine").await;
    until(&mut report, |it| problem(it).is_none()).await;
    assert!(value(&fleet, "DOMAIN").is_some_and(|it| it != EVIL));

    // An object of a Helm release stays.
    let annotations = json!({ "meta.helm.sh/release-name": "other" });
    edit(&fleet, &json!({ "metadata": { "annotations": annotations } }));
    edit(&fleet, &edited);
    let before = fleet.get(REGISTRY_INFO);
    fleet.declare(10, "ten");
    refused(&mut report, "belongs to a Helm release").await;
    assert_eq!(fleet.get(REGISTRY_INFO), before);
}
