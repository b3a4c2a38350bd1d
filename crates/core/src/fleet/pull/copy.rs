//! A cluster's copy of its declaration, in a Secret of the management cluster.

use serde_json::{Map, Value, json};

use super::names::PullNames;
use crate::{
    control::effective::{Effective, Origin, SecretData},
    fleet::{
        assignment::AssignedDeclaration,
        bundle::{BundleObject, registry_info},
    },
    labels::REVISION,
    status::StoredDeclaration,
};
use image_swap_text::base64;

/// Copy of a declaration for a cluster that pulls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarationCopy {
    /// Number of the declaration.
    pub revision: u64,
    /// Declaration, with its credential.
    pub effective: Effective,
}

/// Secret `registry-info` of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentDeclaration {
    /// Type and data.
    pub secret: SecretData,
    /// Annotation [`REVISION`]; `None` without it.
    pub revision: Option<String>,
    /// True if the fleet controller, or the manifest of an enrolment, created the Secret.
    pub is_created_by_fleet: bool,
}

/// Error of a copy with an invalid declaration, which no cluster uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the copy of the declaration on the management cluster is invalid; the last declaration stays"
)]
pub struct CopyError;

impl DeclarationCopy {
    /// Returns the apply patch of the Secret with the copy of `declaration`. It leaves labels to the
    /// enrolment.
    pub fn patch(names: &PullNames, declaration: &AssignedDeclaration) -> Value {
        let stored = StoredDeclaration(Effective::clone(&declaration.effective)).data();
        let data: Map<String, Value> = stored
            .into_iter()
            .map(|(key, value)| (key.to_owned(), base64::encode(value).into()))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": names.secret(),
                "namespace": names.namespace,
                "annotations": { REVISION: declaration.revision.to_string() },
            },
            "data": data,
        })
    }

    /// Reads the Secret whose values `value` returns by key, with its annotation [`REVISION`].
    /// Returns `None` before the fleet controller has assigned a declaration.
    ///
    /// # Errors
    /// [`CopyError`] for an invalid declaration.
    pub fn read<'v>(
        value: impl Fn(&str) -> Option<&'v str>,
        revision: Option<&str>,
    ) -> Result<Option<Self>, CopyError> {
        let Some(revision) = revision else { return Ok(None) };
        let revision = revision.parse().map_err(|_| CopyError)?;
        let StoredDeclaration(effective) = StoredDeclaration::read(value).ok_or(CopyError)?;
        if effective.origin == Origin::None || effective.declaration().is_none() {
            return Err(CopyError);
        }
        Ok(Some(Self { revision, effective }))
    }

    /// Returns `registry-info` with this declaration; `None` if `present` already has it. Only a
    /// Secret that the fleet controller created has no further values.
    pub fn registry_info(&self, present: Option<&PresentDeclaration>) -> Option<BundleObject> {
        let wanted = &self.effective.secret;
        let kind = |secret: &SecretData| match &*secret.kind {
            "" => "Opaque".to_owned(),
            kind => kind.to_owned(),
        };
        let is_wanted = |it: &PresentDeclaration| {
            let data = &it.secret.data;
            wanted.data.iter().all(|(key, value)| data.get(key) == Some(value))
                && (!it.is_created_by_fleet || data.len() == wanted.data.len())
                && kind(&it.secret) == kind(wanted)
                && it.revision.as_ref() == Some(&self.revision.to_string())
        };
        if present.is_some_and(is_wanted) {
            return None;
        }
        let mut object = registry_info(wanted, self.revision);
        if present.is_none_or(|it| it.is_created_by_fleet) {
            object.value = object.value.created().clone();
        }
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::fleet::bundle::{CREATED_BY, FLEET_MANAGER};

    fn effective(domain: &str) -> Effective {
        let data = [
            ("DOMAIN", domain),
            ("BASE_PATH", ""),
            ("INSECURE", "false"),
            ("MIRROR_REGISTRIES", "docker.io::h.example.org/docker.io"),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        Effective { origin: Origin::RegistryInfo, secret }
    }

    /// Reads the Secret that `patch` writes.
    fn read(patch: &Value, revision: Option<&str>) -> Result<Option<DeclarationCopy>, CopyError> {
        let decoded = |value: &Value| {
            String::from_utf8(base64::decode(value.as_str().unwrap()).unwrap()).unwrap()
        };
        let data = patch["data"].as_object().into_iter().flatten();
        let data: BTreeMap<String, String> =
            data.map(|(key, value)| (key.clone(), decoded(value))).collect();
        DeclarationCopy::read(|key| data.get(key).map(String::as_str), revision)
    }

    fn patch(effective: Effective) -> Value {
        let names = PullNames::new("clusters", "edge").unwrap();
        let declaration = AssignedDeclaration { revision: 7, effective: Arc::new(effective) };
        DeclarationCopy::patch(&names, &declaration)
    }

    #[test]
    fn written_copy_reads_the_same() {
        let patch = patch(effective("h.example.org"));
        assert_eq!(patch["metadata"]["annotations"][REVISION], "7");
        assert!(patch["metadata"].get("labels").is_none());
        let copy = DeclarationCopy { revision: 7, effective: effective("h.example.org") };
        assert_eq!(read(&patch, Some("7")), Ok(Some(copy)));
        assert_eq!(read(&json!({}), None), Ok(None));
    }

    // guarantee: 3b
    #[test]
    fn invalid_copy_is_an_error() {
        let good = patch(effective("h.example.org"));
        assert_eq!(read(&good, Some("x")), Err(CopyError));
        assert_eq!(read(&json!({}), Some("7")), Err(CopyError));
        assert_eq!(read(&patch(Effective::none()), Some("7")), Err(CopyError));
        assert_eq!(read(&patch(effective("https://")), Some("7")), Err(CopyError));
    }

    #[test]
    fn only_a_difference_is_written() {
        let copy = DeclarationCopy { revision: 7, effective: effective("h.example.org") };
        let present = PresentDeclaration {
            secret: copy.effective.secret.clone(),
            revision: Some("7".into()),
            is_created_by_fleet: true,
        };
        let written = |change: &dyn Fn(&mut PresentDeclaration)| {
            let mut present = present.clone();
            change(&mut present);
            copy.registry_info(Some(&present))
        };
        assert_eq!(written(&|_| {}), None);
        assert!(written(&|it| it.revision = Some("6".into())).is_some());
        assert!(written(&|it| it.secret.kind = "other".into()).is_some());
        let added = |it: &mut PresentDeclaration| {
            it.secret.data.insert("OTHER".into(), Vec::new());
        };
        assert!(written(&added).is_some());
        let lost = |it: &mut PresentDeclaration| {
            it.secret.data.remove("DOMAIN");
            added(it);
        };
        assert!(written(&lost).is_some());
        // Values in the Secret of another program stay.
        let other = |it: &mut PresentDeclaration| it.is_created_by_fleet = false;
        assert_eq!(
            written(&|it| {
                added(it);
                other(it);
            }),
            None
        );
    }

    #[test]
    fn only_a_created_secret_is_marked() {
        let copy = DeclarationCopy { revision: 7, effective: effective("h.example.org") };
        let mark = |present: Option<&PresentDeclaration>| {
            let object = copy.registry_info(present).unwrap();
            assert_eq!(object.path(), "/api/v1/namespaces/jet-system/secrets/registry-info");
            object.value["metadata"]["annotations"][CREATED_BY] == FLEET_MANAGER
        };
        let empty = SecretData { kind: "Opaque".into(), data: BTreeMap::new() };
        let of = |is_created_by_fleet| PresentDeclaration {
            secret: empty.clone(),
            revision: None,
            is_created_by_fleet,
        };
        assert_eq!(
            [mark(None), mark(Some(&of(true))), mark(Some(&of(false)))],
            [true, true, false]
        );
    }
}
