//! Reviews of templates.

use json_patch::Patch;
use proptest::prelude::*;

use super::*;
use crate::render::cluster_api::{COMMANDS, SCRIPT_PATH, secret_entries};

/// Returns an object of `kind` with the label, whose lists are in `fields`.
fn object(kind: &MachineKind, fields: Value) -> Value {
    let inner = |value, key: &str| json!({ key: value });
    let mut object =
        kind.fields.split('/').skip(1).collect::<Vec<_>>().into_iter().rev().fold(fields, inner);
    object["metadata"] = json!({
        "name": "a",
        "namespace": "clusters",
        "labels": { "image-swap.io/bootstrap": "enabled" },
    });
    object
}

/// Returns the patched `object` of `request`, by the patch of its review.
fn reviewed(kind: &MachineKind, operation: &str, object: &Value, old: &Value) -> Value {
    let request = json!({
        "request": {
            "uid": "u",
            "operation": operation,
            "kind": { "group": kind.group, "version": "v1beta2", "kind": kind.name },
            "namespace": "clusters",
            "object": object,
            "oldObject": old,
        },
    });
    let namespaces = BTreeSet::from(["clusters".to_owned()]);
    let reviewed = review(request.to_string().as_bytes(), &namespaces).unwrap();
    let answer: Value = serde_json::from_slice(&reviewed.body).unwrap();
    assert_eq!(answer["response"]["uid"], "u");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(reviewed.patched, answer["response"]["patch"].is_string());
    let mut after = object.clone();
    if let Some(patch) = answer["response"]["patch"].as_str() {
        let patch: Patch = serde_json::from_slice(&base64::decode(patch).unwrap()).unwrap();
        json_patch::patch(&mut after, &patch).unwrap();
    }
    after
}

fn created(kind: &MachineKind, object: &Value) -> Value {
    reviewed(kind, "CREATE", object, &Value::Null)
}

fn kinds() -> [&'static MachineKind; 3] {
    [&MACHINE_KINDS[0], &MACHINE_KINDS[1], &MACHINE_KINDS[2]]
}

#[test]
fn new_templates_get_the_script_in_lists_that_exist_or_not() {
    let entries = secret_entries();
    let (file, command) = (&entries.files[0], entries.command.as_ref().unwrap());
    for kind in kinds() {
        let after = created(kind, &object(kind, json!({})));
        let fields = after.pointer(kind.fields).unwrap();
        assert_eq!(*fields, json!({ "files": [file], COMMANDS: [command] }));
        let own = json!({ "files": [{ "path": "/a" }], COMMANDS: ["a"], "other": [1] });
        let after = created(kind, &object(kind, own));
        let expected =
            json!({ "files": [{ "path": "/a" }, file], COMMANDS: [command, "a"], "other": [1] });
        assert_eq!(*after.pointer(kind.fields).unwrap(), expected);
    }
    let mut bare = object(kinds()[0], Value::Null);
    bare["spec"] = json!({ "replicas": 1 });
    let after = created(kinds()[0], &bare);
    assert_eq!(after["spec"]["kubeadmConfigSpec"]["files"], json!([file]));
    assert_eq!(after["spec"]["kubeadmConfigSpec"][COMMANDS], json!([command]));
}

#[test]
fn documentation_shows_the_entries() {
    let text = include_str!("../../../../docs/bootstrap.md");
    let entries = image_swap_text::yaml::print(&secret_entries().fields());
    assert!(text.contains(&format!("```yaml\n{entries}```\n")), "{entries}");
}

