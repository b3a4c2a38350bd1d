//! Changes by other writers: drift, which is repaired, and conflicts, which are reported.
//!
//! The API server refuses a server-side apply with the status 409 if another field manager set a
//! field to another value. It names the operation of that manager: `Update` (kubectl edit, a
//! controller) or `Apply`.
//!
//! Source: Kubernetes, `apimachinery/pkg/util/managedfields/internal/conflict.go`.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{field_path, in_force::ObjectsInForce};
use crate::declaration::UnixTime;

/// Reason of a cause in the status of a refused apply.
const CONFLICT: &str = "FieldManagerConflict";
/// Annotation of an object that Helm installed.
pub const HELM_RELEASE: &str = "meta.helm.sh/release-name";
/// Manager in a report whose name is not shown.
pub const OTHER_MANAGER: &str = "another manager";
/// Field in a report whose path is not known.
const UNKNOWN_FIELD: &str = "a field";
/// Number of fields of an object that a report names.
const FIELDS: usize = 8;
/// Number of causes of a refusal that are read.
const CAUSES: usize = 1024;
/// Longest text from a workload cluster in a report, in bytes.
const LONGEST: usize = 200;
/// Longest name of a field manager in a report, in bytes.
const NAME: usize = 40;
/// Number of forced repairs of an object within [`WINDOW`].
pub const REPAIRS: usize = 3;
/// Time in which [`REPAIRS`] are allowed, in seconds.
pub const WINDOW: UnixTime = 600;
/// Number of objects whose repairs are counted.
const OBJECTS: usize = 256;

/// Field that another manager holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContestedField {
    /// Path of the field, such as `.spec.replicas`.
    pub field: String,
    /// Name of the manager.
    pub manager: String,
}

/// Reason of a refused apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contest {
    /// Only `Update` managers changed fields: they are written again.
    Drift(Vec<ContestedField>),
    /// `Apply` managers hold these fields: they stay as they are.
    Conflict(Vec<ContestedField>),
}

/// Part of a `Status` that is read.
#[derive(Debug, Default, Deserialize)]
pub struct RefusedStatus {
    /// Details of the refusal.
    #[serde(default)]
    pub details: RefusedDetails,
}

/// Details of a refused apply.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RefusedDetails {
    #[serde(default, deserialize_with = "causes")]
    causes: Vec<RefusedCause>,
}

/// Reads the causes of a refusal. A list of more than [`CAUSES`] is invalid: a cause that is left out
/// might name an `Apply` manager.
fn causes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RefusedCause>, D::Error> {
    struct Causes;

    impl<'de> Visitor<'de> for Causes {
        type Value = Vec<RefusedCause>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list of causes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut found: A) -> Result<Self::Value, A::Error> {
            let mut causes = Vec::new();
            while let Some(cause) = found.next_element()? {
                if causes.len() == CAUSES {
                    return Err(A::Error::custom("too many causes"));
                }
                causes.push(cause);
            }
            Ok(causes)
        }
    }

    deserializer.deserialize_seq(Causes)
}

#[derive(Debug, Serialize, Deserialize)]
struct RefusedCause {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    field: String,
    #[serde(default)]
    message: String,
}

impl Contest {
    /// Returns the reason in the status of a refused apply; `None` if other managers are not the
    /// reason. A manager whose operation is unknown counts as one of `Apply`.
    pub fn of(status: &RefusedStatus) -> Option<Self> {
        let (mut updates, mut applies, mut has_apply) = (Vec::new(), Vec::new(), false);
        for cause in status.details.causes.iter().filter(|it| it.reason == CONFLICT) {
            let (manager, is_update) = manager(&cause.message);
            has_apply |= !is_update;
            let fields = if is_update { &mut updates } else { &mut applies };
            if fields.len() < FIELDS {
                fields.push(ContestedField { field: shown(&cause.field), manager });
            }
        }
        if has_apply {
            return Some(Self::Conflict(applies));
        }
        (!updates.is_empty()).then_some(Self::Drift(updates))
    }

    /// Returns the contest for a report about `applied`, which has no text that a workload cluster
    /// chose: fields of `applied`, and managers with plain names.
    #[must_use]
    pub fn about(self, applied: &Value) -> Self {
        let known = |fields: Vec<ContestedField>| {
            fields.into_iter().map(|it| it.about(applied)).collect::<Vec<_>>()
        };
        match self {
            Self::Drift(fields) => Self::Drift(known(fields)),
            Self::Conflict(fields) => Self::Conflict(known(fields)),
        }
    }
}

