use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::control::policy::FailurePolicy;

fn settings() -> Settings {
    Settings {
        name: "image-swap-admission".into(),
        release: "image-swap".into(),
        owner: Anchor { name: "image-swap".into(), uid: "u-1".into() },
        service: Service { namespace: "ns".into(), name: "image-swap-admission".into(), port: 443 },
        ca_bundle: "PEM".into(),
        policy: FailurePolicy::Fail,
        timeout_seconds: 5,
        system_namespaces: vec!["kube-system".into(), "calico-system".into()],
        opt_in: false,
        namespace_label: "k8s.twr.io/imageswap".into(),
        template_namespaces: Vec::new(),
    }
}

fn registered(settings: &Settings) -> Value {
    plan(&desired(settings), None).unwrap()
}

fn entry<'v>(object: &'v mut Value, name: &str) -> &'v mut Value {
    let entries = object["webhooks"].as_array_mut().unwrap();
    entries.iter_mut().find(|it| it["name"] == name).unwrap()
}

#[test]
fn registered_configuration_needs_no_repair() {
    let settings = settings();
    let mut object = registered(&settings);
    assert_eq!(plan(&desired(&settings), Some(&object)), None);
    // Fields that the API server sets need no repair.
    object["metadata"]["generation"] = 3.into();
    object["webhooks"][0]["invented"] = "later".into();
    assert_eq!(plan(&desired(&settings), Some(&object)), None);
}

// guarantee: 4a
#[test]
fn only_ordinary_pods_get_the_policy() {
    for (policy, expected) in [(FailurePolicy::Fail, "Fail"), (FailurePolicy::Ignore, "Ignore")] {
        let mut object = registered(&Settings { policy, ..settings() });
        assert_eq!(entry(&mut object, "pods.image-swap.io")["failurePolicy"], expected);
        assert_eq!(earned(Some(&object)), policy);
        for name in ["system.image-swap.io", "updates.image-swap.io"] {
            assert_eq!(entry(&mut object, name)["failurePolicy"], "Ignore");
        }
        assert_eq!(entry(&mut object, "probe.image-swap.io")["failurePolicy"], "Fail");
    }
}

