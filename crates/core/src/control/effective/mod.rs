//! Decides on the effective declaration: `registry-info`, else the chart's, else none.
//!
//! An invalid declaration changes nothing: the last valid one stays effective, and the errors
//! are reported.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use image_swap_text::{base64, position::Position};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::{
    declaration::{Declaration, UnixTime},
    diagnostic::{Code, Diagnostic},
    labels::{JET_SYSTEM, REGISTRY_INFO},
};

/// The only keys that replicas receive. A list of allowed keys, so that a credential under
/// a misspelt key stays with the controller.
const SERVED: [&str; 6] =
    ["DOMAIN", "BASE_PATH", "INSECURE", "CA_CERT", "CREDENTIAL_HOSTS", "MIRROR_REGISTRIES"];

/// The keys that agents of nodes receive in addition, unless credentials are withheld.
const CREDENTIALS: [&str; 2] = ["USERNAME", "PASSWORD"];

/// The bytes of the longest text that can be kept. The API server stores 1 MiB of data in
/// a Secret, of which a kilobyte is left for the other keys.
const LONGEST: usize = 1024 * 1024 - 1024;

/// The source of a declaration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The Secret `registry-info` in `jet-system`.
    #[serde(rename = "registry-info")]
    RegistryInfo,
    /// The chart's values, or the Secret they name.
    #[serde(rename = "chart")]
    Chart,
    /// The absence of a declaration.
    #[default]
    #[serde(rename = "none")]
    None,
}

impl Origin {
    /// Returns the name in every output, and in the Secret that replicas follow.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RegistryInfo => REGISTRY_INFO,
            Self::Chart => "chart",
            Self::None => "none",
        }
    }

    /// Returns the origin called `name`; `None` for other names.
    pub fn named(name: &str) -> Option<Self> {
        [Self::RegistryInfo, Self::Chart, Self::None].into_iter().find(|it| it.as_str() == name)
    }
}

/// The data of a Secret, and its type.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretData {
    /// The field `type`; empty for the API server's default.
    pub kind: String,
    /// The field `data`, with its base64 decoded.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for SecretData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.data.keys().collect();
        formatter.debug_struct("SecretData").field("kind", &self.kind).field("keys", &keys).finish()
    }
}

/// A Secret in the form that [`SecretData::text`] writes.
#[derive(Deserialize)]
struct StoredSecret {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "stringData", default)]
    plain: BTreeMap<String, String>,
    #[serde(rename = "data", default)]
    data: BTreeMap<String, String>,
}

impl SecretData {
    /// Parses the output of [`Self::text`]; returns `None` for any other text.
    fn parse(text: &str) -> Option<Self> {
        let stored: StoredSecret = serde_json::from_str(text).ok()?;
        let bytes = |(key, value): (String, String)| Some((key, base64::decode(value)?));
        let mut data: BTreeMap<_, _> = stored.data.into_iter().map(bytes).collect::<Option<_>>()?;
        data.extend(stored.plain.into_iter().map(|(key, value)| (key, value.into_bytes())));
        Some(Self { kind: stored.kind, data })
    }

    /// Returns the data as the Secret of Palette's format: JSON, with one key per line.
    fn text(&self) -> String {
        let mut plain = Map::new();
        let mut bytes = Map::new();
        for (key, value) in &self.data {
            match std::str::from_utf8(value) {
                Ok(text) => plain.insert(key.clone(), text.into()),
                Err(_) => bytes.insert(key.clone(), base64::encode(value).into()),
            };
        }
        let kind = if self.kind.is_empty() { "Opaque" } else { &self.kind };
        let mut secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": REGISTRY_INFO, "namespace": JET_SYSTEM },
            "type": kind,
            "stringData": plain,
        });
        if !bytes.is_empty() {
            secret["data"] = bytes.into();
        }
        format!("{secret:#}\n")
    }
}

/// The effective declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Source of the declaration.
    pub origin: Origin,
    /// Data of the Secret; empty for [`Origin::None`].
    pub secret: SecretData,
}

impl Effective {
    /// Returns the absence of rules.
    pub fn none() -> Self {
        Self { origin: Origin::None, secret: SecretData::default() }
    }

    /// Parses the output of [`Self::text`]. Any other text is an unusable declaration.
    pub fn parse(origin: Origin, text: &str) -> Self {
        Self { origin, secret: SecretData::parse(text).unwrap_or_default() }
    }

    /// Returns the text that is stored; empty for [`Origin::None`].
    pub fn text(&self) -> String {
        if self.origin == Origin::None { String::new() } else { self.secret.text() }
    }

