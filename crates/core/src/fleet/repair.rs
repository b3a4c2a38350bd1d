//! Repairs of `registry-info`, by the fleet controller and by a cluster that pulls.
//!
//! - Fields of another `Apply` manager, and an object of a Helm release, are a conflict. They stay as
//!   they are.
//! - Changes by `Update` managers are repaired, as far as a [`RepairLog`] allows it.

use serde_json::{Map, Value, json};

use super::{
    bundle::{BundleObject, FLEET_MANAGER},
    drift::{Contest, ContestedField, OTHER_MANAGER, RepairLog},
};
use crate::{declaration::UnixTime, labels::IMAGE_SWAP};

/// Field managers of image-swap.
pub const OWN_MANAGERS: [&str; 2] = [FLEET_MANAGER, IMAGE_SWAP];
/// Number of added values that are removed at a time.
const VALUES: usize = 64;

/// Returns true for an entry of `managedFields` of another program that applies fields of the object.
/// A controller that applies its status, as Kubernetes does for policies, does not count.
pub fn is_other_apply(manager: &str, operation: &str, subresource: &str) -> bool {
    operation == "Apply" && subresource.is_empty() && !OWN_MANAGERS.contains(&manager)
}

/// Decision about fields that other managers changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairDecision {
    /// `Update` managers changed these fields: they are repaired now.
    Repair(Vec<ContestedField>),
    /// `Update` managers change these fields again and again: they are repaired after these seconds.
    Later(Vec<ContestedField>, UnixTime),
    /// `Apply` managers hold these fields, which stay as they are. Without a field: the object belongs
    /// to a Helm release.
    Conflict(Vec<ContestedField>),
}

impl RepairDecision {
    /// Returns the decision about the fields of `contest`. A repair of `object` at `now` is recorded
    /// in `log`.
    pub fn of(contest: Contest, object: &str, log: &mut RepairLog, now: UnixTime) -> Self {
        match contest {
            Contest::Conflict(fields) => Self::Conflict(fields),
            Contest::Drift(fields) => match log.begin(object, now) {
                Ok(()) => Self::Repair(fields),
                Err(wait) => Self::Later(fields, wait),
            },
        }
    }
}

/// Writers of `registry-info`, by its metadata.
#[derive(Clone, Copy, Debug)]
pub struct DeclarationWriters<'m> {
    /// True if Helm installed the Secret.
    pub is_of_helm: bool,
    /// True if the fleet controller, or the manifest of an enrolment, created the Secret.
    pub is_created_by_fleet: bool,
    /// Name of another manager that applies fields of the Secret; `None` without one.
    pub other_apply: Option<&'m str>,
    /// Version of the Secret.
    pub version: &'m str,
}

/// Values that other writers added to `registry-info`. An apply keeps them, and another declaration
/// would be in force.
#[derive(Clone, Debug, PartialEq)]
pub struct AddedValues {
    /// Decision about the values.
    pub decision: RepairDecision,
    /// Merge patch that removes the values if the Secret still has the version that was read.
    pub removal: Value,
}

impl AddedValues {
    /// Returns the values of the `keys` that `object` lacks; `None` if it lacks none, or if another
    /// program created the Secret. Records a repair at `now` in `log`.
    pub fn of<'k>(
        object: &BundleObject,
        keys: impl IntoIterator<Item = &'k str>,
        writers: &DeclarationWriters<'_>,
        log: &mut RepairLog,
        now: UnixTime,
    ) -> Option<Self> {
        let wanted = &object.value["data"];
        let added = keys.into_iter().filter(|key| wanted.get(*key).is_none()).take(VALUES);
        let added: Map<String, Value> = added.map(|key| (key.to_owned(), Value::Null)).collect();
        if added.is_empty() || !writers.is_created_by_fleet {
            return None;
        }
        let contest = writers.contest().about(&object.value);
        Some(Self {
            decision: RepairDecision::of(contest, &object.to_string(), log, now),
            removal: json!({
                "metadata": { "resourceVersion": writers.version },
                "data": added,
            }),
        })
    }
}

