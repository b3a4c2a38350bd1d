//! The controller and the replicas at work, with no more rights than the chart
//! gives them: all of it works, and no right is left over.

use std::{collections::BTreeMap, time::Duration};

use chart_tests::Rendered;
use image_swap_cluster::{Settings, leave};
use serde_json::json;

use super::{
    VALUES,
    rules::{Right, granted},
};
use crate::{
    install::{Account, Installed},
    stage::{
        JET_SECRETS, REGISTRATIONS, controller_by, eventually, intervals, keys, now, pod, release,
        settings, until,
    },
};

/// What the chart tells the controller, as far as its rights depend on it.
fn everything(rendered: &Rendered) -> Settings {
    let deployment = &rendered.objects["controller/deployment.yaml"];
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let mut arguments = arguments.as_array().unwrap().iter().map(|it| it.as_str().unwrap());
    let names = arguments.find_map(|it| it.strip_prefix("--system-namespaces=")).unwrap();
    let system_namespaces = names.split(',').map(str::to_owned).collect();
    Settings { adopt: true, system_namespaces, ..settings() }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_with_the_chart_s_rights_and_each_of_them_is_used() {
    let Some(installed) = Installed::with(VALUES).await else { return };
    let stage = &installed.stage;
    let settings = everything(&installed.rendered);
    for name in settings.system_namespaces.iter().filter(|name| *name != "kube-system") {
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        stage.request("POST", "/api/v1/namespaces", Some(&namespace));
    }
    stage.request("POST", REGISTRATIONS, Some(&dead_imageswap()));

    let as_controller = installed.client_as(Account::Controller).await;
    let as_admission = installed.client_as(Account::Admission).await;
    let (replica, following) = stage.replica_by(&as_admission).await;
    stage.serve_at(replica.port());
    let mut controller = controller_by(&as_controller, settings, "one", intervals(), now);
    until(&mut controller.report, |it| it.policy.failure_policy == "Fail").await;
    until(&mut replica.served(), |it| it.as_ref().is_some_and(|it| !it.hash.is_empty())).await;
    assert!(stage.get(&format!("{REGISTRATIONS}/imageswap-webhook")).is_none(), "it was adopted");

    // A pod that is swapped brings the pull Secret to its namespace, and takes it along.
    let pods = "/api/v1/namespaces/apps/pods";
    let stored = stage.request("POST", pods, Some(&pod()));
    let pull = || stage.get("/api/v1/namespaces/apps/secrets/image-swap-pull");
    eventually(pull).await;
    stage.kill(pods, &stored);
    eventually(|| pull().is_none().then_some(())).await;

    // Twice refused for one reason: the second time the Event is counted up.
    for _ in 0..2 {
        stage.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
        until(&mut controller.report, |it| it.declaration.refused.is_empty()).await;
        stage.declare(JET_SECRETS, "registry-info", &BTreeMap::new());
        until(&mut controller.report, |it| !it.declaration.refused.is_empty()).await;
    }
    assert_eq!(stage.events("jet-system", "RegistryInfoRefused").len(), 1);

    // The chart's hook runs as the controller, too.
    leave(&as_controller, &release()).await.unwrap();
    assert!(stage.registration().is_none());
    drop(controller);

    drop(following);

    for account in [Account::Controller, Account::Admission] {
        let rights = granted(&installed.rendered, account);
        let idle = || -> Vec<Right> {
            let (used, refused) = installed.audited(account);
            assert_eq!(refused, [""; 0], "{account:?} needs more than it has");
            let is_idle = |right: &Right| !used.iter().any(|used| right.allows(used));
            rights.iter().filter(|right| is_idle(right)).cloned().collect()
        };
        // A watch that had nothing to tell is written down when it has ended.
        let ended = tokio::time::timeout(
            Duration::from_secs(20),
            eventually(|| idle().is_empty().then_some(())),
        );
        let _ = ended.await;
        let idle = idle();
        assert!(idle.is_empty(), "{account:?} has what it does not use: {idle:#?}");
    }
}

/// The registration of a program that is gone.
fn dead_imageswap() -> serde_json::Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "imageswap-webhook" },
        "webhooks": [{
            "name": "imageswap.webhook.k8s.twr.io",
            "admissionReviewVersions": ["v1"],
            "clientConfig": { "service": { "namespace": "apps", "name": "imageswap" } },
            "failurePolicy": "Ignore",
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }],
            "sideEffects": "None",
        }],
    })
}
