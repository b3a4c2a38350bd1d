//! `image-swap render bundle`: prints the objects of a workload cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    declaration::{Declaration, DeclarationSource},
    fleet::bundle::{Bundle, BundleObject, BundleSlots, is_policy},
};
use image_swap_text::{base64, yaml::Tree};
use serde_json::{Value, json};

use crate::{
    declaration::{DeclarationUse, now, refused, serving},
    failure::Failure,
    output, text,
};

/// Replacement of a redacted credential. It is no base64, so that no API server accepts it.
const REDACTED: &str = "<redacted>";

const EXAMPLES: &str = "\
Examples:
  kubectl get configmap image-swap-fleet-bundle -n image-swap-fleet \\
    -o jsonpath='{.data.bundle\\.yaml}' > bundle.yaml
  image-swap render bundle --bundle bundle.yaml -f examples/registry-secret.yaml
  image-swap render bundle --bundle bundle.yaml -f examples/registry-secret.yaml \\
    --api-server 10.0.0.1:6443 --policy audit --served monitoring.coreos.com/v1";

/// Arguments of `render bundle`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The file bundle.yaml of the `ConfigMap` RELEASE-fleet-bundle; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// The Secret registry-info, YAML or JSON.
    #[arg(short = 'f', long, visible_alias = "registry-info", value_name = "FILE")]
    filename: PathBuf,
    /// The namespace of the release in the workload cluster.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "image-swap")]
    namespace: String,
    /// The address of the API server for agents, HOST or HOST:PORT. Default: the Service kubernetes.
    #[arg(long, value_name = "ADDRESS")]
    api_server: Option<String>,
    /// The value `policy` of the chart. Default: that of the bundle.
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    policy: Option<String>,
    /// An API that the workload cluster serves beside those of Kubernetes, as GROUP/VERSION. Can be
    /// repeated.
    #[arg(long, value_name = "GROUP/VERSION")]
    served: Vec<String>,
    /// The number of the declaration, in the annotation image-swap.io/revision.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    revision: u64,
    /// Print the data of Secrets. Without it the objects cannot be applied.
    #[arg(long)]
    show_credentials: bool,
}

impl Args {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let bundle = read(&self.bundle)?;
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::Unusable(format!("{}: {error}", self.bundle.display()))
        };
        let bundle = Bundle::parse(&bundle).map_err(|error| unusable(&error))?;
        let declaration = self.declaration()?;
        let served: BTreeSet<String> = self.served.iter().cloned().collect();
        let slots = BundleSlots {
            namespace: &self.namespace,
            declaration: &declaration,
            revision: self.revision,
            api_server: self.api_server.as_deref(),
            policy: self.policy.as_deref(),
            served: &served,
        };
        let mut printed = String::new();
        for mut object in bundle.fill(&slots).map_err(|error| unusable(&error))? {
            if !self.show_credentials {
                redact(&mut object);
            }
            printed.push_str("---\n");
            document(&object.value, &mut printed);
        }
        output::print(printed.as_bytes())
    }

    /// Reads the declaration.
    fn declaration(&self) -> Result<Effective, Failure> {
        let text = read(&self.filename)?;
        let name = self.filename.display().to_string();
        let source = DeclarationSource::RegistryInfo;
        let declaration = Declaration::read(source, &text, now());
        let declaration = declaration.map_err(|error| refused(&name, &error, None))?;
        serving(&name, declaration, DeclarationUse::Nodes)?;
        let secret = secret(&text).ok_or_else(|| {
            Failure::Unusable(format!("{name}: expected a Secret with data or stringData"))
        })?;
        Ok(Effective { origin: Origin::RegistryInfo, secret })
    }
}

/// Reads the file `path` as text.
fn read(path: &Path) -> Result<String, Failure> {
    let bytes =
        text::read(path).map_err(|error| Failure::Unusable(Failure::file("read", path, &error)))?;
    let invalid = || {
        let reason = if text::is_utf16(&bytes) { text::UTF_16 } else { "the text is not UTF-8" };
        Failure::Unusable(format!("{}: {reason}", path.display()))
    };
    String::from_utf8(bytes.clone()).map_err(|_| invalid())
}

/// Returns the data of the Secret in `text`; `None` if it is invalid.
fn secret(text: &str) -> Option<SecretData> {
    let tree = Tree::parse(text).ok()?;
    let is_secret = |id| tree.get(id, "kind").and_then(|kind| tree.scalar(kind)) == Some("Secret");
    let secret = tree.documents.iter().copied().find(|id| is_secret(*id))?;
    let mut data = BTreeMap::new();
    let mut take = |key, decode: fn(&str) -> Option<Vec<u8>>| -> Option<()> {
        for (key, value) in tree.get(secret, key).map_or(&[][..], |id| tree.entries(id)) {
            let key = tree.scalar(*key)?.to_owned();
            let value = if tree.is_null(*value) { "" } else { tree.scalar(*value)? };
            data.insert(key, decode(value)?);
        }
        Some(())
    };
    take("data", |value| base64::decode(value.replace(['\n', '\r'], "")))?;
    take("stringData", |value| Some(value.as_bytes().to_vec()))?;
    let kind = tree.get(secret, "type").and_then(|kind| tree.scalar(kind));
    Some(SecretData { kind: kind.unwrap_or_default().to_owned(), data })
}