#[test]
fn restored_owned_and_unlabelled_objects_stay_as_they_are() {
    let kind = kinds()[0];
    for (pointer, value) in [
        ("/metadata/labels", json!({})),
        ("/metadata/labels/image-swap.io~1bootstrap", json!("true")),
        (
            "/metadata/labels",
            json!({ "image-swap.io/bootstrap": "enabled", "velero.io/restore-name": "r" }),
        ),
        (
            "/metadata/labels",
            json!({ "image-swap.io/bootstrap": "enabled", "topology.cluster.x-k8s.io/owned": "" }),
        ),
        ("/metadata/ownerReferences", json!([{ "kind": "Cluster" }])),
        ("/metadata/finalizers", json!(["a"])),
        ("/spec/kubeadmConfigSpec/files", json!([{ "path": SCRIPT_PATH, "content": "a" }])),
        ("/spec/kubeadmConfigSpec/preKubeadmCommands", json!([format!("sh {SCRIPT_PATH}")])),
        ("/spec/kubeadmConfigSpec", json!("broken")),
    ] {
        let mut object = object(kind, json!({}));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[key.replace("~1", "/")] = value;
        assert_eq!(created(kind, &object), object, "{pointer}");
    }
}

#[test]
fn other_namespaces_kinds_and_operations_stay_as_they_are() {
    let object = object(kinds()[0], json!({}));
    let request = |change: &dyn Fn(&mut Value)| {
        let mut request = json!({ "request": {
            "uid": "u", "operation": "CREATE", "namespace": "clusters", "object": object,
            "kind": { "group": "controlplane.cluster.x-k8s.io", "kind": "KubeadmControlPlane" },
        }});
        change(&mut request["request"]);
        let namespaces = BTreeSet::from(["clusters".to_owned()]);
        review(request.to_string().as_bytes(), &namespaces).unwrap().patched
    };
    assert!(request(&|_| ()));
    assert!(!request(&|it| it["namespace"] = json!("other")));
    assert!(!request(&|it| it["kind"]["kind"] = json!("KubeadmControlPlaneTemplate")));
    assert!(!request(&|it| it["operation"] = json!("DELETE")));
    assert!(!request(&|it| it["subResource"] = json!("status")));
}

#[test]
fn lost_script_is_put_back_where_it_was() {
    for kind in kinds() {
        let own = object(kind, json!({ "files": [{ "path": "/a" }], COMMANDS: ["a"] }));
        let mut stored = created(kind, &own);
        // Other writers may have added entries behind it.
        let more = json!({ "path": "/b" });
        stored.pointer_mut(kind.fields).unwrap()["files"]
            .as_array_mut()
            .unwrap()
            .push(more.clone());
        let mut applied = own.clone();
        applied.pointer_mut(kind.fields).unwrap()["files"].as_array_mut().unwrap().push(more);
        assert_eq!(reviewed(kind, "UPDATE", &applied, &stored), stored);
        let none = object(kind, json!({}));
        let after = reviewed(kind, "UPDATE", &none, &stored);
        assert_eq!(after.pointer(kind.fields).unwrap()["files"], json!(secret_entries().files));
        // An update that keeps the script, or replaces it by another one, stays.
        assert_eq!(reviewed(kind, "UPDATE", &stored, &stored), stored);
        let mut inline = stored.clone();
        let files = &mut inline.pointer_mut(kind.fields).unwrap()["files"];
        *files = json!([{ "path": SCRIPT_PATH, "content": "a" }]);
        assert_eq!(reviewed(kind, "UPDATE", &inline, &stored), inline);
    }
}

#[test]
fn script_may_be_lost_on_request_and_by_objects_of_machines() {
    let kind = kinds()[2];
    let stored = created(kind, &object(kind, json!({})));
    let lost = object(kind, json!({}));
    let mut disabled = lost.clone();
    disabled["metadata"]["labels"]["image-swap.io/bootstrap"] = json!("disabled");
    let mut owned = lost.clone();
    owned["metadata"]["ownerReferences"] = json!([{ "kind": "Machine" }]);
    let mut deleted = lost.clone();
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    for object in [&disabled, &owned, &deleted] {
        assert_eq!(reviewed(kind, "UPDATE", object, &stored), *object);
    }
    owned["metadata"]["ownerReferences"] = json!([{ "kind": "MachinePool" }]);
    assert_ne!(reviewed(kind, "UPDATE", &owned, &stored), owned);
    // An object without the script gets none by an update.
    assert_eq!(reviewed(kind, "UPDATE", &lost, &lost), lost);
}

