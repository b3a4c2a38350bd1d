//! The declaration in force, from Palette's Secret to each replica.

use image_swap_core::{admission::Mode, control::effective::Origin, diagnostic::Severity};

use crate::test_cluster::{JET_SECRETS, SECRETS, TestCluster, eventually, keys, settings, until};

// guarantee: 3a, 3b
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn replicas_keep_the_last_valid_declaration() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    let (one, _following) = cluster.replica().await;
    let (two, _following_too) = cluster.replica().await;
    let mut replicas = [one.served(), two.served()];

    // Nothing is declared: replicas have no rules, and the namespace for the Secret exists.
    for replica in &mut replicas {
        until(replica, |it| it.as_ref().is_some_and(|it| it.mode == Some(Mode::Enforce))).await;
    }
    assert!(cluster.get("/api/v1/namespaces/jet-system").is_some());

    // The chart declares a registry.
    cluster.declare(SECRETS, "image-swap-declaration", &keys("chart.example.org"));
    for replica in &mut replicas {
        let served = served_from(replica, Origin::Chart).await;
        assert_eq!(
            served.rules.swap("nginx").unwrap().image,
            "chart.example.org/airgap/docker.io/library/nginx"
        );
        assert!(
            served.pull_secret.unwrap().covers("chart.example.org/airgap/docker.io/library/nginx")
        );
    }

    // The Secret registry-info takes precedence, and the status lists the differences.
    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    for replica in &mut replicas {
        let served = served_from(replica, Origin::RegistryInfo).await;
        assert_eq!(
            served.rules.swap("nginx").unwrap().image,
            "page.example.org/airgap/docker.io/library/nginx"
        );
    }
    let report =
        until(&mut controller.report, |it| it.declaration.source == Origin::RegistryInfo).await;
    assert_eq!(report.declaration.differs, ["DOMAIN", "MIRROR_REGISTRIES"]);
    let in_force = report.declaration.hash;
    // A registry that does not exist is reported, and its declaration is in force all the same.
    let report = until(&mut controller.report, |it| {
        it.registry.as_ref().is_some_and(|it| it.domain == "page.example.org")
    })
    .await;
    assert!(report.registry.unwrap().is_bad());

    // A malformed declaration changes nothing, and is reported with line, column and reason.
    let mut bad = keys("page.example.org");
    bad.insert("MIRROR_REGISTRIES", "docker.io::page.example.org/d,\ngcr.io::no target".into());
    cluster.declare(JET_SECRETS, "registry-info", &bad);
    let report = until(&mut controller.report, |it| !it.declaration.refused.is_empty()).await;
    assert_eq!(report.declaration.hash, in_force);
    let finding =
        report.declaration.findings.iter().find(|it| it.severity == Severity::Error).unwrap();
    assert_eq!((finding.line, finding.key.as_deref()), (2, Some("MIRROR_REGISTRIES")));
    let events = cluster.events("jet-system", "RegistryInfoRefused");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["regarding"]["name"], "registry-info");
    assert!(
        events[0]["note"].as_str().unwrap().contains("line 2, column 9"),
        "{}",
        events[0]["note"]
    );

    // A different mistake is another Event.
    bad.insert("MIRROR_REGISTRIES", "docker.io::page.example.org/d,quay.io::none".into());
    cluster.declare(JET_SECRETS, "registry-info", &bad);
    until(&mut controller.report, |it| {
        it.declaration.findings.iter().any(|it| it.severity == Severity::Error && it.line == 1)
    })
    .await;
    eventually(|| {
        let events = cluster.events("jet-system", "RegistryInfoRefused");
        let notes = events.iter().filter_map(|event| event["note"].as_str());
        notes.into_iter().any(|note| note.contains("line 1, column 40")).then_some(())
    })
    .await;

    // An empty Secret changes nothing either, also for a new controller.
    drop(controller);
    cluster.declare(JET_SECRETS, "registry-info", &std::collections::BTreeMap::new());
    let mut controller = cluster.controller(settings(), "another");
    let report = until(&mut controller.report, |it| !it.declaration.refused.is_empty()).await;
    assert_eq!(report.declaration.hash, in_force);
    for replica in &replicas {
        assert_eq!(replica.borrow().as_ref().unwrap().hash, in_force);
    }

    // After its deletion the chart's declaration is in force, and without both no declaration.
    cluster.request("DELETE", &format!("{JET_SECRETS}/registry-info"), None);
    for replica in &mut replicas {
        served_from(replica, Origin::Chart).await;
    }
    cluster.request("DELETE", &format!("{SECRETS}/image-swap-declaration"), None);
    for replica in &mut replicas {
        served_from(replica, Origin::None).await;
    }
}

// guarantee: 6b, 6c
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the API server: cargo xtask test"]
async fn replicas_and_status_contain_no_credential() {
    let cluster = TestCluster::set().await;
    let mut controller = cluster.controller(settings(), "one");
    until(&mut controller.report, |it| !it.version.is_empty()).await;
    cluster.declare(JET_SECRETS, "registry-info", &keys("page.example.org"));
    until(&mut controller.report, |it| it.declaration.source == Origin::RegistryInfo).await;
    // Returns true if a Secret contains the password, which only the last good declaration may.
    let hidden = |value: &serde_json::Value| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let data = value["data"].as_object().unwrap().values();
        let texts = data.map(|it| STANDARD.decode(it.as_str().unwrap()).unwrap());
        texts.map(|it| String::from_utf8(it).unwrap()).any(|it| it.contains("s3cret-of-the-robot"))
    };
    let effective = cluster.get(&format!("{SECRETS}/image-swap-effective")).unwrap();
    assert!(!hidden(&effective));
    assert!(hidden(&cluster.get(&format!("{SECRETS}/image-swap-last-good")).unwrap()));
    assert_eq!(
        effective["metadata"]["ownerReferences"][0]["kind"], "ClusterRole",
        "it goes when the release does"
    );
    let status = cluster.get("/api/v1/namespaces/image-swap-system/configmaps/image-swap-status");
    assert!(!status.unwrap().to_string().contains("s3cret"));
}

async fn served_from(
    replica: &mut tokio::sync::watch::Receiver<Option<image_swap_cluster::ReplicaState>>,
    origin: Origin,
) -> image_swap_cluster::ReplicaState {
    until(replica, |it| it.as_ref().is_some_and(|it| it.origin == origin && it.mode.is_some()))
        .await
        .unwrap()
}
