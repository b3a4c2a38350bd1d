use proptest::{collection::btree_map, prelude::*};

use super::{
    super::inventory::ClusterSource::{ClusterApi, Kubeconfig},
    *,
};

const WAVES: WaveSettings = WaveSettings { has_canary: true, size: 2 };

fn key(name: &str) -> ClusterKey {
    ClusterKey { namespace: "fleet".into(), source: ClusterApi, name: name.into() }
}

fn clusters(all: &[(&str, bool, ClusterProgress)]) -> BTreeMap<ClusterKey, WaveCluster> {
    let cluster = |(name, is_canary, progress): &(&str, bool, ClusterProgress)| {
        (key(name), WaveCluster { is_canary: *is_canary, progress: progress.clone() })
    };
    all.iter().map(cluster).collect()
}

fn next(state: &DeclarationWaves, all: &[(&str, bool, ClusterProgress)]) -> WaveDecision<u64> {
    decide(WAVES, WaveOrder::Continue, &7, state, &clusters(all))
}

fn admitted<T>(decision: &WaveDecision<T>) -> Vec<&str> {
    decision.state.admitted.iter().map(|it| it.trim_start_matches("fleet/")).collect()
}

#[test]
fn canaries_precede_waves_of_the_size() {
    use ClusterProgress::{Applied, Pending, Verified};
    let start = [("a", false, Pending), ("b", false, Pending), ("c", false, Pending)];
    let first = next(&DeclarationWaves::default(), &[&start[..], &[("z", true, Pending)]].concat());
    assert_eq!(admitted(&first), ["z"]);
    assert_eq!(first.summary, "waits for fleet/z");
    assert_eq!(first.reason, "waits for the canary clusters");
    let waiting = next(&first.state, &[&start[..], &[("z", true, Applied)]].concat());
    assert_eq!(admitted(&waiting), ["z"], "a pull has to be verified");
    let second = next(&waiting.state, &[&start[..], &[("z", true, Verified)]].concat());
    assert_eq!(admitted(&second), ["a", "b", "z"]);
    let all = [("a", false, Verified), ("b", false, Pending), ("c", false, Pending)];
    let third = next(&second.state, &[&all[..], &[("z", true, Verified)]].concat());
    assert_eq!(admitted(&third), ["a", "b", "z"], "b is not verified");
    // The reports of clusters that wait do not change with each cluster.
    assert_eq!([&second.reason, &third.reason], ["waits for an earlier wave"; 2]);
    assert_ne!(second.summary, third.summary);
    let all = [("a", false, Verified), ("b", false, Verified), ("c", false, Pending)];
    let last = next(&third.state, &[&all[..], &[("z", true, Verified)]].concat());
    assert_eq!(admitted(&last), ["a", "b", "c", "z"]);
    let all = ["a", "b", "c", "z"].map(|it| (it, it == "z", Verified));
    assert_eq!(next(&last.state, &all).summary, "");
}

#[test]
fn cluster_without_a_target_has_no_former_one() {
    use ClusterProgress::{Outside, Pending, Verified};
    let stored = BundleWaves {
        target: "old".into(),
        admitted: ["fleet/a".into(), "fleet/b".into()].into(),
        former: [("fleet/c".into(), String::new())].into(),
        ..BundleWaves::default()
    };
    for stored in [stored.clone(), BundleWaves { is_open: true, ..stored }] {
        let all = clusters(&[("a", false, Pending), ("b", false, Outside), ("c", true, Verified)]);
        let decision = decide(WAVES, WaveOrder::Continue, &"new".to_owned(), &stored, &all);
        let mut state = decision.state;
        state.retain_former(&stored, |name| name == "fleet/a");
        assert!(!state.former.contains_key("fleet/b"), "{state:?}");
        assert!(!state.admits(&key("b")) && state.admits(&key("c")));
    }
}

#[test]
fn unreachable_cluster_blocks_no_wave() {
    use ClusterProgress::{Pending, Unreachable, Verified};
    let first =
        next(&DeclarationWaves::default(), &[("a", true, Unreachable), ("b", false, Pending)]);
    assert_eq!(admitted(&first), ["b"]);
    let away = next(&first.state, &[("b", false, Unreachable), ("c", false, Pending)]);
    assert_eq!(admitted(&away), ["b", "c"], "a member that went away is not awaited");
    let back = next(
        &away.state,
        &[("a", true, Pending), ("b", false, Unreachable), ("c", false, Verified)],
    );
    assert_eq!(admitted(&back), ["a", "b", "c"]);
}