#[test]
fn template_of_a_class_loses_the_added_script() {
    let kind = kinds()[1];
    let owned = |object: &Value| {
        let mut object = object.clone();
        object["metadata"]["ownerReferences"] = json!([{ "kind": "ClusterClass", "name": "c" }]);
        object
    };
    for fields in [json!({ "a": 1 }), json!({ "files": [{ "path": "/a" }], COMMANDS: ["a"] })] {
        let own = object(kind, fields);
        let stored = created(kind, &own);
        assert_eq!(reviewed(kind, "UPDATE", &owned(&stored), &stored), owned(&own));
        // Entries that an administrator adds later stay, and so do those of other kinds.
        assert_eq!(reviewed(kind, "UPDATE", &owned(&stored), &owned(&own)), owned(&stored));
        assert_eq!(reviewed(kind, "UPDATE", &owned(&stored), &owned(&stored)), owned(&stored));
        let mut unlabelled = stored.clone();
        unlabelled["metadata"]["labels"] = json!({});
        let after = reviewed(kind, "UPDATE", &owned(&unlabelled), &unlabelled);
        assert_eq!(after, owned(&unlabelled));
    }
    let other = created(kinds()[0], &object(kinds()[0], json!({})));
    assert_eq!(reviewed(kinds()[0], "UPDATE", &owned(&other), &other), owned(&other));
}

#[test]
fn unreadable_reviews_are_errors() {
    assert_eq!(review(b"{", &BTreeSet::new()), Err(TemplateReviewError::Syntax));
    assert_eq!(review(b"{}", &BTreeSet::new()), Err(TemplateReviewError::Uid));
}

#[test]
fn loss_conditions_are_short_expressions() {
    insta::assert_debug_snapshot!(loss_conditions());
}

/// Returns a strategy of lists, absent, `null` or filled.
fn lists(item: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        prop::collection::vec(item, 0..4).prop_map(|items| Some(Value::from(items))),
    ]
}

fn fields() -> impl Strategy<Value = Value> {
    let files = "[a-c]".prop_map(|name| json!({ "path": name, "content": "x" }));
    let commands = "[a-c]".prop_map(Value::from);
    (lists(files), lists(commands)).prop_map(|(files, commands)| {
        let mut fields = json!({ "other": 1 });
        for (key, list) in [("files", files), (COMMANDS, commands)] {
            if let Some(list) = list {
                fields[key] = list;
            }
        }
        fields
    })
}

proptest! {
    // guarantee: 2a, 2b
    #[test]
    fn second_review_changes_nothing_and_the_first_only_adds(
        kind in 0..3_usize,
        fields in fields(),
    ) {
        let kind = kinds()[kind];
        let before = object(kind, fields);
        let after = created(kind, &before);
        prop_assert_eq!(&created(kind, &after), &after);
        prop_assert_eq!(&reviewed(kind, "UPDATE", &after, &after), &after);
        // Without both entries the object is the one before.
        let mut stripped = after.clone();
        let lists = stripped.pointer_mut(kind.fields).unwrap();
        lists["files"].as_array_mut().unwrap().pop();
        lists[COMMANDS].as_array_mut().unwrap().remove(0);
        let mut expected = before.clone();
        for key in ["files", COMMANDS] {
            let list = &mut expected.pointer_mut(kind.fields).unwrap()[key];
            if list.is_null() {
                *list = json!([]);
            }
        }
        prop_assert_eq!(stripped, expected);
        // A writer that applies the object again loses nothing.
        prop_assert_eq!(reviewed(kind, "UPDATE", &before, &after), after);
    }

    // guarantee: 4g
    #[test]
    fn any_object_is_answered(text in any::<String>(), fields in fields()) {
        let _ = review(text.as_bytes(), &BTreeSet::new());
        let kind = kinds()[1];
        let old = created(kind, &object(kind, json!({})));
        let mut odd = object(kind, fields);
        odd["spec"]["template"] = Value::from(text);
        prop_assert_eq!(&reviewed(kind, "UPDATE", &odd, &old), &odd);
    }
}