/// Removes the data of a Secret.
fn redact(object: &mut BundleObject) {
    if object.kind == "Secret"
        && let Some(data) = object.value["data"].as_object_mut()
    {
        data.values_mut().for_each(|value| *value = json!(REDACTED));
    }
}

/// Parses the value `policy` of the chart.
fn policy(text: &str) -> Result<String, String> {
    let expected = || "expected fail, ignore or audit".to_owned();
    is_policy(text).then(|| text.to_owned()).ok_or_else(expected)
}

/// Appends `value`, an object, as a document of YAML.
fn document(value: &Value, out: &mut String) {
    if let Value::Object(fields) = value {
        for (key, value) in fields {
            out.push_str(&scalar(key));
            out.push(':');
            append(value, 0, out);
        }
    }
}

/// Appends `value` behind a key or a hyphen, whose column is `indent`.
fn append(value: &Value, indent: usize, out: &mut String) {
    let blank = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            out.push('\n');
            for (key, value) in fields {
                let _ = write!(out, "{blank}  {}:", scalar(key));
                append(value, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                let _ = write!(out, "{blank}  -");
                append_item(item, indent + 2, out);
            }
        }
        Value::String(text) if is_block(text) => {
            out.push_str(if text.ends_with('\n') { " |\n" } else { " |-\n" });
            for line in text.lines() {
                let _ =
                    if line.is_empty() { writeln!(out) } else { writeln!(out, "{blank}  {line}") };
            }
        }
        Value::String(text) => {
            let _ = writeln!(out, " {}", scalar(text));
        }
        other => {
            let _ = writeln!(out, " {other}");
        }
    }
}

/// Appends `item` behind a hyphen in the column `indent`. The first field is on the same line.
fn append_item(item: &Value, indent: usize, out: &mut String) {
    let Value::Object(fields) = item else { return append(item, indent, out) };
    if fields.is_empty() {
        out.push_str(" {}\n");
    }
    for (number, (key, value)) in fields.iter().enumerate() {
        let start = if number == 0 { " ".to_owned() } else { " ".repeat(indent + 2) };
        let _ = write!(out, "{start}{}:", scalar(key));
        append(value, indent + 2, out);
    }
}

/// Returns true if `text` has lines that a literal block keeps.
fn is_block(text: &str) -> bool {
    let is_kept = |it: char| it == '\n' || (' '..='~').contains(&it);
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && !text.trim_end_matches('\n').is_empty()
        && text.chars().all(is_kept)
}

/// Returns `text` as a scalar: plain if every reader takes it for a string, else quoted.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 12] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "infinity"];
    let is_plain = text.starts_with(|it: char| it.is_ascii_alphabetic())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"._-/".contains(&it))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn documents_are_block_yaml() {
        let value = json!({
            "kind": "X",
            "a": [{ "b": 1, "c": ["x", "1"] }, {}, [], "yes"],
            "d": { "e": "l1\nl2\n", "f": "l1\n\nl2", "g": {}, "h": null, "i": true, "j": ": x" },
        });
        let mut out = String::new();
        document(&value, &mut out);
        let expected = "\
a:
  - b: 1
    c:
      - x
      - \"1\"
  - {}
  - []
  - \"yes\"
d:
  e: |
    l1
    l2
  f: |-
    l1

    l2
  g: {}
  h: null
  i: true
  j: \": x\"
kind: X
";
        assert_eq!(out, expected);
    }

    /// Returns the node `id` of `tree`, every scalar as text.
    fn texts(tree: &Tree<'_>, id: image_swap_text::yaml::NodeId) -> Value {
        use image_swap_text::yaml::NodeKind;
        match &tree.node(id).kind {
            NodeKind::Mapping(entries) => entries
                .iter()
                .map(|(key, value)| (tree.scalar(*key).unwrap().to_owned(), texts(tree, *value)))
                .collect(),
            NodeKind::Sequence(items) => items.iter().map(|it| texts(tree, *it)).collect(),
            _ => Value::from(tree.scalar(id).unwrap()),
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[ -~\n]{0,20}", "[a-z]{1,5}"];
        let leaf = text.prop_map(Value::from);
        leaf.prop_recursive(3, 24, 4, |inner| {
            let keys = prop_oneof![any::<String>(), "[a-z]{1,5}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(keys, inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn printed_documents_read_the_same(value in values()) {
            let value = json!({ "value": value });
            let mut out = String::new();
            document(&value, &mut out);
            let tree = Tree::parse(&out).unwrap();
            prop_assert_eq!(texts(&tree, tree.documents[0]), value, "{}", out);
        }
    }
}
