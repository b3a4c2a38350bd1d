//! Objects that a workload cluster had after the last apply.
//!
//! The API server refuses no apply of an object that another program deleted, or of a field that it
//! removed. So the fleet controller compares both with what it wrote before.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use super::bundle::BundleObject;

/// Objects of a workload cluster that were in force after the last apply.
#[derive(Clone, Debug, Default)]
pub struct ObjectsInForce {
    /// Hashes by the hash of the object's kind, namespace and name.
    objects: BTreeMap<u64, ObjectInForce>,
}

/// Hashes of an object in force.
#[derive(Clone, Copy, Debug)]
struct ObjectInForce {
    /// Hash of the content that was applied.
    content: u64,
    /// Hash of the fields that the fleet controller owned afterwards.
    fields: u64,
}

impl ObjectsInForce {
    /// Records that the content of `object` is in force, and that the fleet controller owns the
    /// fields with the hash `fields`.
    pub fn record(&mut self, object: &BundleObject, fields: u64) {
        let content = object.value.content_hash();
        self.objects.insert(name(object), ObjectInForce { content, fields });
    }

    /// Returns true if the same content of `object` was in force, and another program has deleted
    /// the object or fields of it since. `fields` has the hash of the fields that the fleet
    /// controller owns; `None` if the object does not exist.
    pub fn has_lost(&self, object: &BundleObject, fields: Option<u64>) -> bool {
        let known = self.objects.get(&name(object));
        known.is_some_and(|it| {
            fields != Some(it.fields) && it.content == object.value.content_hash()
        })
    }

    /// Forgets `object`, which the fleet controller deletes.
    pub fn forget(&mut self, object: &BundleObject) {
        self.objects.remove(&name(object));
    }

    /// Forgets all objects.
    pub fn clear(&mut self) {
        self.objects.clear();
    }
}

fn name(object: &BundleObject) -> u64 {
    hash(&(&object.kind, &object.namespace, &object.name))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, label: &str) -> BundleObject {
        let value = json!({ "metadata": { "labels": { "a": label } } });
        BundleObject { value: value.into(), ..BundleObject::namespace(name) }
    }

    #[test]
    fn deleted_objects_and_removed_fields_are_lost() {
        let mut objects = ObjectsInForce::default();
        let first = object("first", "a");
        assert!(!objects.has_lost(&first, None), "a first installation");
        objects.record(&first, 1);
        assert!(!objects.has_lost(&first, Some(1)), "nothing has changed");
        assert!(objects.has_lost(&first, None), "deleted");
        assert!(objects.has_lost(&first, Some(2)), "without a field");
        assert!(!objects.has_lost(&object("other", "a"), None), "another object");
    }

    #[test]
    fn other_content_is_an_update() {
        let mut objects = ObjectsInForce::default();
        objects.record(&object("first", "a"), 1);
        for fields in [None, Some(1), Some(2)] {
            assert!(!objects.has_lost(&object("first", "b"), fields), "{fields:?}");
        }
    }

    #[test]
    fn objects_that_the_controller_deletes_are_forgotten() {
        let mut objects = ObjectsInForce::default();
        let (first, second) = (object("first", "a"), object("second", "a"));
        for object in [&first, &second] {
            objects.record(object, 1);
        }
        objects.forget(&first);
        assert_eq!([&first, &second].map(|it| objects.has_lost(it, None)), [false, true]);
        objects.clear();
        assert!(!objects.has_lost(&second, None));
    }
}