impl ContestedField {
    /// Returns a field of which neither path nor manager is known.
    pub fn unknown() -> Self {
        Self { field: UNKNOWN_FIELD.to_owned(), manager: OTHER_MANAGER.to_owned() }
    }

    fn about(self, applied: &Value) -> Self {
        let field = field_path::known(&self.field, applied);
        let field = if field.is_empty() { UNKNOWN_FIELD.to_owned() } else { field };
        let manager = Some(self.manager).filter(|it| is_plain(it));
        Self { field, manager: manager.unwrap_or_else(|| OTHER_MANAGER.to_owned()) }
    }
}

/// Returns true if `name` is that of a field manager without any sentence in it.
fn is_plain(name: &str) -> bool {
    let is_allowed = |it: u8| it.is_ascii_alphanumeric() || b"-._".contains(&it);
    (1..=NAME).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Returns the manager in `message`, and true if its operation is `Update`.
///
/// The message is `conflict with "NAME"`, for `Update` with ` using VERSION` after it. NAME is
/// quoted as by Go's `%q`.
fn manager(message: &str) -> (String, bool) {
    let unknown = || ("unknown".to_owned(), false);
    let Some(rest) = message.strip_prefix("conflict with \"") else { return unknown() };
    let mut is_escaped = false;
    let end = rest.char_indices().find(|(_, character)| {
        let is_end = *character == '"' && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        is_end
    });
    let Some((end, _)) = end else { return unknown() };
    let tail = &rest[end + 1..];
    let tail = match tail.strip_prefix(" with subresource \"") {
        Some(after) => after.split_once('"').map_or("", |(_, after)| after),
        None => tail,
    };
    (shown(&rest[..end]), tail.starts_with(" using "))
}

/// Returns `text` of a workload cluster for a report: printable ASCII, of a bounded length.
pub fn shown(text: &str) -> String {
    let printable =
        text.chars().map(|it| if it.is_ascii_graphic() || it == ' ' { it } else { '?' });
    printable.take(LONGEST).collect()
}

/// Repairs of the objects of a workload cluster.
///
/// At most [`REPAIRS`] are allowed per object within [`WINDOW`], so that two writers do not
/// overwrite each other for ever.
#[derive(Clone, Debug, Default)]
pub struct RepairLog {
    /// Objects after the last apply.
    pub in_force: ObjectsInForce,
    objects: BTreeMap<String, VecDeque<UnixTime>>,
}

impl RepairLog {
    /// Records a repair of `object` at `now`.
    ///
    /// # Errors
    /// Returns the seconds to wait if none is allowed.
    pub fn begin(&mut self, object: &str, now: UnixTime) -> Result<(), UnixTime> {
        if let Some(wait) = self.wait(object, now) {
            return Err(wait);
        }
        self.objects.entry(object.to_owned()).or_default().push_back(now);
        Ok(())
    }

    /// Returns the seconds to wait before a repair of `object` is allowed; `None` if one is allowed
    /// at `now`.
    pub fn wait(&mut self, object: &str, now: UnixTime) -> Option<UnixTime> {
        self.objects.retain(|_, times| {
            // A clock that was set back forgets later repairs.
            times.retain(|at| *at <= now && now - at < WINDOW);
            !times.is_empty()
        });
        match self.objects.get(object) {
            Some(times) if times.len() < REPAIRS => None,
            Some(times) => Some(times.front().map_or(WINDOW, |first| WINDOW - (now - first))),
            None => (self.objects.len() >= OBJECTS).then_some(WINDOW),
        }
    }

    /// Returns the number of objects with repairs that still count.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns true if no repair counts.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn contest(causes: &[(&str, &str)]) -> Option<Contest> {
        let causes: Vec<_> = causes
            .iter()
            .map(|(field, message)| json!({ "reason": CONFLICT, "field": field, "message": message }))
            .collect();
        let status = json!({ "kind": "Status", "details": { "causes": causes } });
        Contest::of(&serde_json::from_value(status).unwrap())
    }

    fn field(field: &str, manager: &str) -> ContestedField {
        ContestedField { field: field.into(), manager: manager.into() }
    }

    #[test]
    fn update_managers_are_drift() {
        let causes = [
            (".data.DOMAIN", r#"conflict with "kubectl-edit" using v1"#),
            (".spec.replicas", r#"conflict with "kubectl" with subresource "scale" using apps/v1"#),
            (".data.x", r#"conflict with "x" using v1 at 2026-01-01T00:00:00Z"#),
        ];
        let expected = vec![
            field(".data.DOMAIN", "kubectl-edit"),
            field(".spec.replicas", "kubectl"),
            field(".data.x", "x"),
        ];
        assert_eq!(contest(&causes), Some(Contest::Drift(expected)));
    }

    #[test]
    fn one_apply_manager_is_a_conflict() {
        let causes = [
            (".data.a", r#"conflict with "kubectl-edit" using v1"#),
            (".data.b", r#"conflict with "argocd-controller""#),
        ];
        let expected = vec![field(".data.b", "argocd-controller")];
        assert_eq!(contest(&causes), Some(Contest::Conflict(expected)));
    }

    #[test]
    fn reports_quote_no_text_of_a_cluster() {
        let applied = json!({ "spec": { "replicas": 2 } });
        let long = format!("conflict with \"{}\"", "x".repeat(41));
        let causes = [
            (".spec.replicas", r#"conflict with "argocd-controller""#),
            (".spec.replicas.call", r#"conflict with "call 555""#),
            ("call 555", &*long),
        ];
        let expected = vec![
            field(".spec.replicas", "argocd-controller"),
            field(".spec.replicas", "another manager"),
            field("a field", "another manager"),
        ];
        let found = contest(&causes).map(|it| it.about(&applied));
        assert_eq!(found, Some(Contest::Conflict(expected)));
    }

    #[test]
    fn quoted_manager_names_contain_no_operation() {
        for name in [r#"x\" using v1"#, r#"x\\\" using v1"#, " using v1"] {
            let message = format!("conflict with \"{name}\"");
            assert!(matches!(contest(&[(".a", &message)]), Some(Contest::Conflict(_))), "{name}");
            let message = format!("conflict with \"{name}\" using v1");
            assert!(matches!(contest(&[(".a", &message)]), Some(Contest::Drift(_))), "{name}");
        }
    }

    #[test]
    fn unknown_messages_are_never_forced() {
        for message in ["", "conflict with \"x", "conflict with x using v1", "using v1"] {
            assert!(matches!(contest(&[(".a", message)]), Some(Contest::Conflict(_))), "{message}");
        }
    }

    #[test]
    fn endless_causes_are_invalid() {
        let status = |number: usize| {
            let causes = vec!["{}"; number].join(",");
            let text = format!(r#"{{"details":{{"causes":[{causes}]}}}}"#);
            serde_json::from_str::<RefusedStatus>(&text).is_ok()
        };
        assert_eq!([status(CAUSES), status(CAUSES + 1)], [true, false]);
    }

    #[test]
    fn other_refusals_name_no_fields() {
        assert_eq!(Contest::of(&RefusedStatus::default()), None);
        let status = json!({ "details": { "causes": [{ "reason": "Other", "message": "x" }] } });
        assert_eq!(Contest::of(&serde_json::from_value(status).unwrap()), None);
    }

    #[test]
    fn fourth_repair_waits() {
        let mut log = RepairLog::default();
        for _ in 0..REPAIRS {
            assert_eq!((log.wait("a", 1000), log.begin("a", 1000)), (None, Ok(())));
        }
        assert_eq!(log.wait("a", 1100), Some(WINDOW - 100));
        assert_eq!(log.begin("a", 1100), Err(WINDOW - 100));
        assert_eq!(log.begin("b", 1100), Ok(()));
        assert_eq!(log.begin("a", 1000 + WINDOW), Ok(()));
    }

    proptest! {
        // No more repairs are allowed in any period of ten minutes, and old ones are forgotten.
        #[test]
        fn repairs_are_bounded(mut times in prop::collection::vec((0_u64..4000, 0_usize..400), 1..800)) {
            times.sort_unstable();
            let mut log = RepairLog::default();
            let mut done: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
            for (now, object) in times {
                if log.begin(&object.to_string(), now).is_ok() {
                    done.entry(object).or_default().push(now);
                }
                prop_assert!(log.len() <= OBJECTS);
            }
            for times in done.values() {
                for window in times.windows(REPAIRS + 1) {
                    prop_assert!(window[REPAIRS] - window[0] >= WINDOW);
                }
            }
        }

        #[test]
        fn reports_are_bounded(field in ".*", manager in ".*", count in 1_usize..40) {
            let message = format!("conflict with {manager:?}");
            let causes = vec![(field.as_str(), message.as_str()); count];
            let Some(Contest::Conflict(fields)) = contest(&causes) else {
                return Err(TestCaseError::fail("a conflict"));
            };
            prop_assert!(fields.len() <= FIELDS);
            for it in fields {
                prop_assert!(it.field.len() <= LONGEST && it.manager.len() <= LONGEST);
                prop_assert!(it.field.is_ascii() && it.manager.is_ascii());
            }
        }
    }
}