// guarantee: 4a
#[test]
fn ordinary_pods_are_those_outside_the_system() {
    let mut object = registered(&settings());
    let system =
        entry(&mut object, "system.image-swap.io")["matchConditions"][0]["expression"].clone();
    let system = system.as_str().unwrap();
    assert!(system.starts_with(r#"request.namespace in ["kube-system","calico-system"] || "#));
    let ordinary = &entry(&mut object, "pods.image-swap.io")["matchConditions"][0]["expression"];
    assert_eq!(ordinary, &json!(format!("!({system})")));
}

#[test]
fn system_namespaces_of_chart_and_program_are_equal() {
    let values = include_str!("../../../../../charts/image-swap/values.yaml");
    let list = values.split("\nsystemNamespaces:\n").nth(1).unwrap();
    let listed = list.lines().map_while(|line| line.strip_prefix("  - "));
    // The chart adds this namespace itself.
    let names: Vec<&str> = std::iter::once("kube-system").chain(listed).collect();
    assert_eq!(names, SYSTEM_NAMESPACES);
}

// guarantee: 4a
#[test]
fn pods_of_image_swap_match_no_entry() {
    let mut object = registered(&settings());
    let expected =
        json!({ "key": "image-swap.io/exempt", "operator": "NotIn", "values": ["true"] });
    for name in ["pods.image-swap.io", "system.image-swap.io", "updates.image-swap.io"] {
        let objects = &entry(&mut object, name)["objectSelector"]["matchExpressions"];
        assert_eq!(objects, &json!([expected]));
    }
}

#[test]
fn every_kind_of_drift_is_repaired() {
    type Drift = fn(&mut Value);
    let drifts: [(&str, Drift); 8] = [
        ("the authority", |it| it["webhooks"][0]["clientConfig"]["caBundle"] = "AAAA".into()),
        ("the service", |it| it["webhooks"][0]["clientConfig"]["service"]["port"] = 444.into()),
        ("the rules", |it| it["webhooks"][0]["rules"][0]["operations"] = json!(["DELETE"])),
        ("the policy", |it| it["webhooks"][0]["failurePolicy"] = "Ignore".into()),
        ("the conditions", |it| it["webhooks"][0]["matchConditions"] = json!([])),
        ("own expression", |it| it["webhooks"][0]["objectSelector"] = json!({})),
        ("an entry", |it| drop(it["webhooks"].as_array_mut().unwrap().remove(1))),
        ("the owner", |it| it["metadata"]["ownerReferences"] = json!([])),
    ];
    let desired = desired(&settings());
    for (field, drift) in drifts {
        let mut object = plan(&desired, None).unwrap();
        drift(&mut object);
        let repaired = plan(&desired, Some(&object)).unwrap_or_else(|| panic!("{field} differs"));
        assert_eq!(repaired, plan(&desired, None).unwrap(), "{field}");
    }
}

#[test]
fn expressions_of_providers_stay() {
    let aks = json!({ "key": "control-plane", "operator": "DoesNotExist" });
    let desired = desired(&settings());
    let mut object = plan(&desired, None).unwrap();
    for webhook in object["webhooks"].as_array_mut().unwrap() {
        let selector = &mut webhook["namespaceSelector"];
        if selector["matchExpressions"].is_array() {
            selector["matchExpressions"].as_array_mut().unwrap().insert(0, aks.clone());
        } else {
            selector["matchExpressions"] = json!([aks]);
        }
    }
    assert_eq!(plan(&desired, Some(&object)), None, "no own field differs");
    object["webhooks"][0]["failurePolicy"] = "Ignore".into();
    let repaired = plan(&desired, Some(&object)).unwrap();
    assert_eq!(repaired["webhooks"][0]["namespaceSelector"]["matchExpressions"][0], aks);
}

#[test]
fn undesired_own_expression_is_removed() {
    let before = Settings { namespace_label: "team.example.org/swap".into(), ..settings() };
    let after = settings();
    let repaired = plan(&desired(&after), Some(&registered(&before))).unwrap();
    assert_eq!(repaired["webhooks"], registered(&after)["webhooks"]);
}

#[test]
fn foreign_entries_stay_and_old_ones_go() {
    let mut object = registered(&settings());
    let entries = object["webhooks"].as_array_mut().unwrap();
    entries.push(json!({ "name": "other.example.org" }));
    entries.push(json!({ "name": "old.image-swap.io" }));
    let repaired = plan(&desired(&settings()), Some(&object)).unwrap();
    let names: Vec<&str> = repaired["webhooks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"other.example.org") && !names.contains(&"old.image-swap.io"),
        "{names:?}"
    );
}

proptest! {
    /// Repairs in one step any configuration that image-swap wrote with other settings.
    #[test]
    fn one_repair_is_enough(
        flags in prop::array::uniform4(any::<bool>()),
        namespaces in prop::collection::vec("[a-c]", 0..3),
    ) {
        let make = |flags: &[bool], namespaces: &[String]| Settings {
            opt_in: flags[0],
            policy: if flags[1] { FailurePolicy::Fail } else { FailurePolicy::Ignore },
            system_namespaces: namespaces.to_vec(),
            ..settings()
        };
        let before = registered(&make(&flags[..2], &namespaces));
        let wanted = desired(&make(&flags[2..], &namespaces[namespaces.len() / 2..]));
        let after = plan(&wanted, Some(&before)).unwrap_or(before);
        prop_assert_eq!(plan(&wanted, Some(&after)), None);
        prop_assert_eq!(&after["webhooks"], &plan(&wanted, None).unwrap()["webhooks"]);
    }
}