    /// Returns a copy with only the keys that replicas serve by.
    ///
    /// A hash of its text identifies a declaration in status, logs and responses. It covers no
    /// credential, so that a weak password cannot be guessed.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let mut this = self.clone();
        this.secret.data.retain(|key, _| SERVED.contains(&key.as_str()));
        this
    }

    /// Returns the declaration for the agents of nodes: the keys of
    /// [`Self::without_credentials`], and the credential if `credentials` is true.
    #[must_use]
    pub fn for_nodes(&self, credentials: bool) -> Self {
        let mut this = self.clone();
        let is_credential = |key: &str| credentials && CREDENTIALS.contains(&key);
        this.secret.data.retain(|key, _| SERVED.contains(&key.as_str()) || is_credential(key));
        this
    }

    /// Returns the declaration with the credential of `other`; `None` unless both declare it for
    /// the same hosts, so that no other host receives it.
    pub fn with_credential_of(&self, other: &Self) -> Option<Self> {
        const HOSTS: [&str; 2] = ["DOMAIN", "CREDENTIAL_HOSTS"];
        let value = |of: &Self, key: &str| of.secret.data.get(key).cloned().unwrap_or_default();
        if HOSTS.iter().any(|key| value(self, key) != value(other, key)) {
            return None;
        }
        let mut this = self.without_credentials();
        let credential =
            |key: &&str| Some(((*key).to_owned(), other.secret.data.get(*key)?.clone()));
        this.secret.data.extend(CREDENTIALS.iter().filter_map(credential));
        Some(this)
    }

    /// Parses the declaration. An authority that has expired since does not drop the rules.
    /// Returns `None` for [`Origin::None`], and for an unusable declaration.
    pub fn declaration(&self) -> Option<Declaration> {
        // A time before any certificate expires.
        const BEFORE: UnixTime = 0;
        if self.origin == Origin::None {
            return None;
        }
        Declaration::from_data(&self.secret.kind, &self.secret.data, BEFORE).ok()
    }
}

/// Diagnostics of one declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// Source of the declaration.
    pub origin: Origin,
    /// True if the declaration is rejected.
    pub refused: bool,
    /// Diagnostics, in the order of the text.
    pub findings: Vec<Diagnostic>,
}

/// The declaration to make effective, and the diagnostics of each declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveDecision {
    /// Declaration to make effective.
    pub effective: Effective,
    /// Diagnostics of each declaration that exists.
    pub about: Vec<SourceReport>,
    /// Keys in which the chart's declaration differs from `registry-info`, which wins. Empty
    /// unless both exist and are valid.
    pub differs: Vec<String>,
}

/// Decides on the declaration to make effective.
///
/// `last` is the declaration that was effective until now, across restarts; `None` at the first
/// decision.
pub fn decide(
    registry_info: Option<&SecretData>,
    chart: Option<&SecretData>,
    last: Option<&Effective>,
    now: UnixTime,
) -> EffectiveDecision {
    let mut about = Vec::new();
    let mut judge = |origin, secret: Option<&SecretData>| {
        let secret = secret?;
        let read =
            Declaration::from_data(&secret.kind, &secret.data, now).and_then(Declaration::serving);
        let size = secret.text().len();
        let (refused, findings) = match read {
            // A declaration that cannot be stored would be lost at the next restart.
            Ok(_) if size > LONGEST => (true, vec![too_large(size)]),
            Ok(declaration) => (false, declaration.findings().to_vec()),
            Err(refusal) => (true, refusal.findings),
        };
        about.push(SourceReport { origin, refused, findings });
        Some(if refused { Err(origin) } else { Ok(Effective { origin, secret: secret.clone() }) })
    };
    let first = judge(Origin::RegistryInfo, registry_info);
    let second = judge(Origin::Chart, chart);
    let differs = match (&first, &second, registry_info, chart) {
        (Some(Ok(_)), Some(Ok(_)), Some(one), Some(other)) => differing(one, other),
        _ => Vec::new(),
    };
    let effective = choose(first, second, last);
    EffectiveDecision { effective, about, differs }
}

fn too_large(size: usize) -> Diagnostic {
    let message =
        format!("expected a declaration of at most {LONGEST} bytes as JSON, found {size} bytes");
    let hint = "shorten MIRROR_REGISTRIES: write one rule per registry instead of one per \
                repository";
    Diagnostic::error(Code::Unusable, Position::START, message).hint(hint)
}

type Judged = Option<Result<Effective, Origin>>;

fn choose(first: Judged, second: Judged, last: Option<&Effective>) -> Effective {
    let refused = [&first, &second].iter().any(|it| matches!(it, Some(Err(_))));
    match first {
        Some(Ok(effective)) => return effective,
        Some(Err(origin)) => {
            if let Some(last) = last.filter(|last| last.origin == origin) {
                return last.clone();
            }
            // `registry-info` was never valid: the chart's declaration counts as if it were
            // missing.
        }
        None => {}
    }
    match second {
        Some(Ok(effective)) => effective,
        // An invalid declaration changes nothing, whatever the origin of the last one.
        _ if refused => last.cloned().unwrap_or_else(Effective::none),
        _ => Effective::none(),
    }
}

fn differing(one: &SecretData, other: &SecretData) -> Vec<String> {
    let keys: BTreeSet<&String> = one.data.keys().chain(other.data.keys()).collect();
    let value = |secret: &SecretData, key: &String| {
        // An empty optional key equals a missing one.
        secret.data.get(key).map(|value| value.trim_ascii().to_vec()).unwrap_or_default()
    };
    keys.into_iter().filter(|key| value(one, key) != value(other, key)).cloned().collect()
}

#[cfg(test)]
mod tests;
