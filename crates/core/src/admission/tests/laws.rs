//! Properties of admission, over random pods.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::{
    Answer, Mode, RULES, admit_with, admit_with_settings, mk_pod, mk_review, pull_secret, review,
    rules, settings,
};
use crate::{labels, pull_secret::NAME};

/// Sends a request with every feature of admission enabled.
fn admit(operation: &str, pod: &Value, old: &Value) -> Answer {
    let settings = pull_secret::settings("d");
    admit_with_settings(&mk_review(operation, pod, old), &rules(RULES), &settings)
}

fn create(pod: &Value) -> Answer {
    admit("CREATE", pod, &Value::Null)
}

fn update(pod: &Value, old: &Value) -> Answer {
    admit("UPDATE", pod, old)
}

/// Generates any JSON value, for fields that image-swap does not know.
fn arb_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        arb_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((arb_text(), inner), 0..4)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Generates texts that are difficult to skip.
fn arb_text() -> impl Strategy<Value = String> {
    let parts =
        select(vec!["a", "\\", "\"", "{", "}", "[", "]", ",", ":", "é", "\n", "image", "😀"]);
    vec(parts, 0..12).prop_map(|parts| parts.concat())
}

fn arb_image() -> impl Strategy<Value = Value> {
    let images = select(vec![
        "nginx",
        "redis:7",
        "gcr.io/a/b:1",
        "quay.io/a/b",
        "h.example/d/library/nginx",
        "h.example/g/a/b:1",
        "old.example/x/nginx",
        "a/UPPER",
        "",
    ]);
    prop_oneof![9 => images.prop_map(Value::from), 1 => arb_value()]
}

fn arb_name() -> impl Strategy<Value = Value> {
    prop_oneof![9 => select(vec!["a", "b", "c", "volume:a"]).prop_map(Value::from), 1 => arb_value()]
}

/// Generates objects with unknown members around the known ones.
fn with_unknown(known: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let known: Vec<_> = known
        .into_iter()
        .map(|(key, value)| option::weighted(0.8, value).prop_map(move |v| v.map(|v| (key, v))))
        .collect();
    (known, vec((arb_text(), arb_value()), 0..3))
        .prop_map(|(known, unknown)| {
            let mut object = Map::from_iter(unknown);
            object.extend(known.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)));
            Value::Object(object)
        })
        .boxed()
}

fn arb_list(item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let item = prop_oneof![9 => item, 1 => arb_value()];
    prop_oneof![9 => vec(item, 0..4).prop_map(Value::from), 1 => arb_value()].boxed()
}

fn arb_container() -> BoxedStrategy<Value> {
    let policy = select(vec!["Always", "IfNotPresent", "Never"]).prop_map(Value::from);
    with_unknown(vec![
        ("name", arb_name().boxed()),
        ("image", arb_image().boxed()),
        ("imagePullPolicy", policy.boxed()),
    ])
}

fn arb_volume() -> BoxedStrategy<Value> {
    let image = with_unknown(vec![("reference", arb_image().boxed())]);
    with_unknown(vec![("name", arb_name().boxed()), ("image", image)])
}

fn arb_secret() -> BoxedStrategy<Value> {
    prop_oneof![
        9 => select(vec!["other", NAME]).prop_map(Value::from),
        1 => arb_value(),
    ]
    .boxed()
}

fn arb_annotations() -> BoxedStrategy<Value> {
    let record = vec((arb_name(), arb_image()), 0..4).prop_map(|entries| {
        let entries = entries.into_iter().filter_map(|(n, i)| Some((n.as_str()?.to_owned(), i)));
        Value::from(Value::Object(entries.collect()).to_string())
    });
    let record = prop_oneof![record, arb_value()].boxed();
    let annotations = with_unknown(vec![(labels::ORIGINAL_IMAGES, record)]);
    prop_oneof![8 => annotations, 1 => Just(json!({})), 1 => arb_value()].boxed()
}

fn arb_pod() -> BoxedStrategy<Value> {
    let metadata = with_unknown(vec![("annotations", arb_annotations())]);
    let spec = with_unknown(vec![
        ("containers", arb_list(arb_container())),
        ("initContainers", arb_list(arb_container())),
        ("ephemeralContainers", arb_list(arb_container())),
        ("volumes", arb_list(arb_volume())),
        ("imagePullSecrets", arb_list(with_unknown(vec![("name", arb_secret())]))),
    ]);
    with_unknown(vec![
        ("metadata", prop_oneof![9 => metadata, 1 => arb_value()].boxed()),
        ("spec", prop_oneof![9 => spec, 1 => arb_value()].boxed()),
    ])
}

