//! Properties of admission. Every body is answered or rejected; a patch changes only images and
//! their record; a second review of a patched pod changes nothing.

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::{
    admission::{ReviewError, Settings, review},
    labels,
    rule::{RuleSet, parse},
};
use serde_json::{Map, Value, json};

use crate::{choices::Choices, map::generated::GeneratedMap};

/// Lists of a pod with images, and the JSON Pointer of the image in an item.
const LISTS: [(&str, &str); 4] = [
    ("containers", "/image"),
    ("initContainers", "/image"),
    ("ephemeralContainers", "/image"),
    ("volumes", "/image/reference"),
];

/// Checks the properties of admission for a review and a map, both generated from `data`.
///
/// # Panics
/// Panics if a property does not hold.
pub fn admission(data: &[u8]) {
    let c = &mut Choices::new(data);
    let map = GeneratedMap::new(c);
    let rules = RuleSet::new(parse::rules(&map.text, map.form).0);
    if c.one_in(4) {
        return any_body(c, &map, &rules);
    }
    let pod = pod(c, &map);
    let about = || format!("{pod} under {:?}", map.text);

    let stored = patched(&pod, &review_of("CREATE", &pod, &Value::Null), &rules);
    assert_eq!(without_images(&stored), without_images(&pod), "{}", about());
    for (image, original) in images(&stored).iter().zip(images(&pod)) {
        let exempt = is_skipped(&pod) || image.never_pulled || image.is_placeholder;
        let expected = match rules.swap(&original.text) {
            Ok(decision) if !exempt => decision.image.into_owned(),
            _ => original.text,
        };
        assert_eq!(image.text, expected, "{}", about());
    }
    let again = patched(&stored, &review_of("CREATE", &stored, &Value::Null), &rules);
    assert_eq!(again, stored, "reviewed again: {}", about());
    let unchanged = patched(&stored, &review_of("UPDATE", &stored, &stored), &rules);
    assert_eq!(unchanged, stored, "updated without a change: {}", about());
    // `kubectl apply` of the same manifest restores the original images in the request.
    let applied = pod.clone();
    let kept = patched(&applied, &review_of("UPDATE", &applied, &stored), &rules);
    let text = |image: &Image| image.text.clone();
    let (kept, stored): (Vec<_>, Vec<_>) =
        (images(&kept).iter().map(text).collect(), images(&stored).iter().map(text).collect());
    assert_eq!(kept, stored, "applied again: {}", about());
    let stored = patched(&pod, &review_of("CREATE", &pod, &Value::Null), &rules);
    change_without_review(c, &map, &rules, &pod, &stored);
    other_pod_and_rules(c, &map, &rules, &pod);
}

/// Checks an update after a change that no webhook has reviewed.
///
/// The first container of `stored` got another image without a review. The update sets the image
/// of the manifest `pod`, which must be swapped like in any other change.
fn change_without_review(
    c: &mut Choices<'_>,
    map: &GeneratedMap,
    rules: &RuleSet,
    pod: &Value,
    stored: &Value,
) {
    let path = "/spec/containers/0/image";
    let (original, swapped) = (pod.pointer(path), stored.pointer(path));
    let unreviewed = Value::from(map.image(c));
    if original == swapped || [original, swapped].contains(&Some(&unreviewed)) {
        return;
    }
    let (mut old, mut new) = (stored.clone(), stored.clone());
    for (object, image) in [(&mut old, Some(&unreviewed)), (&mut new, original)] {
        if let (Some(place), Some(image)) = (object.pointer_mut(path), image) {
            place.clone_from(image);
        }
    }
    let after = patched(&new, &review_of("UPDATE", &new, &old), rules);
    assert_eq!(after.pointer(path), swapped, "{original:?} over {unreviewed} in {old}");
}