#[test]
fn restart_begins_no_wave_before_the_last_one_is_known() {
    use ClusterProgress::{Pending, Unknown, Unreachable, Verified};
    let first = next(&DeclarationWaves::default(), &[("a", true, Unknown), ("b", false, Pending)]);
    assert!(admitted(&first).is_empty(), "a may be reachable");
    assert_eq!(first.summary, "waits for fleet/a");
    let away = next(&first.state, &[("a", true, Unreachable), ("b", false, Pending)]);
    assert_eq!(admitted(&away), ["b"]);
    let unknown = [("b", false, Unknown), ("c", false, Pending)];
    let restarted = next(&away.state, &unknown);
    assert_eq!(admitted(&restarted), ["b"]);
    let known = next(&restarted.state, &[("b", false, Verified), ("c", false, Pending)]);
    assert_eq!(admitted(&known), ["b", "c"]);
}

#[test]
fn failed_cluster_stops_rollout_until_resumed() {
    use ClusterProgress::{Failed, Pending, Verified};
    let first = next(&DeclarationWaves::default(), &[("a", true, Pending), ("b", false, Pending)]);
    let failed = [("a", true, Failed("no pull".into())), ("b", false, Pending)];
    let stopped = next(&first.state, &failed);
    assert_eq!(stopped.summary, "stopped: fleet/a: no pull");
    let mended = [("a", true, Pending), ("b", false, Pending)];
    let still = next(&stopped.state, &mended);
    assert_eq!((admitted(&still), &still.state), (vec!["a"], &stopped.state));
    let resumed = next(&still.state.resumed(), &mended);
    assert_eq!(admitted(&resumed), ["a"]);
    let last = next(&resumed.state, &[("a", true, Verified), ("b", false, Pending)]);
    assert_eq!(admitted(&last), ["a", "b"]);
}

#[test]
fn failure_outside_the_open_wave_stops_nothing() {
    use ClusterProgress::{Failed, Pending, Verified};
    let conflict = || Failed("conflict".into());
    let first = next(&DeclarationWaves::default(), &[("a", true, Pending), ("b", false, Pending)]);
    let second = next(&first.state, &[("a", true, Verified), ("b", false, Pending)]);
    assert_eq!(admitted(&second), ["a", "b"]);
    // The wave of b is open.
    let third = next(&second.state, &[("a", true, conflict()), ("b", false, Pending)]);
    assert_eq!(third.summary, "waits for fleet/b");
    let ended = next(&third.state, &[("a", true, conflict()), ("b", false, Verified)]);
    assert_eq!((&*ended.summary, ended.state.wave.len()), ("", 0));
    // Weeks later another writer holds a field, and a new cluster arrives.
    let late = [("a", true, Verified), ("b", false, conflict()), ("c", false, Pending)];
    let joined = next(&ended.state, &late);
    assert_eq!((admitted(&joined), &joined.state.failed), (vec!["a", "b", "c"], &None));
    let late = [("a", true, Verified), ("b", false, conflict()), ("c", false, conflict())];
    assert_eq!(next(&joined.state, &late).summary, "stopped: fleet/c: conflict");
}

#[test]
fn without_waves_all_clusters_are_admitted() {
    let all = clusters(&[("a", false, ClusterProgress::Pending)]);
    let off = WaveSettings::default();
    let open = decide(off, WaveOrder::Continue, &7, &DeclarationWaves::default(), &all).state;
    assert!(open.admits(&key("a")) && open.admits(&key("later")));
    let on = decide(WAVES, WaveOrder::Pause, &7, &open, &all).state;
    assert!(!on.admits(&key("a")));
}

#[test]
fn waiting_cluster_keeps_its_last_declaration() {
    use ClusterProgress::{Failed, Pending, Verified};
    let decide_on = |wanted, state: &DeclarationWaves, a, b| {
        let all = clusters(&[("a", true, a), ("b", false, b)]);
        decide(WAVES, WaveOrder::Continue, &wanted, state, &all).state
    };
    let former =
        |state: &DeclarationWaves| ["a", "b"].map(|name| state.former(&key(name)).copied());
    let first = decide_on(6, &DeclarationWaves::default(), Verified, Verified);
    assert_eq!(former(&first), [None, None]);
    let second = decide_on(7, &first, Pending, Pending);
    assert_eq!(former(&second), [None, Some(6)], "a is admitted");
    let stopped = decide_on(7, &second, Failed("no pull".into()), Pending);
    // The declaration 7 never reached b.
    let third = decide_on(8, &stopped, Pending, Pending);
    assert_eq!(former(&third), [None, Some(6)]);
    let stopped = decide_on(8, &third, Failed("no pull".into()), Pending);
    assert_eq!(former(&stopped.clone().resumed()), [Some(8), Some(6)]);
    // A cluster that does not count for a while, such as a paused one.
    let one = clusters(&[("b", false, Pending)]);
    let paused = decide(WAVES, WaveOrder::Pause, &8, &third, &one).state;
    assert_eq!(former(&paused), [Some(8), Some(6)]);
    let last = decide_on(8, &third, Verified, Pending);
    assert_eq!(former(&last), [None, None]);
    // Another release begins with lower numbers.
    assert_eq!(former(&decide_on(1, &third, Pending, Pending)), [None, None]);
    // Without waves every cluster is admitted.
    let open = decide(WaveSettings::default(), WaveOrder::Continue, &8, &third, &one).state;
    assert_eq!(former(&decide_on(9, &open, Pending, Pending)), [None, Some(8)]);
}