/// Removes the parts that a patch may change: images, image-swap's pull Secret, and the record
/// with annotations or metadata that contain nothing else.
fn without_patched(pod: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(secrets) = spec.get_mut("imagePullSecrets").and_then(Value::as_array_mut) {
            secrets.retain(|it| it["name"] != NAME);
        }
        if spec.get("imagePullSecrets").is_some_and(|it| it.is_null() || *it == json!([])) {
            spec.remove("imagePullSecrets");
        }
    }
    for list in ["containers", "initContainers", "ephemeralContainers", "volumes"] {
        let items = pod.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            let path = if list == "volumes" { "/image/reference" } else { "/image" };
            if let Some(image @ Value::String(_)) = item.pointer_mut(path) {
                *image = json!("an image");
            }
        }
    }
    let is_nothing = |value: &Value| value.is_null() || *value == json!({});
    if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(labels::ORIGINAL_IMAGES);
        }
        if metadata.get("annotations").is_some_and(is_nothing) {
            metadata.remove("annotations");
        }
    }
    if pod.get("metadata").is_some_and(is_nothing) {
        pod.as_object_mut().unwrap().remove("metadata");
    }
    pod
}

/// Returns the images of a pod's volumes.
fn references(pod: &Value) -> Vec<Value> {
    let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let reference = |it: &Value| it.pointer("/image/reference").cloned().unwrap_or_default();
    volumes.into_iter().flatten().map(reference).collect()
}

/// Generates rules for some of the registries that the images come from.
fn arb_list_of_rules() -> impl Strategy<Value = String> {
    let target = select(vec!["", "h.example/d", "old.example/x", "new.example"]);
    vec(target, 2).prop_map(|targets| {
        let rules = ["docker.io", "gcr.io"].into_iter().zip(targets);
        let rules = rules.filter(|(_, target)| !target.is_empty());
        rules.map(|(host, target)| format!("{host}::{target}")).collect::<Vec<_>>().join(",")
    })
}

proptest! {
    // guarantee: 2b
    #[test]
    fn patch_changes_only_images_and_record(pod in arb_pod()) {
        prop_assert_eq!(without_patched(&create(&pod).object), without_patched(&pod));
    }

    // guarantee: 2a
    #[test]
    fn second_review_of_new_pod_patches_nothing(pod in arb_pod()) {
        prop_assert_eq!(create(&create(&pod).object).patch, [] as [Value; 0]);
    }

    // guarantee: 2b
    #[test]
    fn update_changes_only_images_and_record(new in arb_pod(), old in arb_pod()) {
        let answer = update(&new, &old);
        prop_assert_eq!(without_patched(&answer.object), without_patched(&new));
        // An image of a volume is unchanged, or becomes the stored one.
        let stored = references(&old);
        for (after, came) in references(&answer.object).iter().zip(references(&new)) {
            prop_assert!(*after == came || stored.contains(after), "{:?}", after);
        }
    }

    // guarantee: 2a
    #[test]
    fn second_review_of_update_patches_nothing(new in arb_pod(), old in arb_pod()) {
        prop_assert_eq!(update(&update(&new, &old).object, &old).patch, [] as [Value; 0]);
    }

    // guarantee: 2c
    #[test]
    fn update_without_changes_gets_no_patch(pod in arb_pod(), metadata in arb_value()) {
        let mut new = pod.clone();
        new["metadata"] = metadata;
        prop_assert_eq!(update(&new, &pod).patch, [] as [Value; 0]);
    }

    // guarantee: 2c
    #[test]
    fn rule_change_and_repeated_apply_restart_nothing(
        images in vec(arb_image(), 1..5),
        before in arb_list_of_rules(),
        after in arb_list_of_rules(),
        is_replaced in any::<bool>(),
    ) {
        let images: Vec<_> = images.iter().map(|image| image.as_str().unwrap_or("nginx")).collect();
        let containers: Vec<_> = ["a", "b", "c", "d"].into_iter().zip(images).collect();
        let mut manifest = mk_pod(&containers);
        let volume = |(name, image): &(&str, &str)| {
            json!({"name": name, "image": {"reference": image}})
        };
        manifest["spec"]["volumes"] = containers.iter().map(volume).collect();
        let admit = |operation, new: &Value, old: &Value, list: &str| {
            let request = mk_review(operation, new, old);
            admit_with(&request, &rules(list), Mode::Enforce).object
        };
        let stored = admit("CREATE", &manifest, &Value::Null, &before);
        let mut applied = manifest;
        if !is_replaced {
            applied["metadata"] = stored["metadata"].clone();
        }
        let after = admit("UPDATE", &applied, &stored, &after);
        prop_assert_eq!(after, stored);
    }

    #[test]
    fn review_of_any_bytes_does_not_panic(body in vec(any::<u8>(), 0..300)) {
        let _ = review(&body, &rules(RULES), &settings(Mode::Enforce));
    }

    #[test]
    fn damaged_review_does_not_panic(
        pod in arb_pod(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let rules = rules(RULES);
        let mut body = mk_review("UPDATE", &pod, &pod).to_string().into_bytes();
        let truncated = &body[..cut.index(body.len())];
        prop_assert!(review(truncated, &rules, &settings(Mode::Enforce)).is_err());
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = review(&body, &rules, &settings(Mode::Enforce));
    }
}
