//! Objects and data from which the fields of a declaration are read.

use std::collections::BTreeMap;

use image_swap_text::{
    position::Position,
    yaml::{NodeId, NodeKind, Tree},
};

use super::fields::{
    DeclaredFields, Field, FieldPosition, KeyNames, in_utf8, refuse_repeated, unusable,
};
use crate::{
    diagnostic::Diagnostic,
    labels::{JET_SYSTEM, REGISTRY_INFO},
};

/// The top-level keys of a Secret.
const KNOWN: [&str; 7] =
    ["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];

/// Type of the Secret.
const OPAQUE: &str = "Opaque";

/// Name of the block in the chart's values.
const BLOCK: &str = "ociImageRegistry";

/// Paths of the block: at top level, and in objects of any kind below `config` or `spec`.
const BLOCKS: [&[&str]; 3] = [&[BLOCK], &["config", BLOCK], &["spec", BLOCK]];

/// Returns the fields of `data`, the decoded data of a stored Secret of the type `kind`; an
/// empty type is the API server's default.
pub(super) fn of_data(
    kind: &str,
    data: &BTreeMap<String, Vec<u8>>,
) -> Result<DeclaredFields, Diagnostic> {
    if !matches!(kind, "" | OPAQUE) {
        return Err(wrong_value(Position::START, "type", OPAQUE, kind));
    }
    let mut fields = DeclaredFields::new(KeyNames::Secret, Position::START);
    for (key, value) in data {
        let Some(field) = KeyNames::Secret.field(key) else {
            fields.unknown(key, Position::START);
            continue;
        };
        let place = FieldPosition { position: Position::START, key: KeyNames::Secret.key(field) };
        fields.insert(field, key, in_utf8(key, value.clone(), place)?, place)?;
    }
    Ok(fields)
}

/// Returns true if the object `node` has this kind.
pub(super) fn is_kind(tree: &Tree<'_>, node: NodeId, kind: &str) -> bool {
    tree.get(node, "kind").and_then(|id| tree.scalar(id)) == Some(kind)
}

/// Returns the fields of the only Secret among the documents.
pub(super) fn of_secret(tree: &Tree<'_>) -> Result<DeclaredFields, Diagnostic> {
    let documents = || tree.documents.iter().copied().filter(|id| !tree.is_null(*id));
    let mut secrets = documents().filter(|id| is_kind(tree, *id, "Secret"));
    let secret = secrets.next().or_else(|| documents().next());
    let Some(secret) = secret else {
        let message = "expected the Secret registry-info, found an empty document";
        return Err(unusable(Position::START, message));
    };
    if let Some(second) = secrets.next() {
        let place = tree.node(second).place;
        return Err(unusable(place, "expected one Secret, found a second"));
    }
    of_secret_object(tree, secret)
}

pub(super) fn of_secret_object(
    tree: &Tree<'_>,
    secret: NodeId,
) -> Result<DeclaredFields, Diagnostic> {
    let place = tree.node(secret).place;
    refuse_flat(tree, secret, KeyNames::Secret, &[&["stringData"], &["data"]])?;
    expect(tree, secret, &["apiVersion"], "v1")?;
    expect(tree, secret, &["kind"], "Secret")?;
    expect(tree, secret, &["metadata", "name"], REGISTRY_INFO)?;
    expect(tree, secret, &["metadata", "namespace"], JET_SYSTEM)?;
    // A missing type is the API server's default.
    if tree.get(secret, "type").is_some_and(|id| !tree.is_null(id)) {
        expect(tree, secret, &["type"], OPAQUE)?;
    }
    let mut fields = DeclaredFields::new(KeyNames::Secret, place);
    for &(key, _) in tree.entries(secret) {
        let name = tree.scalar(key).unwrap_or_default();
        if !KNOWN.contains(&name) {
            fields.unknown(name, tree.node(key).place);
        }
    }
    refuse_repeated(tree, secret)?;
    // `stringData` wins over `data`, as in the API server.
    for (block, decode) in [("data", true), ("stringData", false)] {
        if let Some(node) = tree.get(secret, block).filter(|id| !tree.is_null(*id)) {
            fields.take(tree, node, decode)?;
        }
    }
    Ok(fields)
}

/// Returns the fields of the values' block at top level or under `config`.
pub(super) fn of_values(tree: &Tree<'_>) -> Result<DeclaredFields, Diagnostic> {
    let mut documents = tree.documents.iter().copied().filter(|id| !tree.is_null(*id));
    let Some(values) = documents.next() else {
        let message = format!("expected values with {BLOCK}, found an empty document");
        return Err(unusable(Position::START, message));
    };
    if let Some(second) = documents.next() {
        let place = tree.node(second).place;
        return Err(unusable(place, "expected one document of values, found a second"));
    }
    of_values_object(tree, values)
}

pub(super) fn of_values_object(
    tree: &Tree<'_>,
    values: NodeId,
) -> Result<DeclaredFields, Diagnostic> {
    let place = tree.node(values).place;
    if !matches!(tree.node(tree.resolve(values)).kind, NodeKind::Mapping(_)) {
        return Err(unusable(
            place,
            "expected a mapping with ociImageRegistry, found another value",
        ));
    }
    refuse_repeated(tree, values)?;
    refuse_flat(tree, values, KeyNames::Values, &BLOCKS)?;
    let mut blocks = BLOCKS.iter().filter_map(|path| at(tree, values, path));
    let Some(block) = blocks.next() else {
        let message = format!("{BLOCK} is missing: expected at top level or under config");
        return Err(unusable(place, message));
    };
    if let Some(second) = blocks.next() {
        let message = format!("expected {BLOCK} once, found it at top level and under config");
        return Err(unusable(tree.node(second).place, message));
    }
    let place = tree.node(block).place;
    let mut fields = DeclaredFields::new(KeyNames::Values, place);
    fields.take(tree, block, false)?;
    Ok(fields)
}

/// Returns an error unless the value at `path` is `expected`.
fn expect(tree: &Tree<'_>, root: NodeId, path: &[&str], expected: &str) -> Result<(), Diagnostic> {
    let mut node = root;
    for key in path {
        let Some(next) = tree.get(node, key) else {
            let place = tree.node(node).place;
            let message = format!("{} is missing: expected {expected}", path.join("."));
            return Err(unusable(place, message).hint(FIXED));
        };
        node = next;
    }
    let found = tree.scalar(node).unwrap_or("a mapping or a list");
    if found == expected {
        return Ok(());
    }
    Err(wrong_value(tree.node(node).place, &path.join("."), expected, found))
}

/// The remedy for a Secret with another kind, name, namespace or type.
const FIXED: &str = "Spectro Cloud Palette's format (\"Override Registry Configuration\") requires \
                     apiVersion v1, kind Secret, name registry-info, namespace jet-system and \
                     type Opaque";

/// Returns the error about the value `found` at `path`.
fn wrong_value(position: Position, path: &str, expected: &str, found: &str) -> Diagnostic {
    unusable(position, format!("expected {path}: {expected}, found {found}")).hint(FIXED)
}

/// Returns the node at `path` unless it is null.
fn at(tree: &Tree<'_>, root: NodeId, path: &[&str]) -> Option<NodeId> {
    let found = path.iter().try_fold(root, |node, key| tree.get(node, key))?;
    (!tree.is_null(found)).then_some(found)
}

/// Returns an error if the text lost its indentation when it was copied: the block is empty,
/// and its fields are beside it.
fn refuse_flat(
    tree: &Tree<'_>,
    root: NodeId,
    names: KeyNames,
    blocks: &[&[&str]],
) -> Result<(), Diagnostic> {
    if blocks.iter().any(|path| at(tree, root, path).is_some()) {
        return Ok(());
    }
    let other_key = tree.entries(root).iter().find(|(key, _)| {
        let field = tree.scalar(*key).and_then(|key| names.field(key));
        // `name` is too common a key to be evidence.
        field.is_some_and(|field| field != Field::Name)
    });
    let Some((key, _)) = other_key else { return Ok(()) };
    let name = tree.scalar(*key).unwrap_or_default();
    let block = blocks[0].join(".");
    let message = format!("expected {name} below {block}, found it at top level");
    let hint = "copied from a web page without its indentation? indent the lines below each \
                `key:` by two spaces";
    Err(unusable(tree.node(*key).place, message).hint(hint))
}
