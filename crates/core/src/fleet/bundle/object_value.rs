//! Content of an object, with values that are derived from it once for all workload clusters.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

use serde_json::Value;

use super::{CREATED_BY, FLEET_MANAGER};

/// Content of an object as JSON. Copies share it until one of them changes.
///
/// ```
/// use image_swap_core::fleet::bundle::ObjectValue;
///
/// let mut value = ObjectValue::from(serde_json::json!({ "kind": "Namespace" }));
/// assert_eq!(&*value.text(), br#"{"kind":"Namespace"}"#);
/// value["kind"] = "Secret".into();
/// assert_eq!(&*value.text(), br#"{"kind":"Secret"}"#);
/// ```
#[derive(Clone, Default)]
pub struct ObjectValue(Arc<SharedValue>);

/// Content with the values derived from it.
#[derive(Clone, Default)]
struct SharedValue {
    value: Value,
    derived: DerivedValues,
}

/// Values that are derived from a content at the first request for them.
#[derive(Clone, Default)]
struct DerivedValues {
    text: OnceLock<Arc<[u8]>>,
    hash: OnceLock<u64>,
    created: OnceLock<ObjectValue>,
}

impl ObjectValue {
    /// Returns the content as the text of a request.
    pub fn text(&self) -> Arc<[u8]> {
        Arc::clone(self.0.derived.text.get_or_init(|| self.to_string().into_bytes().into()))
    }

    /// Returns a hash of the content, which depends on the version of the program.
    pub(in crate::fleet) fn content_hash(&self) -> u64 {
        *self.0.derived.hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.0.value.hash(&mut hasher);
            hasher.finish()
        })
    }

    /// Returns the content with the mark that the fleet controller created the object.
    pub fn created(&self) -> &Self {
        self.0.derived.created.get_or_init(|| {
            let mut created = Self::from(self.0.value.clone());
            created["metadata"]["annotations"][CREATED_BY] = FLEET_MANAGER.into();
            created
        })
    }
}

impl From<Value> for ObjectValue {
    fn from(value: Value) -> Self {
        Self(Arc::new(SharedValue { value, derived: DerivedValues::default() }))
    }
}

impl Deref for ObjectValue {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0.value
    }
}

impl DerefMut for ObjectValue {
    fn deref_mut(&mut self) -> &mut Value {
        let shared = Arc::make_mut(&mut self.0);
        shared.derived = DerivedValues::default();
        &mut shared.value
    }
}

impl PartialEq for ObjectValue {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.value == other.0.value
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changed_copy_shares_nothing() {
        let value = ObjectValue::from(json!({ "a": 1 }));
        let (text, hash) = (value.text(), value.content_hash());
        let mut copy = value.clone();
        assert!(copy == value && Arc::ptr_eq(&copy.text(), &text));
        copy["a"] = 2.into();
        assert!(copy != value && *copy.text() != *text && copy.content_hash() != hash);
        assert!(*value.text() == *text && value.content_hash() == hash);
    }

    #[test]
    fn created_object_has_the_mark() {
        let value = ObjectValue::from(json!({ "kind": "Namespace" }));
        assert_eq!(value.created()["metadata"]["annotations"][CREATED_BY], FLEET_MANAGER);
        assert!(value.get("metadata").is_none());
    }
}