impl DeclarationWriters<'_> {
    /// Returns the reason why values were added.
    fn contest(&self) -> Contest {
        let added_by = |manager: &str| {
            vec![ContestedField { field: ".data".to_owned(), manager: manager.to_owned() }]
        };
        match self.other_apply {
            _ if self.is_of_helm => Contest::Conflict(Vec::new()),
            Some(manager) => Contest::Conflict(added_by(manager)),
            None => Contest::Drift(added_by(OTHER_MANAGER)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        control::effective::SecretData,
        fleet::{
            bundle::registry_info,
            drift::{REPAIRS, WINDOW},
        },
    };

    const CREATED: DeclarationWriters<'_> = DeclarationWriters {
        is_of_helm: false,
        is_created_by_fleet: true,
        other_apply: None,
        version: "7",
    };

    fn object(keys: &[&str]) -> BundleObject {
        let data = keys.iter().map(|key| ((*key).to_owned(), Vec::new())).collect();
        registry_info(&SecretData { kind: "Opaque".into(), data }, 1)
    }

    fn added(keys: &[&str], writers: DeclarationWriters<'_>) -> Option<AddedValues> {
        let keys = keys.iter().copied();
        AddedValues::of(&object(&["DOMAIN"]), keys, &writers, &mut RepairLog::default(), 1000)
    }

    fn by(manager: &str) -> Vec<ContestedField> {
        vec![ContestedField { field: ".data".into(), manager: manager.into() }]
    }

    #[test]
    fn added_value_is_removed_from_the_version_read() {
        let found = added(&["DOMAIN", "OTHER"], CREATED).unwrap();
        assert_eq!(found.decision, RepairDecision::Repair(by(OTHER_MANAGER)));
        let removal = json!({ "metadata": { "resourceVersion": "7" }, "data": { "OTHER": null } });
        assert_eq!(found.removal, removal);
        assert_eq!(added(&["DOMAIN"], CREATED), None);
    }

    #[test]
    fn value_of_an_apply_manager_is_a_conflict() {
        let decided = |manager: &'static str| {
            let writers = DeclarationWriters { other_apply: Some(manager), ..CREATED };
            added(&["OTHER"], writers).unwrap().decision
        };
        assert_eq!(decided("flux"), RepairDecision::Conflict(by("flux")));
        assert_eq!(decided("call 555"), RepairDecision::Conflict(by(OTHER_MANAGER)));
    }

    #[test]
    fn helm_release_keeps_its_values() {
        let writers = DeclarationWriters { is_of_helm: true, ..CREATED };
        let found = added(&["OTHER"], writers).unwrap();
        assert_eq!(found.decision, RepairDecision::Conflict(Vec::new()));
    }

    #[test]
    fn secret_of_another_program_keeps_its_values() {
        let writers = DeclarationWriters { is_created_by_fleet: false, ..CREATED };
        assert_eq!(added(&["OTHER"], writers), None);
    }

    #[test]
    fn own_managers_and_subresources_do_not_count() {
        assert!(is_other_apply("flux", "Apply", ""));
        for (manager, operation, subresource) in [
            ("flux", "Update", ""),
            ("kubelet", "Apply", "status"),
            (FLEET_MANAGER, "Apply", ""),
            (IMAGE_SWAP, "Apply", ""),
        ] {
            assert!(!is_other_apply(manager, operation, subresource), "{manager} {operation}");
        }
    }

    proptest! {
        // No wanted value is removed, no value of an `Apply` manager or a Helm release, and none more
        // often than three times in ten minutes.
        #[test]
        fn repairs_follow_the_rule(
            keys in prop::collection::btree_set("[A-D]", 0..4),
            wanted in prop::collection::btree_set("[A-D]", 0..4),
            mut steps in prop::collection::vec((0_u64..2000, 0..4_u8, any::<bool>()), 1..60),
        ) {
            steps.sort_unstable();
            let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let (object, mut log) = (object(&wanted), RepairLog::default());
            let wanted: BTreeSet<&str> = wanted.into_iter().collect();
            let mut repairs = Vec::new();
            for (now, writer, is_created_by_fleet) in steps {
                let writers = DeclarationWriters {
                    is_of_helm: writer == 1,
                    other_apply: (writer == 2).then_some("flux"),
                    is_created_by_fleet,
                    version: "7",
                };
                let keys = keys.iter().map(String::as_str);
                let added: BTreeSet<&str> = keys.clone().filter(|key| !wanted.contains(key)).collect();
                let found = AddedValues::of(&object, keys, &writers, &mut log, now);
                prop_assert_eq!(found.is_some(), is_created_by_fleet && !added.is_empty());
                let Some(AddedValues { decision, removal }) = found else { continue };
                let removed = removal["data"].as_object().unwrap().keys().map(String::as_str);
                prop_assert_eq!(removed.collect::<BTreeSet<_>>(), added);
                prop_assert_eq!(&removal["metadata"]["resourceVersion"], "7");
                let is_conflict = matches!(decision, RepairDecision::Conflict(_));
                prop_assert_eq!(is_conflict, writer == 1 || writer == 2);
                if matches!(decision, RepairDecision::Repair(_)) {
                    repairs.push(now);
                }
            }
            for window in repairs.windows(REPAIRS + 1) {
                prop_assert!(window[REPAIRS] - window[0] >= WINDOW);
            }
        }
    }
}