/// Checks the replacement of the pod `old` by another one, after a change of rules.
fn other_pod_and_rules(c: &mut Choices<'_>, map: &GeneratedMap, rules: &RuleSet, old: &Value) {
    let old = patched(old, &review_of("CREATE", old, &Value::Null), rules);
    let new = self::pod(c, map);
    let other = GeneratedMap::new(c);
    let rules = RuleSet::new(parse::rules(&other.text, other.form).0);
    let once = patched(&new, &review_of("UPDATE", &new, &old), &rules);
    assert_eq!(without_images(&once), without_images(&new), "{new} over {old}");
    // An image of a volume is that of the request, or the stored one.
    let stored = references(&old);
    for (after, requested) in references(&once).iter().zip(references(&new)) {
        assert!(*after == requested || stored.contains(after), "{new} over {old}");
    }
    let twice = patched(&once, &review_of("UPDATE", &once, &old), &rules);
    assert_eq!(twice, once, "{new} over {old} under {:?}", other.text);
}

/// Returns the images of the pod's volumes.
fn references(pod: &Value) -> Vec<Value> {
    let volumes = pod["spec"]["volumes"].as_array();
    volumes.into_iter().flatten().map(|volume| volume["image"]["reference"].clone()).collect()
}

/// Checks the answer to a body that may be invalid.
fn any_body(c: &mut Choices<'_>, map: &GeneratedMap, rules: &RuleSet) {
    let mut body = if c.one_in(4) {
        c.rest()
    } else {
        let old = if c.one_in(2) { pod(c, map) } else { Value::Null };
        let operation = c.of(&["CREATE", "UPDATE", "DELETE", "CONNECT", ""]);
        review_of(operation, &pod(c, map), &old).to_string()
    };
    c.damage(&mut body, &['"', '{', '}', '[', ']', ',', ':', '\\', 'u', '0', 'e', '-', ' ', 'ü']);
    match review(body.as_bytes(), rules, &Settings::default()) {
        Ok(reviewed) => {
            let answer = response(&reviewed.body, &body);
            let uid = answer["uid"].as_str().map(str::to_owned);
            assert_eq!(uid.as_deref(), Some(reviewed.subject.uid.as_ref()), "{body:?}");
            assert_eq!(answer["patch"].is_string(), reviewed.patched, "{body:?}");
        }
        Err(ReviewError::NotJson { error, .. }) => {
            assert!(serde_json::from_str::<Value>(&body).is_err(), "{error} in {body:?}");
        }
        Err(_) => {}
    }
}

/// Returns a review of a pod.
fn review_of(operation: &str, object: &Value, old: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u\"1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "n",
        "operation": operation, "object": object, "oldObject": old, "options": {"a": [null]}}})
}

/// Returns `object` with the patch in the answer to `request`, a review of it.
fn patched(object: &Value, request: &Value, rules: &RuleSet) -> Value {
    let body = request.to_string();
    let reviewed = review(body.as_bytes(), rules, &Settings::default());
    assert_eq!(reviewed.as_ref().err(), None, "{body}");
    let mut object = object.clone();
    let answer = reviewed.map(|reviewed| response(&reviewed.body, &body)).unwrap_or_default();
    if let Some(patch) = answer["patch"].as_str() {
        let patch =
            STANDARD.decode(patch).map(|patch| serde_json::from_slice::<json_patch::Patch>(&patch));
        let applied = match &patch {
            Ok(Ok(patch)) => json_patch::patch(&mut object, patch).is_ok(),
            _ => false,
        };
        assert!(applied, "{patch:?} of {body}");
    }
    object
}

/// Returns the field `response` of an answer, which must allow the request.
fn response(answer: &[u8], body: &str) -> Value {
    let text = String::from_utf8_lossy(answer);
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    assert_eq!(answer["response"]["allowed"], true, "{text} to {body:?}");
    answer["response"].clone()
}

/// An image of a pod.
struct Image {
    text: String,
    /// True if the pull policy of its container is `Never`.
    never_pulled: bool,
    /// True for an image that an injector replaces.
    is_placeholder: bool,
}

