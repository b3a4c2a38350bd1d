//! The fields of Spectro Cloud Palette's format, from the Secret or from the chart's values.

use std::collections::BTreeMap;

use image_swap_text::{
    base64,
    position::Position,
    yaml::{NodeId, NodeKind, Style, Tree},
};
use strsim::osa_distance;

use crate::{
    diagnostic::{Code, Diagnostic},
    manifest,
};

/// A field of Palette's format, under its two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Domain,
    Name,
    Username,
    Password,
    BasePath,
    Insecure,
    CaCert,
    Hosts,
    Mirrors,
}

/// The two tables of Palette's format, and the key that image-swap adds to them. Each row has
/// the key in the Secret, the key in the values, and true for a required key.
pub(super) const TABLE: [(Field, Option<&str>, &str, bool); 9] = [
    (Field::Domain, Some("DOMAIN"), "endpoint", true),
    (Field::Name, None, "name", true),
    (Field::Username, Some("USERNAME"), "username", false),
    (Field::Password, Some("PASSWORD"), "password", false),
    (Field::BasePath, Some("BASE_PATH"), "baseContentPath", true),
    (Field::Insecure, Some("INSECURE"), "insecureSkipVerify", true),
    (Field::CaCert, Some("CA_CERT"), "caCert", false),
    (Field::Hosts, Some("CREDENTIAL_HOSTS"), "credentialHosts", false),
    (Field::Mirrors, Some("MIRROR_REGISTRIES"), "mirrorRegistries", true),
];

/// The beginning of every placeholder in Palette's documentation.
const PLACEHOLDER: &str = "REPLACE_WITH_";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyNames {
    Secret,
    Values,
}

impl KeyNames {
    pub(super) fn key(self, field: Field) -> Option<&'static str> {
        let row = TABLE.iter().find(|row| row.0 == field)?;
        match self {
            Self::Secret => row.1,
            Self::Values => Some(row.2),
        }
    }

    pub(super) fn field(self, key: &str) -> Option<Field> {
        let named = |row: &&(Field, _, _, _)| self.key(row.0) == Some(key);
        TABLE.iter().find(named).map(|row| row.0)
    }
}

/// The position of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FieldPosition {
    pub(super) position: Position,
    /// The key in whose decoded value the position is; [`None`] in a file.
    pub(super) key: Option<&'static str>,
}

impl From<Position> for FieldPosition {
    fn from(position: Position) -> Self {
        Self { position, key: None }
    }
}

/// The decoded value of a field.
#[derive(Clone, Copy)]
pub(super) struct GivenField<'a> {
    pub(super) key: &'static str,
    pub(super) text: &'a str,
    pub(super) place: FieldPosition,
}

impl GivenField<'_> {
    /// Returns the error `message` about this field. The message contains neither user name nor
    /// password.
    pub(super) fn refused(&self, message: &str) -> Diagnostic {
        unusable(self.place, format!("{}: {message}", self.key))
    }
}

/// The decoded fields of a declaration, not yet checked.
pub(super) struct DeclaredFields {
    pub(super) names: KeyNames,
    /// Position of the beginning of the block of fields.
    place: FieldPosition,
    given: BTreeMap<Field, (String, FieldPosition)>,
    /// Unknown keys that look like the key of a field, as written.
    mistyped: BTreeMap<Field, (String, FieldPosition)>,
    pub(super) findings: Vec<Diagnostic>,
}

pub(super) fn unusable(place: impl Into<FieldPosition>, message: impl Into<String>) -> Diagnostic {
    let FieldPosition { position, key } = place.into();
    Diagnostic::error(Code::Unusable, position, message).within(key)
}

pub(super) fn warning(code: Code, place: FieldPosition, message: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(code, place.position, message).within(place.key)
}

pub(super) fn refuse_repeated(tree: &Tree<'_>, mapping: NodeId) -> Result<(), Diagnostic> {
    let mut seen = std::collections::HashSet::new();
    for (key, _) in tree.entries(mapping) {
        let name = tree.scalar(*key).unwrap_or_default();
        if !seen.insert(name) {
            let place = tree.node(*key).place;
            return Err(unusable(place, format!("the key {} occurs twice", shown(name))));
        }
    }
    Ok(())
}

/// Returns `key` as messages quote it. In `{PASSWORD:"secret"}`, which lacks a space, the key
/// is the whole text, and is hidden.
fn shown(key: &str) -> &str {
    let is_name = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if is_name && !key.is_empty() { key } else { "(hidden)" }
}

/// Returns true if `found` may be a mistyped `key`: another case, or a letter or two that are
/// missing, added, replaced or swapped.
fn is_like(found: &str, key: &str) -> bool {
    let [found, key] = [found, key].map(str::to_ascii_lowercase);
    osa_distance(&found, &key) <= if key.len() < 6 { 1 } else { 2 }
}

