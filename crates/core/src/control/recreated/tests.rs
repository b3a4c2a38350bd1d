use super::*;

/// Returns a pod of the owner `db`.
fn mk_pod(uid: &str, stem: &str) -> OwnedPod {
    OwnedPod {
        uid: uid.to_owned(),
        namespace: "shop".to_owned(),
        stem: stem.to_owned(),
        owner: PodOwner {
            api_version: "example.org/v1".to_owned(),
            kind: "Database".to_owned(),
            name: "db".to_owned(),
            uid: "owner".to_owned(),
        },
        version: OwnedPod::version(r#"{"app":"nginx"}"#, ""),
    }
}

/// Creates and deletes the pod `db-0` several times, each with a life of `life` seconds.
fn recreate(
    recreations: &mut Recreations,
    times: usize,
    life: UnixTime,
    pause: UnixTime,
) -> UnixTime {
    let mut now = 1_000;
    for nth in 0..=times {
        let pod = mk_pod(&nth.to_string(), "db-0");
        recreations.add(&pod, now);
        if nth < times {
            now += life;
            recreations.remove(&pod, now);
            now += pause;
        }
    }
    now
}

fn is_reported(times: usize, life: UnixTime, pause: UnixTime) -> bool {
    let mut recreations = Recreations::default();
    let now = recreate(&mut recreations, times, life, pause);
    !recreations.recreated(now).is_empty()
}

#[test]
fn recreated_pod_is_reported_with_its_owner() {
    let mut recreations = Recreations::default();
    let now = recreate(&mut recreations, THRESHOLD, 30, 5);
    let expected = RecreatedPod {
        namespace: "shop".to_owned(),
        stem: "db-0".to_owned(),
        owner: mk_pod("", "").owner,
        times: THRESHOLD,
    };
    assert_eq!(recreations.recreated(now), [expected]);
}

#[test]
fn pod_recreated_every_half_hour_is_reported() {
    assert!(is_reported(THRESHOLD, 30 * 60, 30));
}

#[test]
fn few_slow_or_late_recreations_are_not_reported() {
    assert!(!is_reported(THRESHOLD - 1, 30, 5), "few");
    assert!(!is_reported(2 * THRESHOLD, LIFE + 1, 5), "pods that lived long");
    assert!(!is_reported(2 * THRESHOLD, 30, GAP + 1), "pods that came later");
}

#[test]
fn report_ends_when_recreations_are_old() {
    let mut recreations = Recreations::default();
    let now = recreate(&mut recreations, THRESHOLD, 30, 5);
    assert_eq!(recreations.recreated(now + WINDOW - 200).len(), 1);
    assert_eq!(recreations.recreated(now + WINDOW), []);
    assert!(recreations.places.is_empty());
}

#[test]
fn rollout_of_other_images_is_not_reported() {
    let mut recreations = Recreations::default();
    for nth in 0..3 * THRESHOLD as u64 {
        let version = OwnedPod::version(r#"{"app":"nginx"}"#, &nth.to_string());
        let pod = OwnedPod { version, ..mk_pod(&nth.to_string(), "db-0") };
        recreations.add(&pod, nth * 40);
        recreations.remove(&pod, nth * 40 + 30);
    }
    assert_eq!(recreations.recreated(1_000), []);
}

#[test]
fn pods_with_generated_names_are_reported() {
    for overlap in [0, 2] {
        let mut recreations = Recreations::default();
        let mut now = 1_000;
        let name = |nth: usize| format!("uid-{nth}");
        recreations.add(&mk_pod(&name(0), "catalog-"), now);
        for nth in 1..=THRESHOLD {
            now += 20;
            if overlap > 0 {
                recreations.add(&mk_pod(&name(nth), "catalog-"), now);
            }
            now += 2;
            recreations.remove(&mk_pod(&name(nth - 1), "catalog-"), now);
            if overlap == 0 {
                recreations.add(&mk_pod(&name(nth), "catalog-"), now);
            }
        }
        assert_eq!(recreations.recreated(now).len(), 1, "{overlap}");
    }
}

#[test]
fn scaling_up_and_down_is_not_reported() {
    let mut recreations = Recreations::default();
    let mut now = 1_000;
    for round in 0..10 {
        let pods: Vec<_> = (0..50).map(|nth| mk_pod(&format!("{round}-{nth}"), "db-")).collect();
        for pod in &pods {
            recreations.add(pod, now);
        }
        now += 600;
        for pod in &pods {
            recreations.remove(pod, now);
        }
        now += 600;
    }
    assert_eq!(recreations.recreated(now), []);
}

#[test]
fn changed_pod_without_recreation_is_not_counted() {
    let mut recreations = Recreations::default();
    for now in 0..1_000 {
        assert!(!recreations.add(&mk_pod("same", "db-0"), now));
    }
    assert!(recreations.places.is_empty());
}

#[test]
fn new_list_is_no_recreation() {
    let mut recreations = Recreations::default();
    for now in 0..20 {
        recreations.begin_list();
        for nth in 0..3 {
            recreations.list(&mk_pod(&format!("uid-{nth}"), &format!("db-{nth}")), now);
        }
        recreations.end_list();
    }
    assert_eq!(recreations.living.len(), 3);
    assert_eq!(recreations.recreated(20), []);
    // Pods from before the first list count from their successor on.
    assert!(!recreations.remove(&mk_pod("uid-0", "db-0"), 21));
    assert!(!recreations.add(&mk_pod("next", "db-0"), 22));
}

#[test]
fn owner_is_reported_once() {
    let mut recreations = Recreations::default();
    let mut now = 1_000;
    for nth in 0..=THRESHOLD + 1 {
        for stem in ["db-0", "db-1"] {
            let pod = mk_pod(&format!("{stem}-{nth}"), stem);
            recreations.add(&pod, now);
            if stem == "db-1" || nth < THRESHOLD {
                recreations.remove(&pod, now + 5);
            }
        }
        now += 10;
    }
    let found = recreations.recreated(now);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].stem, "db-1");
}

#[test]
fn owners_that_compare_no_images_are_no_candidates() {
    for (api_version, kind) in [
        ("batch/v1", "Job"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "DaemonSet"),
        ("v1", "ReplicationController"),
        ("v1", "Node"),
    ] {
        assert!(!OwnedPod::is_candidate(api_version, kind), "{kind}");
    }
    for (api_version, kind) in [
        ("apps/v1", "StatefulSet"),
        ("postgresql.cnpg.io/v1", "Cluster"),
        ("example.org/v1", "Job"),
    ] {
        assert!(OwnedPod::is_candidate(api_version, kind), "{kind}");
    }
}
