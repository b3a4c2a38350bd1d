//! Changes by other writers in a workload cluster: repaired at a pace, or a conflict.

use image_swap_core::fleet::{bundle::BundleObject, drift::RepairLog};
use serde_json::{Value, json};

use crate::{
    fleet::CONTROLLER,
    workload::{Workload, declaration},
};

const REGISTRY_INFO: &str = "/api/v1/namespaces/jet-system/secrets/registry-info";

fn keys(workload: &Workload) -> Vec<String> {
    let found = workload.get(REGISTRY_INFO).unwrap();
    found["data"].as_object().unwrap().keys().cloned().collect()
}

fn edit(workload: &Workload, path: &str, change: &Value) {
    workload.request("PATCH", path, Some(change));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server and Helm: cargo xtask test"]
async fn drift_is_repaired_three_times_and_conflicts_never() {
    let mut workload = Workload::start(false);
    let objects = workload.objects("", &declaration()).await;
    let report = workload.apply(&objects).await;
    assert!(report.is_complete() && report.repaired.is_empty(), "{report:?}");
    let wanted = keys(&workload);

    // An added value is removed, as an edited one is written again: together three times.
    let edited = json!({ "data": { "DOMAIN": "ZXZpbA==" } });
    let added = json!({ "data": { "OTHER": "YQ==" } });
    for patch in [&added, &edited, &added] {
        edit(&workload, REGISTRY_INFO, patch);
        let report = workload.apply(&objects).await;
        assert_eq!(report.repaired.len(), 1, "{report:?}");
        assert_eq!(keys(&workload), wanted);
        assert_eq!(workload.apply(&objects).await.repaired, []);
    }
    for patch in [&edited, &added] {
        edit(&workload, REGISTRY_INFO, patch);
        let report = workload.apply(&objects).await;
        assert!(report.repaired.is_empty() && report.limited.len() == 1, "{report:?}");
        assert!(report.limited[0].wait.is_some_and(|it| it > 0), "{report:?}");
    }
    workload.log = RepairLog::default();
    let report = workload.apply(&objects).await;
    assert_eq!(report.limited, []);

    check_deletions(&mut workload, &objects).await;

    // A value of an `Apply` manager stays.
    workload.apply_by_other(&json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": "registry-info", "namespace": "jet-system" },
        "data": { "OTHER": "YQ==" },
    }));
    let report = workload.apply(&objects).await;
    assert_eq!(report.conflicts.len(), 1, "{report:?}");
    assert!(keys(&workload).contains(&"OTHER".to_owned()));

    // So does an object of another Helm release.
    let role = objects.iter().find(|it| it.kind == "ClusterRole").unwrap();
    let release =
        json!({ "metadata": { "annotations": { "meta.helm.sh/release-name": "other" } } });
    edit(&workload, &role.path(), &release);
    edit(&workload, &role.path(), &json!({ "rules": [] }));
    let edited = workload.get(&role.path());
    let report = workload.apply(&objects).await;
    let conflicts: Vec<&str> = report.conflicts.iter().map(|it| it.object.as_str()).collect();
    assert_eq!(conflicts, [role.to_string()]);
    assert!(!report.is_complete());
    assert_eq!(workload.get(&role.path()), edited);
}

/// Checks that a deleted object is created again as often as a changed one is repaired.
async fn check_deletions(workload: &mut Workload, objects: &[BundleObject]) {
    let name = objects.iter().find(|it| it.path() == CONTROLLER).unwrap().to_string();
    let without_field = json!({ "metadata": { "labels": { "app.kubernetes.io/name": null } } });
    let damage = |workload: &Workload, is_deleted: bool| {
        let (method, body) =
            if is_deleted { ("DELETE", None) } else { ("PATCH", Some(&without_field)) };
        workload.request(method, CONTROLLER, body);
    };
    let label = |workload: &Workload| {
        let found = workload.get(CONTROLLER)?;
        found["metadata"]["labels"]["app.kubernetes.io/name"].as_str().map(str::to_owned)
    };
    let wanted = label(workload);
    assert!(wanted.is_some());
    for is_deleted in [true, false, true] {
        damage(workload, is_deleted);
        let report = workload.apply(objects).await;
        let repaired: Vec<&str> = report.repaired.iter().map(|it| it.object.as_str()).collect();
        assert_eq!(repaired, [&*name]);
        assert_eq!(label(workload), wanted);
        let report = workload.apply(objects).await;
        assert!(report.repaired.is_empty() && report.written == 0, "{report:?}");
    }
    for is_deleted in [false, true] {
        damage(workload, is_deleted);
        let before = workload.get(CONTROLLER);
        let report = workload.apply(objects).await;
        assert!(report.repaired.is_empty() && !report.is_complete(), "{report:?}");
        let [limited] = &*report.limited else { panic!("{report:?}") };
        assert!(limited.object == name && limited.wait.is_some_and(|it| it > 0), "{report:?}");
        assert_eq!(workload.get(CONTROLLER), before);
    }
    // Other content is an update, even if the object is missing.
    let mut updated = objects.to_vec();
    let controller = updated.iter_mut().find(|it| it.path() == CONTROLLER).unwrap();
    controller.value["metadata"]["labels"]["other"] = "updated".into();
    for objects in [&*updated, objects] {
        let report = workload.apply(objects).await;
        assert!(report.is_complete() && report.repaired.is_empty(), "{report:?}");
    }
    workload.log = RepairLog::default();
}