#[test]
fn next_declaration_begins_again() {
    use ClusterProgress::Pending;
    let stopped = DeclarationWaves {
        target: 6,
        admitted: ["fleet/b".to_owned()].into(),
        failed: Some(FailedWave::default()),
        ..DeclarationWaves::default()
    };
    let first = next(&stopped, &[("a", true, Pending), ("b", false, Pending)]);
    assert_eq!(admitted(&first), ["a"]);
    let paused =
        decide(WAVES, WaveOrder::Pause, &8, &first.state, &clusters(&[("a", true, Pending)]));
    assert_eq!(paused.summary, "paused before fleet/a");
    assert!(admitted(&paused).is_empty());
}

#[test]
fn state_keeps_names_of_its_fields() {
    let state = DeclarationWaves {
        target: 3,
        is_open: true,
        admitted: ["a/b".to_owned()].into(),
        former: [("a/c".to_owned(), 2)].into(),
        wave: ["a/b".to_owned()].into(),
        failed: Some(FailedWave { cluster: "a/b".into(), reason: "c".into() }),
    };
    let text = r#"{"revision":3,"isOpen":true,"admitted":["a/b"],"former":{"a/c":2},"wave":["a/b"],"failed":{"cluster":"a/b","reason":"c"}}"#;
    assert_eq!(serde_json::to_string(&state).unwrap(), text);
    assert_eq!(serde_json::from_str::<DeclarationWaves>(text).unwrap(), state);
}

/// Returns the decision on the bundle `wanted`.
fn next_bundle(
    wanted: &str,
    state: &BundleWaves,
    all: &[(&str, bool, ClusterProgress)],
) -> WaveDecision<String> {
    decide(WAVES, WaveOrder::Continue, &wanted.to_owned(), state, &clusters(all))
}

#[test]
fn bundles_are_rolled_out_in_waves() {
    use ClusterProgress::{Failed, Pending, Verified};
    let open = WaveSettings::default();
    let none = BundleWaves::default();
    let one = decide(open, WaveOrder::Continue, &"b".to_owned(), &none, &clusters(&[])).state;
    assert_eq!(serde_json::to_value(&one).unwrap()["revision"], "b");
    // A hash that is less than the former one is no bundle of another release.
    let both = [("a", true, Pending), ("b", false, Pending)];
    let first = next_bundle("a", &one, &both);
    assert_eq!((admitted(&first), &*first.summary), (vec!["a"], "bundle: waits for fleet/a"));
    assert_eq!(first.state.former(&key("b")).map(String::as_str), Some(""));
    let failed = [("a", true, Failed("crash".into())), ("b", false, Pending)];
    let stopped = next_bundle("a", &first.state, &failed);
    assert_eq!(stopped.summary, "bundle: stopped: fleet/a: crash");
    // The administrator returns to the former bundle, which the others have.
    let back = next_bundle("b", &stopped.state, &[("a", true, Pending), ("b", false, Verified)]);
    assert_eq!(admitted(&back), ["a", "b"]);
    assert_eq!(back.state.failed, None);
}

