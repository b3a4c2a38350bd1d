//! Properties of any objects, selectors and identities.

use std::collections::BTreeMap;

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
};

use super::*;
use crate::fleet::inventory::{
    ClusterKey, ClusterSource, cluster_api, cluster_profile, labelled,
    selector::LabelSelector,
    standing::{KnownIdentity, Standing, standings},
};

/// Returns values with the names that the readers look for, at any place.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        select(vec!["True", "a", "tokens", "ControlPlaneInitialized", "https://a", ""])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        let key = select(vec![
            "metadata",
            "annotations",
            "labels",
            "name",
            "namespace",
            "uid",
            "spec",
            "paused",
            "status",
            "conditions",
            "type",
            "accessProviders",
            "cluster",
            "server",
            "extensions",
            "extension",
            "initialization",
            "deprecated",
            "image-swap.io/fleet",
            "image-swap.io/fleet-cluster",
        ]);
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(key, inner, 0..5).prop_map(|map| {
                Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

fn keys() -> impl Strategy<Value = ClusterKey> {
    let sources = [
        ClusterSource::ClusterApi,
        ClusterSource::ClusterProfile,
        ClusterSource::Kubeconfig,
        ClusterSource::Pull,
    ];
    (select(vec!["n", "m"]), select(sources.to_vec()), select(vec!["a", "b", "c"])).prop_map(
        |(namespace, source, name)| ClusterKey {
            namespace: namespace.to_owned(),
            source,
            name: name.to_owned(),
        },
    )
}

/// Returns true if the cluster itself names its identity.
fn is_claimed(key: &ClusterKey) -> bool {
    key.source == ClusterSource::Pull
}

fn identities() -> impl Strategy<Value = BTreeMap<ClusterKey, KnownIdentity>> {
    let identity = (select(vec!["1", "2"]), 0..4_u64)
        .prop_map(|(uid, since)| KnownIdentity { uid: uid.to_owned(), since });
    btree_map(keys(), identity, 0..8)
}

proptest! {
    #[test]
    fn any_object_is_read_or_skipped(mut value in values(), whole in any::<bool>()) {
        if whole {
            merge(&mut value, json!({ "metadata": { "namespace": "n", "name": "a", "uid": "1" } }));
        }
        let found = [
            cluster_api::found(&value),
            cluster_profile::found(&value, &providers()),
            labelled::found(&value, &LabelSelector::default()),
        ];
        prop_assert!(!whole || found[..2].iter().all(Option::is_some));
    }

    #[test]
    fn one_entry_of_each_cluster_is_in_force(known in identities()) {
        let standings = standings(&known);
        prop_assert_eq!(standings.len(), known.len());
        for (key, standing) in &standings {
            let of = |key: &ClusterKey| (is_claimed(key), known[key].since, key.clone());
            match standing {
                Standing::DuplicateOf(first) => {
                    prop_assert_eq!(&known[first].uid, &known[key].uid);
                    prop_assert!(of(first) < of(key));
                    let reported = matches!(
                        &standings[first],
                        Standing::InForce { duplicates } if duplicates.contains(key)
                    );
                    prop_assert!(reported);
                }
                Standing::InForce { duplicates } => {
                    let same = known.values().filter(|it| it.uid == known[key].uid).count();
                    prop_assert_eq!(duplicates.len() + 1, same);
                }
            }
        }
    }

    #[test]
    fn newer_entry_never_replaces_another(known in identities(), key in keys(), uid in "[12]") {
        let mut more = known.clone();
        more.entry(key.clone()).or_insert(KnownIdentity { uid, since: 9 });
        let (before, after) = (standings(&known), standings(&more));
        for (known, standing) in before {
            let is_in_force = |it: &Standing| matches!(it, Standing::InForce { .. });
            // An identity that was read replaces a claimed one.
            if is_claimed(&key) || !is_claimed(&known) {
                prop_assert_eq!(is_in_force(&standing), is_in_force(&after[&known]));
            }
        }
    }

    #[test]
    fn any_selector_is_parsed_or_refused(text in "[a-z!=,() /.-]{0,24}") {
        if let Ok(selector) = text.parse::<LabelSelector>() {
            prop_assert_eq!(selector.to_string().parse(), Ok(selector));
        }
    }
}

#[test]
fn selectors_match_as_those_of_kubectl() {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let prod = labels(&[("env", "prod"), ("example.org/tier", "")]);
    for (selector, expected) in [
        ("", true),
        ("env=prod", true),
        ("env==prod", true),
        ("env = prod , example.org/tier", true),
        ("env!=prod", false),
        ("region!=eu", true),
        ("env in (test, prod)", true),
        ("env notin (test,prod)", false),
        ("region notin (eu)", true),
        ("example.org/tier=", true),
        ("!region", true),
        ("!env", false),
        ("region", false),
        ("env=prod,region=eu", false),
    ] {
        assert_eq!(
            selector.parse::<LabelSelector>().unwrap().matches(&prod),
            expected,
            "{selector}"
        );
    }
    for invalid in
        [",", "a,", "=a", "a=b=c", "a in b", "a in (b", "a on (b)", "a b", "-a", "a/b/c", "a=ä"]
    {
        assert!(invalid.parse::<LabelSelector>().is_err(), "{invalid}");
    }
}
