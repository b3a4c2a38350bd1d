//! The fields of Spectro Cloud Palette's format, from the Secret or from the chart's values.

use std::collections::BTreeMap;

use image_swap_text::{
    base64,
    position::Position,
    yaml::{NodeId, NodeKind, Style, Tree},
};
use strsim::osa_distance;

use super::{
    certificate::{Certificates, UnixTime},
    credential::Credential,
    host::HostPattern,
    registry::Registry,
};
use crate::{
    diagnostic::{Code, Diagnostic, Severity},
    labels::{JET_SYSTEM, REGISTRY_INFO},
    lint::sort_findings,
    manifest,
    reference::{is_domain, is_path},
    rule::Target,
};

/// A field of Palette's format, under its two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
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
const TABLE: [(Field, Option<&str>, &str, bool); 9] = [
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

/// The top-level keys of a Secret.
const KNOWN: [&str; 7] =
    ["apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable"];

/// Type of the Secret.
const OPAQUE: &str = "Opaque";

/// Name of the block in the chart's values.
const BLOCK: &str = "ociImageRegistry";

/// Paths of the block: at top level, and in objects of any kind below `config` or `spec`.
const BLOCKS: [&[&str]; 3] = [&[BLOCK], &["config", BLOCK], &["spec", BLOCK]];

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyNames {
    Secret,
    Values,
}

impl KeyNames {
    fn key(self, field: Field) -> Option<&'static str> {
        let row = TABLE.iter().find(|row| row.0 == field)?;
        match self {
            Self::Secret => row.1,
            Self::Values => Some(row.2),
        }
    }

    fn field(self, key: &str) -> Option<Field> {
        let named = |row: &&(Field, _, _, _)| self.key(row.0) == Some(key);
        TABLE.iter().find(named).map(|row| row.0)
    }
}

/// The position of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FieldPosition {
    position: Position,
    /// The key in whose decoded value the position is; [`None`] in a file.
    key: Option<&'static str>,
}

impl From<Position> for FieldPosition {
    fn from(position: Position) -> Self {
        Self { position, key: None }
    }
}

/// The decoded value of a field.
#[derive(Clone, Copy)]
struct GivenField<'a> {
    key: &'static str,
    text: &'a str,
    place: FieldPosition,
}

impl GivenField<'_> {
    /// Returns the error `message` about this field. The message contains neither user name nor
    /// password.
    fn refused(&self, message: &str) -> Diagnostic {
        unusable(self.place, format!("{}: {message}", self.key))
    }
}

/// The decoded fields of a declaration, not yet checked.
pub(super) struct DeclaredFields {
    names: KeyNames,
    /// Position of the beginning of the block of fields.
    place: FieldPosition,
    given: BTreeMap<Field, (String, FieldPosition)>,
    /// Unknown keys that look like the key of a field, as written.
    mistyped: BTreeMap<Field, (String, FieldPosition)>,
    findings: Vec<Diagnostic>,
}

fn unusable(place: impl Into<FieldPosition>, message: impl Into<String>) -> Diagnostic {
    let FieldPosition { position, key } = place.into();
    Diagnostic::error(Code::Unusable, position, message).within(key)
}

fn warning(code: Code, place: FieldPosition, message: impl Into<String>) -> Diagnostic {
    Diagnostic::warning(code, place.position, message).within(place.key)
}

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

fn refuse_repeated(tree: &Tree<'_>, mapping: NodeId) -> Result<(), Diagnostic> {
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
    fn new(names: KeyNames, place: Position) -> Self {
        Self {
            names,
            place: place.into(),
            given: BTreeMap::new(),
            mistyped: BTreeMap::new(),
            findings: Vec::new(),
        }
    }

    fn unknown(&mut self, name: &str, position: Position) {
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
    fn take(&mut self, tree: &Tree<'_>, block: NodeId, decode: bool) -> Result<(), Diagnostic> {
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

    fn insert(
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

    fn get(&self, field: Field) -> Option<GivenField<'_>> {
        let key = self.names.key(field)?;
        self.given.get(&field).map(|(text, place)| GivenField { key, text, place: *place })
    }

    fn required(&self, field: Field) -> Result<GivenField<'_>, Diagnostic> {
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

    /// Checks the fields. Returns the registry, the text of the rules, and the findings.
    pub(super) fn registry(
        mut self,
        now: UnixTime,
    ) -> Result<(Registry, String, Vec<Diagnostic>), Diagnostic> {
        let mut findings = std::mem::take(&mut self.findings);
        for (field, ..) in TABLE.iter().filter(|row| row.3 && self.names.key(row.0).is_some()) {
            self.required(*field)?;
        }
        let (domain, plain_http) = domain(self.required(Field::Domain)?)?;
        let insecure = boolean(self.required(Field::Insecure)?)?;
        let base_path = self.get(Field::BasePath).map(base_path).transpose()?.unwrap_or_default();
        let text = |field| self.get(field).map_or("", |given| given.text);
        let ca = match self.get(Field::CaCert).filter(|given| !given.text.trim().is_empty()) {
            Some(given @ GivenField { key, text: pem, place }) => {
                let ca = Certificates::parse(pem)
                    .map_err(|error| unusable(place, format!("{key}: {error}")))?;
                check_ca(&ca, given, now, insecure, &mut findings);
                ca
            }
            None => Certificates::default(),
        };
        let hosts = self.get(Field::Hosts).map(hosts).transpose()?.unwrap_or_default();
        let password = self.get(Field::Password).map_or("", |it| password(it, &mut findings));
        let username = text(Field::Username).trim();
        if username.is_empty() && !password.is_empty() {
            findings.extend(self.password_without_username());
        }
        let registry = Registry {
            domain,
            name: self.get(Field::Name).map(|given| given.text.to_owned()),
            hosts,
            base_path,
            username: Credential::new(username.to_owned()),
            password: Credential::new(password.to_owned()),
            insecure,
            plain_http,
            ca,
        };
        let mirrors = text(Field::Mirrors).to_owned();
        sort_findings(&mut findings, |finding| (finding.place, None));
        Ok((registry, mirrors, findings))
    }

    /// Returns a warning about the password, which has no effect without a user name.
    fn password_without_username(&self) -> Option<Diagnostic> {
        let GivenField { key, place, .. } = self.get(Field::Password)?;
        let username = self.names.key(Field::Username)?;
        let message = format!("{key} has no effect, because {username} is empty");
        let hint = format!("set {username}; the user name of Amazon ECR is AWS");
        Some(warning(Code::PasswordWithoutUsername, place, message).hint(hint))
    }
}

fn decoded(name: &str, text: &str, place: FieldPosition) -> Result<String, Diagnostic> {
    let encoded: String = text.split_whitespace().collect();
    let bytes = base64::decode(encoded).ok_or_else(|| {
        unusable(place, format!("{name}: invalid base64")).hint("put plain text under stringData")
    })?;
    in_utf8(name, bytes, place)
}

fn in_utf8(name: &str, bytes: Vec<u8>, place: FieldPosition) -> Result<String, Diagnostic> {
    String::from_utf8(bytes).map_err(|_| unusable(place, format!("{name}: invalid UTF-8")))
}

/// Returns the password without line breaks at its end, and warns of them. `echo` adds one to
/// the input of `base64`, and no registry's password ends in one.
fn password<'t>(given: GivenField<'t>, findings: &mut Vec<Diagnostic>) -> &'t str {
    let GivenField { key, text, place } = given;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.len() < text.len() {
        let message = format!("{key} ends with a line break, which is removed");
        let hint = "encode it without one: printf %s PASSWORD | base64";
        findings.push(warning(Code::TrailingNewline, place, message).hint(hint));
    }
    password
}