/// Returns true if the scalar `id` is a string or null to Kubernetes.
fn is_string(tree: &Tree<'_>, id: NodeId) -> bool {
    let node = tree.node(tree.resolve(id));
    match &node.kind {
        NodeKind::Scalar(value, Style::Plain) if !node.tagged && !tree.is_null(id) => {
            let value = value.strip_prefix(['-', '+']).unwrap_or(value);
            manifest::is_string(value) && !(value.starts_with('.') && value.parse::<f64>().is_ok())
        }
        _ => true,
    }
}

impl DeclaredFields {
    pub(super) fn new(names: KeyNames, place: Position) -> Self {
        Self {
            names,
            place: place.into(),
            given: BTreeMap::new(),
            mistyped: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    pub(super) fn unknown(&mut self, name: &str, position: Position) {
        let place = position.into();
        let mut known = TABLE.iter().filter_map(|row| Some((row.0, self.names.key(row.0)?)));
        let meant = known.find(|(_, known)| is_like(name, known));
        let hint = match meant {
            Some((field, known)) => {
                self.mistyped.entry(field).or_insert((shown(name).to_owned(), place));
                format!("did you mean {known}?")
            }
            None => "it is ignored".to_owned(),
        };
        let message = format!("unknown key {}", shown(name));
        self.findings.push(warning(Code::UnknownKey, place, message).hint(hint));
    }

    /// Reads every field of a block, whose values are base64 if `decode` is true.
    pub(super) fn take(
        &mut self,
        tree: &Tree<'_>,
        block: NodeId,
        decode: bool,
    ) -> Result<(), Diagnostic> {
        if !matches!(tree.node(tree.resolve(block)).kind, NodeKind::Mapping(_)) {
            let place = tree.node(block).place;
            let key = self.names.key(Field::Domain).unwrap_or_default();
            let message = format!("expected a mapping of keys such as {key}, found another value");
            return Err(unusable(place, message));
        }
        refuse_repeated(tree, block)?;
        self.place = tree.node(block).place.into();
        for &(key, value) in tree.entries(block) {
            let name = tree.scalar(key).unwrap_or_default();
            let Some(field) = self.names.field(name) else {
                self.unknown(name, tree.node(key).place);
                continue;
            };
            let place = tree.node(value).place.into();
            let Some(text) = tree.scalar(value) else {
                let message = format!("{name}: expected a string, found a mapping or a list");
                return Err(unusable(place, message));
            };
            if self.names == KeyNames::Secret && !is_string(tree, value) {
                let message = format!(
                    "{name}: expected a string, found a number or a boolean, which Kubernetes rejects"
                );
                return Err(unusable(place, message).hint("put it in quotes"));
            }
            // `KEY:` without a value is an empty value, as Kubernetes reads it.
            let text = if tree.is_null(value) { "" } else { text };
            let text = if decode { decoded(name, text, place)? } else { text.to_owned() };
            self.insert(field, name, text, place)?;
        }
        Ok(())
    }

    pub(super) fn insert(
        &mut self,
        field: Field,
        name: &str,
        text: String,
        place: FieldPosition,
    ) -> Result<(), Diagnostic> {
        if text.trim_start().starts_with(PLACEHOLDER) {
            let message = format!("{name}: expected a value, found the placeholder {PLACEHOLDER}…");
            let hint = "replace it with the value of your registry, or leave an optional key empty";
            return Err(unusable(place, message).hint(hint));
        }
        self.given.insert(field, (text, place));
        Ok(())
    }

    /// Returns the key of the rules.
    pub(super) fn mirrors_key(&self) -> &'static str {
        self.names.key(Field::Mirrors).unwrap_or_default()
    }

    pub(super) fn get(&self, field: Field) -> Option<GivenField<'_>> {
        let key = self.names.key(field)?;
        self.given.get(&field).map(|(text, place)| GivenField { key, text, place: *place })
    }

    pub(super) fn required(&self, field: Field) -> Result<GivenField<'_>, Diagnostic> {
        let found = self.get(field);
        // A base path may be the registry's root; nothing else can be empty.
        let may_be_empty = matches!(field, Field::BasePath | Field::Name);
        found.filter(|found| may_be_empty || !found.text.trim().is_empty()).ok_or_else(|| {
            let key = self.names.key(field).unwrap_or_default();
            match (found, self.mistyped.get(&field)) {
                (Some(found), _) => {
                    unusable(found.place, format!("the required key {key} is empty"))
                }
                (None, Some((found, place))) => {
                    unusable(*place, format!("the required key {key} is missing, found {found}"))
                }
                (None, None) => unusable(self.place, format!("the required key {key} is missing")),
            }
        })
    }
}

fn decoded(name: &str, text: &str, place: FieldPosition) -> Result<String, Diagnostic> {
    let encoded: String = text.split_whitespace().collect();
    let bytes = base64::decode(encoded).ok_or_else(|| {
        unusable(place, format!("{name}: invalid base64")).hint("put plain text under stringData")
    })?;
    in_utf8(name, bytes, place)
}

pub(super) fn in_utf8(
    name: &str,
    bytes: Vec<u8>,
    place: FieldPosition,
) -> Result<String, Diagnostic> {
    String::from_utf8(bytes).map_err(|_| unusable(place, format!("{name}: invalid UTF-8")))
}
