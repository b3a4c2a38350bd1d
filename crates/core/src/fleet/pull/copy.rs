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

    /// Returns `registry-info` with this declaration; `None` if `present`, the Secret with its
    /// annotation [`REVISION`], already has it.
    pub fn registry_info(
        &self,
        present: Option<(&SecretData, Option<&str>)>,
    ) -> Option<BundleObject> {
        let wanted = &self.effective.secret;
        let kind = |secret: &SecretData| match &*secret.kind {
            "" => "Opaque".to_owned(),
            kind => kind.to_owned(),
        };
        let is_wanted = |(secret, revision): (&SecretData, Option<&str>)| {
            secret.data == wanted.data
                && kind(secret) == kind(wanted)
                && revision == Some(&self.revision.to_string())
        };
        (!present.is_some_and(is_wanted)).then(|| registry_info(wanted, self.revision))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;

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
        let secret = copy.effective.secret.clone();
        assert_eq!(copy.registry_info(Some((&secret, Some("7")))), None);
        let object = copy.registry_info(None).unwrap();
        assert_eq!(object.path(), "/api/v1/namespaces/jet-system/secrets/registry-info");
        assert!(copy.registry_info(Some((&secret, Some("6")))).is_some());
        let mut more = secret.clone();
        more.data.insert("CA_CERT".into(), Vec::new());
        assert!(copy.registry_info(Some((&more, Some("7")))).is_some());
    }
}