#[test]
fn new_cluster_joins_after_the_rollout() {
    use ClusterProgress::{Failed, Outside, Pending, Unknown, Unreachable, Verified};
    let begun =
        next_bundle("b", &BundleWaves::default(), &[("c", true, Outside), ("d", false, Outside)]);
    assert_eq!((admitted(&begun), &*begun.summary), (vec!["c", "d"], ""), "an installation");
    let again = next_bundle("b", &begun.state, &[("c", true, Pending), ("d", false, Outside)]);
    assert_eq!(again.state, begun.state, "c has received its declaration");

    let with = |state: &BundleWaves, a, b| {
        next_bundle("b", state, &[("a", true, a), ("b", false, b), ("c", false, Outside)])
    };
    let none = BundleWaves::default();
    let first = with(&none, Pending, Unknown);
    assert_eq!(admitted(&first), ["a"]);
    assert_eq!(admitted(&with(&first.state, Failed("crash".into()), Unknown)), ["a"]);
    let unknown = with(&first.state, Verified, Unknown);
    assert_eq!((admitted(&unknown), &*unknown.summary), (vec!["a"], "bundle: waits for fleet/b"));
    let last = with(&unknown.state, Verified, Pending);
    assert_eq!(admitted(&last), ["a", "b"]);
    assert_eq!(admitted(&with(&last.state, Verified, Pending)), ["a", "b"]);
    assert_eq!(admitted(&with(&last.state, Verified, Verified)), ["a", "b", "c"]);
    assert_eq!(admitted(&with(&unknown.state, Verified, Unreachable)), ["a", "c"]);
    let paused = clusters(&[("c", false, Outside)]);
    let paused = decide(WAVES, WaveOrder::Pause, &"b".to_owned(), &none, &paused);
    assert_eq!(paused.summary, "bundle: paused before fleet/c");
}

#[test]
fn only_a_stopped_rollout_is_resumed() {
    let wave = BTreeSet::from(["fleet/a".to_owned()]);
    let state = BundleWaves { wave: wave.clone(), admitted: wave, ..BundleWaves::default() };
    assert_eq!(state.clone().resumed(), state);
}

fn progress() -> impl Strategy<Value = ClusterProgress> {
    prop_oneof![
        Just(ClusterProgress::Unknown),
        Just(ClusterProgress::Unreachable),
        Just(ClusterProgress::Pending),
        Just(ClusterProgress::Applied),
        Just(ClusterProgress::Verified),
        Just(ClusterProgress::Failed("failed".to_owned())),
    ]
}

fn fleet() -> impl Strategy<Value = BTreeMap<ClusterKey, WaveCluster>> {
    let keys = (0..12_u8, any::<bool>()).prop_map(|(number, imported)| ClusterKey {
        namespace: "fleet".into(),
        source: if imported { Kubeconfig } else { ClusterApi },
        name: format!("c{number}"),
    });
    let cluster = (any::<bool>(), progress());
    let cluster = cluster.prop_map(|(is_canary, progress)| WaveCluster { is_canary, progress });
    btree_map(keys, cluster, 0..16)
}

proptest! {
    // A decision admits at most as many clusters as a wave has, and none after a failure.
    #[test]
    fn waves_stay_within_their_size(steps in proptest::collection::vec(fleet(), 1..12)) {
        let settings = WaveSettings { has_canary: false, size: 2 };
        let mut state = DeclarationWaves::default();
        for clusters in &steps {
            let before = state.admitted.clone();
            let decision = decide(settings, WaveOrder::Continue, &1, &state, clusters);
            state = decision.state;
            prop_assert!(!state.former.keys().any(|it| state.admitted.contains(it)));
            let is_new = |(key, it): &(&ClusterKey, &WaveCluster)| {
                it.progress != ClusterProgress::Verified
                    && state.admits(key)
                    && !before.contains(&key.to_string())
            };
            prop_assert!(clusters.iter().filter(is_new).count() <= 2);
            if state.failed.is_some() {
                prop_assert!(clusters.iter().filter(is_new).count() == 0);
            }
            let is_failed = |it: &WaveCluster| matches!(it.progress, ClusterProgress::Failed(_));
            if !clusters.values().any(is_failed) {
                let again = decide(settings, WaveOrder::Continue, &1, &state, clusters);
                prop_assert_eq!(&again.state, &state, "a second decision changes nothing");
            }
        }
    }

    // Without a failure every reachable cluster is admitted in the end.
    #[test]
    fn healthy_clusters_are_all_admitted(mut clusters in fleet()) {
        for cluster in clusters.values_mut() {
            if !matches!(cluster.progress, ClusterProgress::Unreachable) {
                cluster.progress = ClusterProgress::Pending;
            }
        }
        let mut state = DeclarationWaves::default();
        for _ in 0..=clusters.len() {
            state = decide(WAVES, WaveOrder::Continue, &1, &state, &clusters).state;
            for (key, cluster) in &mut clusters {
                if state.admits(key) && cluster.progress == ClusterProgress::Pending {
                    cluster.progress = ClusterProgress::Verified;
                }
            }
        }
        for (key, cluster) in &clusters {
            let is_away = cluster.progress == ClusterProgress::Unreachable;
            prop_assert!(is_away || state.admits(key), "{key:?}");
        }
    }
}
