//! Moves settings that config.toml may not have beside `config_path` to `hosts.toml` files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use image_swap_core::mirror::MirrorTable;
use image_swap_text::toml::{self, Path, Toml, string};

use crate::{
    condition::{self, PlanRefusal},
    files::HostFile,
    observed::ObservedHost,
    plan::builder::{MARK, PlanBuilder},
    runtime::containerd::{
        imports::ConfigFile,
        registry::{EffectiveRegistry, Location},
        settings::HostSettings,
    },
};

/// Settings that an edit removes from config.toml, and the files below `certs.d` that replace them.
#[derive(Default)]
pub(super) struct Migrated {
    /// Paths of the removed tables.
    pub(super) paths: Vec<Path>,
    /// Locations of the removed settings.
    pub(super) spots: Vec<Location>,
    /// The replacing files, by path relative to `certs.d`.
    pub(super) files: BTreeMap<String, HostFile>,
    /// The settings of the removed `tls` tables, by host.
    pub(super) tls: BTreeMap<String, HostSettings>,
}

/// Plans the removal of settings of `registry` that cannot stay. `hosts` already have files of
/// image-swap.
pub(super) fn migrate(
    observed: &ObservedHost,
    sources: &[ConfigFile<'_>],
    registry: &EffectiveRegistry,
    hosts: &BTreeSet<&str>,
    declared: &MirrorTable,
    changes: &mut PlanBuilder<'_>,
) -> Result<Migrated, PlanRefusal> {
    let mut migrated = Migrated::default();
    // containerd 2 passes over tls tables.
    let counts = observed.version.is_none_or(|version| version.major < 2);
    for (host, spot) in registry.tls.iter().filter(|_| counts) {
        let path = path(spot, &["configs", host, "tls"]);
        let Some(toml) = at(sources, spot) else { continue };
        migrated.tls.insert(host.clone(), HostSettings::of_tls(toml, &path));
        let found = format!("{} has {}", spot.path, toml::shown(&path));
        changes.note_case_for_edit(&spot.path, &condition::TLS_TABLE, &found);
        migrated.paths.push(path);
        migrated.spots.push(spot.clone());
    }
    let mut table = BTreeSet::new();
    for (host, spot) in &registry.mirrors {
        if table.insert(path(spot, &["mirrors"])) {
            let found = format!("{} has a mirrors table", spot.path);
            changes.note_case_for_edit(&spot.path, &condition::MIRRORS_TABLE, &found);
            migrated.spots.push(spot.clone());
        }
        let name = if host == "*" { "_default" } else { host };
        if hosts.contains(name) {
            check_schemes(sources, host, spot, declared)?;
            continue;
        }
        let Some(toml) = at(sources, spot) else { continue };
        let mut text = marker();
        for endpoint in endpoints(toml, spot, host) {
            let Some((url, of_host)) = url(endpoint) else {
                let file = &spot.path;
                let found =
                    format!("{file}: expected the URL of a mirror for {host}, found another text");
                return Err(condition::MIRRORS_TABLE_ODD.refusal(found));
            };
            let key = string(&url);
            let _ = write!(text, "\n[host.{key}]\n  capabilities = [\"pull\", \"resolve\"]\n");
            if url.matches('/').count() > 2 {
                text.push_str("  override_path = true\n");
            }
            if let Some(settings) = migrated.tls.get(of_host) {
                text = put(settings, &text, &["host", &url]);
            }
        }
        if text == marker() {
            text.push_str("\n[host]\n");
        }
        migrated.files.insert([name, "/hosts.toml"].concat(), HostFile::public(text));
    }
    migrated.paths.extend(table);
    for (host, settings) in migrated.tls.iter().filter(|(host, _)| !hosts.contains(host.as_str())) {
        // Docker Hub's registry is known to containerd by the name of Docker Hub.
        let name = if host == "registry-1.docker.io" { "docker.io" } else { host };
        if hosts.contains(name) {
            continue;
        }
        let server = string(&["https://", host].concat());
        let text = [&marker(), "server = ", &server, "\n\n[host]\n"].concat();
        let text = put(settings, &text, &[]);
        let name = [name, "/hosts.toml"].concat();
        migrated.files.entry(name).or_insert_with(|| HostFile::public(text));
    }
    Ok(migrated)
}

/// Refuses to replace a mirror of `host` at a declared target by another scheme: plain HTTP and
/// TLS are not served by the same port.
pub(super) fn check_schemes(
    sources: &[ConfigFile<'_>],
    host: &str,
    spot: &Location,
    declared: &MirrorTable,
) -> Result<(), PlanRefusal> {
    let Some(toml) = at(sources, spot) else { return Ok(()) };
    let endpoints = endpoints(toml, spot, host).into_iter();
    let found: Vec<(String, &str)> = endpoints.filter_map(url).collect();
    for target in declared.targets() {
        let scheme = declared.scheme(target);
        let mut of_target = found.iter().filter(|(_, host)| *host == target).peekable();
        let is_other = of_target.peek().is_some()
            && !of_target
                .any(|(url, _)| url.strip_prefix(scheme).is_some_and(|it| it.starts_with(':')));
        if is_other {
            let file = &spot.path;
            let found = format!(
                "{file}: expected {target} by {scheme} as declared, found another scheme for {host}"
            );
            return Err(condition::MIRRORS_TABLE_ODD.refusal(found));
        }
    }
    Ok(())
}

/// Returns `text` with `settings` in the table at `path`.
fn put(settings: &HostSettings, text: &str, path: &[&str]) -> String {
    // A text of image-swap's own making takes every edit.
    settings.put(text, path).unwrap_or_else(|_| text.to_owned())
}

fn marker() -> String {
    [MARK, "from what config.toml said; changes are overwritten.\n"].concat()
}

fn path(spot: &Location, keys: &[&str]) -> Path {
    ["plugins", spot.plugin, "registry"].iter().chain(keys).map(|&key| key.to_owned()).collect()
}

fn at<'a, 'b>(sources: &'a [ConfigFile<'b>], spot: &Location) -> Option<&'a Toml<'b>> {
    sources.iter().find(|source| source.path == spot.path).map(|source| &source.toml)
}

/// Returns the endpoints of `host` in the mirrors table of `toml`.
fn endpoints<'t>(toml: &'t Toml<'_>, spot: &Location, host: &str) -> Vec<&'t str> {
    toml.strings(&["plugins", spot.plugin, "registry", "mirrors", host, "endpoint"])
}

/// Returns an endpoint of the mirrors table as a URL with scheme, and its host; `None` if
/// `hosts.toml` cannot express it. The path is kept. Source: containerd 1.7, `addDefaultScheme`.
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
    // A bare slash means the root path, which hosts.toml cannot express.
    (!odd && rest.len() != host.len() + 1).then(|| ([scheme, "://", rest].concat(), host))
}
