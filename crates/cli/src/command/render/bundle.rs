//! `image-swap render bundle`: prints the objects of a workload cluster.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use image_swap_core::{
    control::effective::{Effective, Origin, SecretData},
    declaration::{Declaration, DeclarationSource},
    fleet::bundle::{Bundle, BundleObject, BundleSlots},
};
use image_swap_text::{
    base64,
    yaml::{self, Tree},
};
use serde_json::{Value, json};

use crate::{
    command::slots::SlotArgs,
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
    #[command(flatten)]
    slots: SlotArgs,
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
        let served = self.slots.served();
        let slots = BundleSlots {
            api_server: self.slots.api_server.as_deref(),
            policy: self.slots.policy.as_deref(),
            ..BundleSlots::new(&self.namespace, (self.revision, &declaration), &served)
        };
        let mut printed = String::new();
        for mut object in bundle.fill(&slots).map_err(|error| unusable(&error))? {
            if !self.show_credentials {
                redact(&mut object);
            }
            printed.push_str("---\n");
            printed.push_str(&yaml::print(&object.value));
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
    if object.kind != "Secret" {
        return;
    }
    for field in ["data", "stringData"] {
        if let Some(data) = object.value.get_mut(field).and_then(Value::as_object_mut) {
            data.values_mut().for_each(|value| *value = json!(REDACTED));
        }
    }
}
