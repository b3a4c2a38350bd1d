//! Admission: any body is answered or refused, a patch changes images and their
//! record alone, and who is asked again has nothing to add.

use base64::{Engine, engine::general_purpose::STANDARD};
use image_swap_core::{
    admission::{ReviewError, Settings, review},
    labels,
    rule::{RuleSet, parse as text_of_rules},
};
use serde_json::{Map, Value, json};

use crate::{choices::Choices, map::written::Written};

/// Where a pod's images are: each list, and the path to the image in an item.
const LISTS: [(&str, &str); 4] = [
    ("containers", "/image"),
    ("initContainers", "/image"),
    ("ephemeralContainers", "/image"),
    ("volumes", "/image/reference"),
];

/// The laws of admission, for the review and the map that `data` makes.
///
/// # Panics
/// Where one does not hold.
pub fn admission(data: &[u8]) {
    let c = &mut Choices::new(data);
    let written = Written::new(c);
    let rules = RuleSet::new(text_of_rules::rules(&written.text, written.form).0);
    if c.one_in(4) {
        return any_body(c, &written, &rules);
    }
    let pod = pod(c, &written);
    let about = || format!("{pod} under {:?}", written.text);

    let stored = patched(&pod, &asked("CREATE", &pod, &Value::Null), &rules);
    assert_eq!(without_images(&stored), without_images(&pod), "{}", about());
    for (image, original) in images(&stored).iter().zip(images(&pod)) {
        let exempt = is_left_alone(&pod) || image.never_pulled || image.is_placeholder;
        let expected = match rules.swap(&original.text) {
            Ok(decision) if !exempt => decision.image.into_owned(),
            _ => original.text,
        };
        assert_eq!(image.text, expected, "{}", about());
    }
    let again = patched(&stored, &asked("CREATE", &stored, &Value::Null), &rules);
    assert_eq!(again, stored, "asked again: {}", about());
    let unchanged = patched(&stored, &asked("UPDATE", &stored, &stored), &rules);
    assert_eq!(unchanged, stored, "updated without a change: {}", about());
    // `kubectl apply` of the same manifest brings the originals back.
    let applied = pod.clone();
    let kept = patched(&applied, &asked("UPDATE", &applied, &stored), &rules);
    let text = |image: &Image| image.text.clone();
    let (kept, stored): (Vec<_>, Vec<_>) =
        (images(&kept).iter().map(text).collect(), images(&stored).iter().map(text).collect());
    assert_eq!(kept, stored, "applied again: {}", about());
    let stored = patched(&pod, &asked("CREATE", &pod, &Value::Null), &rules);
    change_without_review(c, &written, &rules, &pod, &stored);
    other_pod_and_rules(c, &written, &rules, &pod);
}

/// The first container of `stored` gets another image while no webhook reviews it, and
/// then the image of the manifest `pod` again: that is a change like any other.
fn change_without_review(
    c: &mut Choices<'_>,
    written: &Written,
    rules: &RuleSet,
    pod: &Value,
    stored: &Value,
) {
    let path = "/spec/containers/0/image";
    let (original, swapped) = (pod.pointer(path), stored.pointer(path));
    let unreviewed = Value::from(written.image(c));
    if original == swapped || [original, swapped].contains(&Some(&unreviewed)) {
        return;
    }
    let (mut old, mut new) = (stored.clone(), stored.clone());
    for (object, image) in [(&mut old, Some(&unreviewed)), (&mut new, original)] {
        if let (Some(place), Some(image)) = (object.pointer_mut(path), image) {
            place.clone_from(image);
        }
    }
    let after = patched(&new, &asked("UPDATE", &new, &old), rules);
    assert_eq!(after.pointer(path), swapped, "{original:?} over {unreviewed} in {old}");
}

/// Another pod, by other rules, in the place of one that is there.
fn other_pod_and_rules(c: &mut Choices<'_>, written: &Written, rules: &RuleSet, old: &Value) {
    let old = patched(old, &asked("CREATE", old, &Value::Null), rules);
    let new = self::pod(c, written);
    let other = Written::new(c);
    let rules = RuleSet::new(text_of_rules::rules(&other.text, other.form).0);
    let once = patched(&new, &asked("UPDATE", &new, &old), &rules);
    assert_eq!(without_images(&once), without_images(&new), "{new} over {old}");
    // An image of a volume is the new one, or the one that is stored.
    let stored = references(&old);
    for (after, came) in references(&once).iter().zip(references(&new)) {
        assert!(*after == came || stored.contains(after), "{new} over {old}");
    }
    let twice = patched(&once, &asked("UPDATE", &once, &old), &rules);
    assert_eq!(twice, once, "{new} over {old} under {:?}", other.text);
}

/// Returns the images of the pod's volumes.
fn references(pod: &Value) -> Vec<Value> {
    let volumes = pod["spec"]["volumes"].as_array();
    volumes.into_iter().flatten().map(|volume| volume["image"]["reference"].clone()).collect()
}

/// A body that may be anything.
fn any_body(c: &mut Choices<'_>, written: &Written, rules: &RuleSet) {
    let mut body = if c.one_in(4) {
        c.rest()
    } else {
        let old = if c.one_in(2) { pod(c, written) } else { Value::Null };
        let operation = c.of(&["CREATE", "UPDATE", "DELETE", "CONNECT", ""]);
        asked(operation, &pod(c, written), &old).to_string()
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

fn asked(operation: &str, object: &Value, old: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u\"1", "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "namespace": "n",
        "operation": operation, "object": object, "oldObject": old, "options": {"a": [null]}}})
}

/// What becomes of `object` when `review` is answered.
fn patched(object: &Value, asked: &Value, rules: &RuleSet) -> Value {
    let body = asked.to_string();
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

/// The response in an answer.
fn response(answer: &[u8], body: &str) -> Value {
    let text = String::from_utf8_lossy(answer);
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    assert_eq!(answer["response"]["allowed"], true, "{text} to {body:?}");
    answer["response"].clone()
}

/// An image, and whether its container says never to pull it.
struct Image {
    text: String,
    never_pulled: bool,
    /// True for an image that an injector replaces.
    is_placeholder: bool,
}

/// All images of a pod.
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

/// The pod with every image and their record taken out.
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
    // What was not there and what is empty without the record are the same.
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

fn is_left_alone(pod: &Value) -> bool {
    pod["metadata"]["labels"]["k8s.twr.io/imageswap"] == "disabled"
        || !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null()
        || is_exempt(pod)
}

/// Returns true for a pod of an operator on the built-in list.
fn is_exempt(pod: &Value) -> bool {
    pod["metadata"]["labels"]["application"] == "spilo"
        || pod["metadata"]["ownerReferences"][0]["kind"] == "CatalogSource"
}

fn pod(c: &mut Choices<'_>, written: &Written) -> Value {
    let mut spec = json!({"future": {"image": "nginx"}});
    for (list, _) in LISTS {
        if list == "containers" || c.one_in(4) {
            let items = (0..=c.below(3)).map(|nth| item(c, written, list, nth)).collect();
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

fn item(c: &mut Choices<'_>, written: &Written, list: &str, nth: usize) -> Value {
    let mut image = written.image(c);
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
