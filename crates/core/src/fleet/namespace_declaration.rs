//! Declarations of namespaces with clusters, from their Secrets `registry-info`.

use std::sync::Arc;

use crate::{
    control::effective::{self, Effective, Origin, SecretData},
    declaration::UnixTime,
    diagnostic::Diagnostic,
    status::StoredDeclaration,
};

/// Declaration of a namespace with clusters, in place of that of the management cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceDeclaration {
    /// Number of the last content: one more for each.
    pub revision: u64,
    /// Last valid content of the Secret; `None` without one since the Secret exists.
    pub effective: Option<Arc<Effective>>,
    /// Reason to refuse the present content of the Secret; `None` if it is valid or absent.
    pub refused: Option<String>,
}

impl NamespaceDeclaration {
    /// Reads the declaration with the number `revision` from the Secret whose values `value` returns
    /// by key. Values that image-swap did not write are no declaration.
    pub fn read<'v>(revision: u64, value: impl Fn(&str) -> Option<&'v str>) -> Self {
        let stored = StoredDeclaration::read(value).map(|StoredDeclaration(it)| it);
        let effective = stored.filter(|it| it.origin == Origin::RegistryInfo).map(Arc::new);
        Self { revision, effective, refused: None }
    }

    /// Returns what is stored.
    pub fn stored(&self) -> StoredDeclaration {
        StoredDeclaration(self.effective.as_deref().map_or_else(Effective::none, Effective::clone))
    }

    /// Returns true if the Secret of `other` has the same content.
    pub fn is_stored_as(&self, other: &Self) -> bool {
        self.revision == other.revision && self.effective == other.effective
    }

    /// Returns the declaration once the Secret has the content `present`; `None` if it does not
    /// exist. Invalid content changes no declaration, and deleted content is forgotten.
    #[must_use]
    pub fn after(&self, present: Option<&SecretData>, now: UnixTime) -> Self {
        let last = self.effective.as_deref();
        let Some(present) = present else {
            return Self { effective: None, refused: None, ..self.clone() };
        };
        if let Some(reason) = refusal(present, last, now) {
            return Self { refused: Some(reason), ..self.clone() };
        }
        if last.is_some_and(|it| it.secret == *present) {
            return Self { refused: None, ..self.clone() };
        }
        let effective = Effective { origin: Origin::RegistryInfo, secret: present.clone() };
        Self { revision: self.revision + 1, effective: Some(Arc::new(effective)), refused: None }
    }
}

/// Returns the first error of `present`, whose last valid content is `last`; `None` if it is valid.
fn refusal(present: &SecretData, last: Option<&Effective>, now: UnixTime) -> Option<String> {
    let decision = effective::decide(Some(present), None, last, now);
    let refused = decision.about.into_iter().find(|it| it.refused)?;
    let error = refused.findings.into_iter().find(Diagnostic::is_error);
    Some(error.map_or_else(|| "no declaration".to_owned(), |it| it.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_800_000_000;

    fn secret(domain: &str, size: usize) -> SecretData {
        let data = [("DOMAIN", domain.to_owned()), ("MIRROR_REGISTRIES", "#".repeat(size))];
        let data = data.map(|(key, value)| (key.to_owned(), value.into_bytes()));
        SecretData { kind: "Opaque".into(), data: data.into() }
    }

    fn valid(domain: &str) -> SecretData {
        let mut secret = secret(domain, 0);
        let keys = [("BASE_PATH", ""), ("USERNAME", "u"), ("PASSWORD", "p"), ("INSECURE", "false")];
        let keys = keys.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        secret.data.extend(keys);
        let rule = format!("docker.io::{domain}/hub");
        secret.data.insert("MIRROR_REGISTRIES".into(), rule.into_bytes());
        secret
    }

    fn read(of: &NamespaceDeclaration) -> NamespaceDeclaration {
        let data = of.stored().data();
        NamespaceDeclaration::read(of.revision, |key| data.get(key).map(String::as_str))
    }

    #[test]
    fn changed_content_gets_the_next_number() {
        let first = NamespaceDeclaration::default().after(Some(&valid("a.example.org")), NOW);
        assert_eq!((first.revision, first.refused.clone()), (1, None));
        assert_eq!(first.effective.as_ref().unwrap().secret, valid("a.example.org"));
        assert_eq!(first.after(Some(&valid("a.example.org")), NOW), first);
        assert_eq!(read(&first), first);
        let second = read(&first).after(Some(&valid("b.example.org")), NOW);
        assert_eq!((second.revision, second.is_stored_as(&first)), (2, false));
    }

    #[test]
    fn invalid_content_changes_no_declaration() {
        let first = NamespaceDeclaration::default().after(Some(&valid("a.example.org")), NOW);
        for invalid in [secret("", 0), secret("a.example.org", 1024 * 1024)] {
            let refused = first.after(Some(&invalid), NOW);
            assert!(refused.is_stored_as(&first) && refused.refused.is_some(), "{refused:?}");
            assert_eq!(refused.after(Some(&valid("a.example.org")), NOW), first);
            let never = NamespaceDeclaration::default().after(Some(&invalid), NOW);
            assert!(never.effective.is_none() && never.refused.is_some(), "{never:?}");
        }
    }

    #[test]
    fn deleted_content_is_forgotten_with_its_credential() {
        let first = NamespaceDeclaration::default().after(Some(&valid("a.example.org")), NOW);
        let gone = first.after(None, NOW);
        assert_eq!((gone.revision, &gone.effective), (1, &None));
        assert_eq!(gone.stored().data()["declaration"], "");
        assert_eq!(read(&gone), gone);
        // The content of a deleted Secret does not come back by an invalid one.
        assert_eq!(gone.after(Some(&secret("", 0)), NOW).effective, None);
        assert_eq!(gone.after(Some(&valid("a.example.org")), NOW).revision, 2);
    }

    #[test]
    fn values_of_other_writers_are_skipped() {
        let none = NamespaceDeclaration { revision: 3, ..NamespaceDeclaration::default() };
        assert_eq!(NamespaceDeclaration::read(3, |_| None), none);
        assert_eq!(NamespaceDeclaration::read(3, |_| Some("chart")), none);
    }
}