/// Returns all images of a pod.
fn images(pod: &Value) -> Vec<Image> {
    let mut images = Vec::new();
    for (list, path) in LISTS {
        for item in pod["spec"][list].as_array().into_iter().flatten() {
            if let Some(text) = item.pointer(path).and_then(Value::as_str) {
                let never_pulled = list != "volumes" && item["imagePullPolicy"] == "Never";
                let is_placeholder = text == "auto" && item["name"] == "istio-proxy";
                images.push(Image { text: text.to_owned(), never_pulled, is_placeholder });
            }
        }
    }
    images
}

/// Returns the pod without images and without their record.
fn without_images(pod: &Value) -> Value {
    let mut pod = pod.clone();
    for (list, path) in LISTS {
        let items = pod.pointer_mut(&["/spec/", list].concat()).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            if let Some(image) = item.pointer_mut(path).filter(|image| image.is_string()) {
                image.take();
            }
        }
    }
    // A missing object and one that is empty without the record are equal.
    for path in ["/metadata/annotations", "/metadata"] {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(node) = pod.pointer_mut(path).and_then(Value::as_object_mut) {
            node.remove(labels::ORIGINAL_IMAGES);
        }
        let is_empty = pod
            .pointer(path)
            .is_some_and(|node| node.is_null() || node.as_object().is_some_and(Map::is_empty));
        if let (true, Some(parent)) = (is_empty, pod.pointer_mut(parent)) {
            parent.as_object_mut().map(|parent| parent.remove(name));
        }
    }
    pod
}

/// Returns true if admission does not change the pod.
fn is_skipped(pod: &Value) -> bool {
    pod["metadata"]["labels"]["k8s.twr.io/imageswap"] == "disabled"
        || !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null()
        || is_exempt(pod)
}

/// Returns true for a pod of an operator on the built-in list.
fn is_exempt(pod: &Value) -> bool {
    pod["metadata"]["labels"]["application"] == "spilo"
        || pod["metadata"]["ownerReferences"][0]["kind"] == "CatalogSource"
}

/// Generates a pod.
fn pod(c: &mut Choices<'_>, map: &GeneratedMap) -> Value {
    let mut spec = json!({"future": {"image": "nginx"}});
    for (list, _) in LISTS {
        if list == "containers" || c.one_in(4) {
            let items = (0..=c.below(3)).map(|nth| item(c, map, list, nth)).collect();
            spec[list] = Value::Array(items);
        }
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": spec});
    if !c.one_in(8) {
        pod["metadata"] = json!({"name": "p"});
        if c.one_in(6) {
            pod["metadata"]["labels"] = json!({"k8s.twr.io/imageswap": c.of(&["disabled", "on"])});
        }
        if c.one_in(6) {
            let kind = c.of(&["CatalogSource", "Job"]);
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "operators.coreos.com/v1", "kind": kind, "uid": "u"}]);
        }
        if c.one_in(12) {
            pod["metadata"]["labels"]["application"] = json!(c.of(&["spilo", "shop"]));
        }
        if c.one_in(3) {
            pod["metadata"]["annotations"] = match c.below(4) {
                0 => json!({"a/b~c": "d"}),
                1 => Value::Null,
                2 => json!({}),
                _ => json!({"kubernetes.io/config.mirror": "hash"}),
            };
        }
    }
    pod
}

/// Generates a container or a volume, the one with the index `nth` in `list`.
fn item(c: &mut Choices<'_>, map: &GeneratedMap, list: &str, nth: usize) -> Value {
    let mut image = map.image(c);
    let mut name = format!("{list}\"{nth}");
    if c.one_in(16) {
        "auto".clone_into(&mut image);
    }
    if nth == 0 && c.one_in(8) && list == "containers" {
        "istio-proxy".clone_into(&mut name);
    }
    if list == "volumes" {
        return json!({"name": name, "image": {"reference": image, "pullPolicy": "Always"}});
    }
    let mut container = json!({"name": name, "image": image, "env": [{"value": 1.50}]});
    if c.one_in(6) {
        container["imagePullPolicy"] = json!(c.of(&["Never", "Always"]));
    }
    container
}
