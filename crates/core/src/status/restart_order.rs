//! The files by which an agent orders a restart of its host's container runtime, and by which the
//! host process reports the result.
//!
//! `order.json` may hold a credential. Errors therefore quote none of its content.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::NodeRevision;
use crate::{
    control::effective::{Effective, Origin},
    mirror::Fallback,
};

/// A declaration whose application needs a restart of the runtime: the content of `order.json`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartOrder {
    /// Number of the declaration.
    #[serde(rename = "number")]
    pub number: u64,
    /// Source of the declaration.
    #[serde(rename = "source")]
    pub origin: Origin,
    /// Text of the declaration, with the credential unless it is withheld from nodes; empty for
    /// [`Origin::None`].
    #[serde(rename = "declaration")]
    pub declaration: String,
    /// Requests to the public registry after the mirrors.
    #[serde(rename = "fallback", serialize_with = "write_name", deserialize_with = "read_name")]
    pub fallback: Fallback,
    /// Name of the runtime on the command line of image-swap, such as `containerd`.
    #[serde(rename = "runtime")]
    pub runtime: String,
}

/// The result of a [`RestartOrder`]: the content of `result.json`. Holds no credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartResult {
    /// Number of the declaration in the order.
    #[serde(rename = "number")]
    pub number: u64,
    /// Outcome of the order.
    #[serde(rename = "outcome")]
    pub outcome: RestartOutcome,
    /// Facts about the restart, or the reason of a failure, for people.
    #[serde(rename = "message")]
    pub message: String,
}

/// The outcome of a [`RestartOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartOutcome {
    /// The declaration is in force.
    #[serde(rename = "applied")]
    Applied,
    /// The order was refused, and nothing was changed.
    #[serde(rename = "refused")]
    Refused,
    /// The change failed, and the host is as before.
    #[serde(rename = "rolled-back")]
    RolledBack,
    /// The change failed, and a part of it could not be rolled back.
    #[serde(rename = "broken")]
    Broken,
}

/// The reason why a file of an order cannot be read. Quotes none of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a file of another form at line {line}, column {column}; another release of \
     image-swap may have written it"
)]
pub struct RestartFileError {
    /// Line of the error, from 1.
    pub line: usize,
    /// Column of the error, from 1.
    pub column: usize,
}

impl RestartOrder {
    /// Returns the order that applies `revision` on a host with this runtime.
    pub fn new(revision: &NodeRevision, runtime: &str) -> Self {
        let NodeRevision { number, effective, fallback } = revision;
        Self {
            number: *number,
            origin: effective.origin,
            declaration: effective.text(),
            fallback: *fallback,
            runtime: runtime.to_owned(),
        }
    }

    /// Returns the declaration to apply.
    pub fn effective(&self) -> Effective {
        Effective::parse(self.origin, &self.declaration)
    }

    /// Parses the content of `order.json`.
    ///
    /// # Errors
    /// The position of an error, without the content there.
    pub fn parse(bytes: &[u8]) -> Result<Self, RestartFileError> {
        serde_json::from_slice(bytes).map_err(|error| RestartFileError::at(&error))
    }

    /// Returns the content of `order.json`.
    pub fn text(&self) -> String {
        written(self)
    }
}

impl RestartResult {
    /// Parses the content of `result.json`.
    ///
    /// # Errors
    /// The position of an error, without the content there.
    pub fn parse(bytes: &[u8]) -> Result<Self, RestartFileError> {
        serde_json::from_slice(bytes).map_err(|error| RestartFileError::at(&error))
    }

    /// Returns the content of `result.json`.
    pub fn text(&self) -> String {
        written(self)
    }
}

impl RestartFileError {
    fn at(error: &serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

/// Omits the declaration, which may hold a credential.
impl fmt::Debug for RestartOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, origin, declaration: _, fallback, runtime } = self;
        f.debug_struct("RestartOrder")
            .field("number", number)
            .field("origin", origin)
            .field("fallback", fallback)
            .field("runtime", runtime)
            .finish_non_exhaustive()
    }
}

/// Returns a file as JSON. Numbers and texts always have a JSON form.
fn written(file: &impl Serialize) -> String {
    serde_json::to_string(file).unwrap_or_default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn write_name<S: Serializer>(fallback: &Fallback, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(fallback.as_str())
}

fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fallback, D::Error> {
    let name = String::deserialize(deserializer)?;
    Fallback::named(&name).ok_or_else(|| de::Error::custom("expected upstream or never"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::effective::SecretData;

    fn revision(origin: Origin) -> NodeRevision {
        let data = [("DOMAIN", "h.example.org"), ("PASSWORD", "s3cret")];
        let data = data.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec()));
        let secret = SecretData { kind: "Opaque".into(), data: data.into() };
        NodeRevision {
            number: 7,
            effective: Effective { origin, secret },
            fallback: Fallback::Never,
        }
    }

    #[test]
    fn every_name_of_an_order_is_kept() {
        let revision = revision(Origin::RegistryInfo);
        let order = RestartOrder::new(&revision, "containerd");
        let written = json!({
            "number": 7, "source": "registry-info", "declaration": revision.effective.text(),
            "fallback": "never", "runtime": "containerd",
        });
        let value: serde_json::Value = serde_json::from_str(&order.text()).unwrap();
        assert_eq!(value, written);
        assert_eq!(RestartOrder::parse(order.text().as_bytes()), Ok(order.clone()));
        assert_eq!(order.effective(), revision.effective);
    }

    #[test]
    fn every_name_of_a_result_is_kept() {
        for (outcome, name) in [
            (RestartOutcome::Applied, "applied"),
            (RestartOutcome::Refused, "refused"),
            (RestartOutcome::RolledBack, "rolled-back"),
            (RestartOutcome::Broken, "broken"),
        ] {
            let result = RestartResult { number: 7, outcome, message: "m".into() };
            let written = format!(r#"{{"number":7,"outcome":"{name}","message":"m"}}"#);
            assert_eq!(result.text(), written);
            assert_eq!(RestartResult::parse(written.as_bytes()), Ok(result));
        }
    }

    #[test]
    fn absent_declaration_is_ordered_too() {
        let order = RestartOrder::new(&revision(Origin::None), "k3s");
        assert_eq!(order.declaration, "");
        assert_eq!(order.effective().origin, Origin::None);
    }

    #[test]
    fn credential_is_in_no_error() {
        let text = RestartOrder::new(&revision(Origin::Chart), "crio").text();
        for broken in [
            text.replace("\"number\":7", "\"number\":\"s3cret\""),
            text.replace("\"chart\"", "\"s3cret\""),
            text.replace("\"never\"", "\"s3cret\""),
            text[..text.len() - 1].to_owned(),
        ] {
            let error = RestartOrder::parse(broken.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(error.to_string().contains("line 1, column"), "{error}");
        }
        let order = RestartOrder::parse(text.as_bytes()).unwrap();
        assert!(!format!("{order:?}").contains("s3cret"), "{order:?}");
    }
}
