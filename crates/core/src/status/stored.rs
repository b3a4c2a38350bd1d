//! The Secrets in which the controller stores a declaration.

use std::collections::BTreeMap;

use crate::{
    admission::Mode,
    control::effective::{Effective, Origin},
};

/// Key of the declaration's text in both Secrets.
pub const DECLARATION: &str = "declaration";
const SOURCE: &str = "source";
const MODE: &str = "mode";
const PULL_SECRET: &str = "pull-secret";

/// Content of the Secret `N-last-good`: the declaration in force, credentials included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeclaration(pub Effective);

impl StoredDeclaration {
    /// Returns the data of the Secret.
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        let Self(effective) = self;
        BTreeMap::from([
            (DECLARATION, effective.text()),
            (SOURCE, effective.origin.as_str().to_owned()),
        ])
    }

    /// Reads the Secret whose values `value` returns by key; `None` if image-swap did not
    /// write it.
    pub fn read<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Option<Self> {
        let origin = Origin::named(value(SOURCE)?)?;
        Some(Self(Effective::parse(origin, value(DECLARATION)?)))
    }
}

/// Content of the Secret `N-effective`, which replicas follow. Holds no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedDeclaration {
    /// The declaration in force, without credentials.
    pub effective: Effective,
    /// Mode of admission; `None` if the controller does not set one.
    pub mode: Option<Mode>,
    /// True if replicas add the pull Secret to swapped pods.
    pub pull_secret: bool,
}

impl ServedDeclaration {
    /// Returns the data of the Secret.
    pub fn data(&self) -> BTreeMap<&'static str, String> {
        let mut data = StoredDeclaration(self.effective.without_credentials()).data();
        data.extend(self.mode.map(|mode| (MODE, mode.to_string())));
        data.insert(PULL_SECRET, self.pull_secret.to_string());
        data
    }

    /// Reads the Secret whose values `value` returns by key; `None` if image-swap did not
    /// write it.
    pub fn read<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Option<Self> {
        let StoredDeclaration(effective) = StoredDeclaration::read(&value)?;
        Some(Self {
            effective,
            mode: value(MODE).map(|mode| mode.parse().unwrap_or_default()),
            pull_secret: value(PULL_SECRET) == Some("true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use image_swap_testkit as testkit;
    use serde_json::json;

    use super::*;
    use crate::{control::effective::SecretData, labels};

    fn effective() -> Effective {
        let data = [("DOMAIN", "h.example.org"), ("PASSWORD", "s3cret")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        Effective { origin: Origin::RegistryInfo, secret }
    }

    #[test]
    fn every_key_is_kept() {
        let stored = StoredDeclaration(effective());
        let data = stored.data();
        assert_eq!(data.keys().copied().collect::<Vec<_>>(), ["declaration", "source"]);
        assert_eq!(data["source"], "registry-info");
        assert_eq!(data["declaration"], effective().text());
        let read = StoredDeclaration::read(|key| data.get(key).map(String::as_str));
        assert_eq!(read, Some(stored));

        for (mode, written) in [(Mode::Enforce, "enforce"), (Mode::Audit, "audit")] {
            let effective = effective().without_credentials();
            let served = ServedDeclaration { effective, mode: Some(mode), pull_secret: true };
            let data = served.data();
            let keys: Vec<&str> = data.keys().copied().collect();
            assert_eq!(keys, ["declaration", "mode", "pull-secret", "source"]);
            assert_eq!((&*data["mode"], &*data["pull-secret"]), (written, "true"));
            let read = ServedDeclaration::read(|key| data.get(key).map(String::as_str));
            assert_eq!(read, Some(served));
        }
    }

    #[test]
    fn testkit_writes_the_stored_form() {
        let keys = testkit::registry_keys("hub");
        let secret = testkit::last_good("image-swap", 7, keys.clone());
        let data = keys.map(|(key, value)| (key.to_owned(), value.into_bytes()));
        let data = SecretData { kind: "Opaque".into(), data: data.into() };
        let stored = StoredDeclaration(Effective { origin: Origin::RegistryInfo, secret: data });
        assert_eq!(secret["stringData"], json!(stored.data()));
        assert_eq!(secret["metadata"]["annotations"], json!({ labels::REVISION: "7" }));
    }

    // guarantee: 6c
    #[test]
    fn served_declaration_holds_no_credential() {
        let served = ServedDeclaration { effective: effective(), mode: None, pull_secret: false };
        let data = served.data();
        assert!(!data["declaration"].contains("s3cret"), "{data:?}");
        assert!(!data.contains_key("mode") && data["pull-secret"] == "false", "{data:?}");
    }

    #[test]
    fn source_has_three_names() {
        let names = [
            (Origin::RegistryInfo, "registry-info"),
            (Origin::Chart, "chart"),
            (Origin::None, "none"),
        ];
        for (origin, name) in names {
            assert_eq!((origin.as_str(), Origin::named(name)), (name, Some(origin)));
        }
    }
}
