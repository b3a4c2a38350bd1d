//! What config.toml may not have beside `config_path`, said in `hosts.toml`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    registry::{Registry, Spot},
    sources::Source,
};
use crate::{
    Desired, File, Observed, Refusal, case,
    plan::Changes,
    toml::{self, Path, Toml, string},
};

/// What leaves config.toml, and what says the same below `certs.d`.
#[derive(Default)]
pub(super) struct Migrated {
    /// The tables that leave.
    pub(super) paths: Vec<Path>,
    /// Where they stand.
    pub(super) spots: Vec<Spot>,
    /// Files, relative to `certs.d`.
    pub(super) files: BTreeMap<String, File>,
}

/// Trust of one host as a `tls` table has it.
#[derive(Default, Clone)]
struct Trust {
    lines: Vec<String>,
}

/// What of `registry` has to leave; `hosts` have files of ours already.
pub(super) fn of(
    observed: &Observed,
    sources: &[Source<'_>],
    registry: &Registry,
    hosts: &BTreeSet<&str>,
    desired: &Desired<'_>,
    changes: &mut Changes<'_>,
) -> Result<Migrated, Refusal> {
    let mut migrated = Migrated::default();
    // containerd 2 passes over tls tables.
    let counts = observed.version.is_none_or(|version| version.major < 2);
    let mut trusts: BTreeMap<&str, Trust> = BTreeMap::new();
    for (host, spot) in registry.tls.iter().filter(|_| counts) {
        let path = path(spot, &["configs", host, "tls"]);
        let Some(toml) = at(sources, spot) else { continue };
        trusts.insert(host, trust(toml, &path));
        let declared =
            desired.declaration.registry.as_ref().filter(|registry| registry.domain == *host);
        let declared =
            declared.is_some_and(|registry| registry.insecure || !registry.ca.is_empty());
        if hosts.contains(host.as_str()) && !declared {
            let found = format!("{}: expected no {}, found it", spot.path, toml::shown(&path));
            return Err(Refusal::new(&case::TLS_TABLE_DECLARED, found));
        }
        let found = format!("{} has {}", spot.path, toml::shown(&path));
        changes.edits(&spot.path, &case::TLS_TABLE, &found);
        migrated.paths.push(path);
        migrated.spots.push(spot.clone());
    }
    let mut table = BTreeSet::new();
    for (host, spot) in &registry.mirrors {
        if table.insert(path(spot, &["mirrors"])) {
            let found = format!("{} has a mirrors table", spot.path);
            changes.edits(&spot.path, &case::MIRRORS_TABLE, &found);
            migrated.spots.push(spot.clone());
        }
        let name = if host == "*" { "_default" } else { host };
        if hosts.contains(name) {
            continue;
        }
        let Some(toml) = at(sources, spot) else { continue };
        let endpoints = path(spot, &["mirrors", host, "endpoint"]);
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let mut text = marker();
        for endpoint in toml.strings(&endpoints) {
            let Some((url, of_host)) = url(endpoint) else {
                let found = format!(
                    "{}: expected the URL of a mirror for {host}, found another text",
                    spot.path
                );
                return Err(Refusal::new(&case::MIRRORS_TABLE_ODD, found));
            };
            let _ = write!(
                text,
                "\n[host.{}]\n  capabilities = [\"pull\", \"resolve\"]\n",
                string(&url)
            );
            if url.matches('/').count() > 2 {
                text.push_str("  override_path = true\n");
            }
            for line in trusts.get(of_host).iter().flat_map(|trust| &trust.lines) {
                let _ = writeln!(text, "  {line}");
            }
        }
        if text == marker() {
            text.push_str("\n[host]\n");
        }
        migrated.files.insert([name, "/hosts.toml"].concat(), File::public(text));
    }
    migrated.paths.extend(table);
    for (host, trust) in trusts.iter().filter(|(host, _)| !hosts.contains(*host)) {
        let name = [*host, "/hosts.toml"].concat();
        let mut text = marker();
        let _ = writeln!(text, "server = {}", string(&["https://", host].concat()));
        trust.lines.iter().for_each(|line| {
            let _ = writeln!(text, "{line}");
        });
        text.push_str("\n[host]\n");
        migrated.files.entry(name).or_insert_with(|| File::public(text));
    }
    Ok(migrated)
}

fn marker() -> String {
    "# Written by image-swap from what config.toml said; changes are overwritten.\n".to_owned()
}

fn path(spot: &Spot, keys: &[&str]) -> Path {
    ["plugins", spot.plugin, "registry"].iter().chain(keys).map(|&key| key.to_owned()).collect()
}

fn at<'a, 'b>(sources: &'a [Source<'b>], spot: &Spot) -> Option<&'a Toml<'b>> {
    sources.iter().find(|source| source.path == spot.path).map(|source| &source.toml)
}

/// A `tls` table as `hosts.toml` says it.
fn trust(toml: &Toml<'_>, path: &Path) -> Trust {
    let get = |key: &str| {
        let path: Vec<&str> = path.iter().map(String::as_str).chain([key]).collect();
        toml.str(&path).filter(|value| !value.is_empty()).map(string)
    };
    let insecure: Vec<&str> =
        path.iter().map(String::as_str).chain(["insecure_skip_verify"]).collect();
    let mut lines = Vec::new();
    lines.extend(get("ca_file").map(|ca| format!("ca = {ca}")));
    if let (Some(certificate), Some(key)) = (get("cert_file"), get("key_file")) {
        lines.push(format!("client = [[{certificate}, {key}]]"));
    }
    if toml.get(&insecure).and_then(toml_edit::Item::as_bool) == Some(true) {
        lines.push("skip_verify = true".to_owned());
    }
    Trust { lines }
}

/// An endpoint of the mirrors table as a URL with its scheme, and its host; a path
/// is used as it is there. Source: containerd 1.7, `addDefaultScheme`.
fn url(endpoint: &str) -> Option<(String, &str)> {
    let (scheme, rest) = match endpoint.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return None,
        None => {
            let name = endpoint.split(['/', ':']).next().unwrap_or_default();
            let local = name == "localhost" || name.starts_with("127.");
            (if local { "http" } else { "https" }, endpoint)
        }
    };
    let host = rest.split('/').next().unwrap_or_default();
    let odd =
        host.is_empty() || rest.contains(['?', '#', '@']) || rest.contains(char::is_whitespace);
    // A bare slash means the root there, which hosts.toml has no words for.
    (!odd && rest.len() != host.len() + 1).then(|| ([scheme, "://", rest].concat(), host))
}