/// Returns the hosts besides DOMAIN that the credential is declared for.
fn hosts(given: GivenField<'_>) -> Result<Vec<HostPattern>, Diagnostic> {
    let items = given.text.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty());
    let host = |(number, item)| {
        let hint = "write hosts of the declared registry, separated by commas, such as \
                    nexus.example.org:5001,*.registry.example.org";
        let message = || format!("item {number} is not a host");
        HostPattern::parse(item).ok_or_else(|| given.refused(&message()).hint(hint))
    };
    (1..).zip(items).map(host).collect()
}

/// Returns the host, and true if `http://` precedes it.
fn domain(given: GivenField<'_>) -> Result<(String, bool), Diagnostic> {
    let text = given.text.trim();
    let (scheme, host) = text.split_once("://").unwrap_or(("", text));
    let host = host.trim_end_matches('/');
    if is_domain(host) {
        // Targets, which the domain is compared with, are normalised in the same way.
        let domain = Target::parse(host);
        let domain = domain.map_or_else(|_| host.to_owned(), |t| t.domain().to_owned());
        return Ok((domain, scheme.eq_ignore_ascii_case("http")));
    }
    // Some administrators write `user:password@host` here.
    let found = match host {
        host if host.contains('@') => "a value with `@`",
        host if host.contains('/') => "a host with a path",
        _ => "another value",
    };
    let refused = given.refused(&format!("expected a host or host:port, found {found}"));
    Err(refused.hint("user name, password and path have their own keys"))
}

/// Returns the path of the images in the registry, empty for its root.
fn base_path(given: GivenField<'_>) -> Result<String, Diagnostic> {
    let path = given.text.trim().trim_matches('/');
    if path.is_empty() || is_path(path) {
        return Ok(path.to_owned());
    }
    // If a closing quote is missing, this value contains that of the next key.
    let hint = "write a path such as airgap-images: lowercase letters and digits, with . _ - or / \
                between them";
    Err(given.refused("expected a path in the registry, found another value").hint(hint))
}

/// Parses a boolean like Go's `strconv.ParseBool`, without its one-letter forms.
fn boolean(given: GivenField<'_>) -> Result<bool, Diagnostic> {
    match given.text.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(given.refused("expected true or false, found another value")),
    }
}

fn check_ca(
    ca: &Certificates,
    GivenField { key, place, .. }: GivenField<'_>,
    now: UnixTime,
    insecure: bool,
    findings: &mut Vec<Diagnostic>,
) {
    let ends = ca.not_after();
    let is_expired = |(_, end): &(usize, &UnixTime)| **end < now;
    let expired = (1..).zip(ends).filter(is_expired).map(|(number, _)| number.to_string());
    let expired: Vec<String> = expired.collect();
    if !expired.is_empty() {
        let message = format!(
            "{key}: {} of {} certificates expired (number {})",
            expired.len(),
            ends.len(),
            expired.join(", ")
        );
        // While one of the certificates is valid, the registry can still be trusted by it.
        let all = expired.len() == ends.len();
        let severity = if all { Severity::Error } else { Severity::Warning };
        let finding = Diagnostic::new(severity, Code::ExpiredCa, place.position, message);
        findings.push(finding.within(place.key).hint("add the CA's current certificate"));
    }
    if insecure {
        let message = format!("{key} has no effect, because certificates are not verified");
        let finding = warning(Code::InsecureWithCa, place, message);
        findings.push(finding.hint("set INSECURE (insecureSkipVerify) to false"));
    }
}
