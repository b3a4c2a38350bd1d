//! The files of containerd's configuration: the main one and its imports.
//!
//! Source: containerd, `cmd/containerd/server/config/config.go`, `LoadConfig` and
//! `resolveImports`. The behaviour of each version was tested with the real program.

use std::collections::BTreeSet;

use image_swap_text::toml::{Item, Toml};

use crate::{
    condition::{self, PlanRefusal},
    desired::DesiredConfig,
    files::{HostEntry, HostFile, HostFiles, HostPath},
    observed::ObservedHost,
    owner,
    plan::builder::PlanBuilder,
    runtime::{glob, kind::Version},
};

/// The CRI plugin up to configuration version 2.
pub(super) const CRI: &str = "io.containerd.grpc.v1.cri";
/// Plugin of CRI that pulls images, from configuration version 3 on.
pub(super) const IMAGES: &str = "io.containerd.cri.v1.images";

/// The newest known version of the configuration, which came with containerd 2.3.
pub(super) const VERSION_MAX: i64 = 4;

/// The input of a plan for containerd: its configuration without the edits of image-swap.
pub(super) struct PlanInput<'a, 'o> {
    pub(super) desired: &'a DesiredConfig<'a>,
    pub(super) observed: &'o ObservedHost,
    pub(super) sources: &'a [ConfigFile<'a>],
    /// The main file; `None` if there is none.
    pub(super) base: Option<HostFile>,
    pub(super) changes: PlanBuilder<'o>,
}

/// One file of the configuration.
pub(super) struct ConfigFile<'a> {
    pub(super) path: HostPath,
    pub(super) toml: Toml<'a>,
    /// Value of `version`; `None` without one.
    pub(super) version: Option<i64>,
}

/// Returns the observation with the main file `base`, which has no edits of image-swap.
pub(super) fn without_us(observed: &ObservedHost, base: Option<&HostFile>) -> ObservedHost {
    let mut without_us = observed.clone();
    if observed.files.file(&observed.config) != base {
        let entry = base.cloned().map_or(HostEntry::Absent, HostEntry::File);
        without_us.files.insert(observed.config.clone(), entry);
    }
    without_us
}

/// Returns the main file, if there is one, and everything that it imports, in the order in which
/// containerd reads them.
pub(super) fn read(observed: &ObservedHost) -> Result<Vec<ConfigFile<'_>>, PlanRefusal> {
    let mut unseen = Vec::new();
    let mut sources = Vec::new();
    for path in paths(observed, &mut unseen) {
        sources.push(source(&observed.files, path)?);
    }
    Ok(sources)
}

/// Returns the paths that have to be read before all files are known.
pub(super) fn unread_paths(observed: &ObservedHost) -> Vec<HostPath> {
    let mut unseen = Vec::new();
    paths(observed, &mut unseen);
    unseen
}

/// Returns the main file and all that it imports, in the order in which containerd reads them.
/// Paths that have to be read first are added to `unseen`.
pub(super) fn paths(observed: &ObservedHost, unseen: &mut Vec<HostPath>) -> Vec<HostPath> {
    let files = &observed.files;
    if files.get(&observed.config).is_none() {
        unseen.push(observed.config.clone());
    }
    let mut paths = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = vec![observed.config.clone()];
    if owner::k0s_merges(observed) {
        next.extend(glob::expand(owner::K0S_DROP_INS, files, unseen));
    }
    // The pattern `/etc/containerd/conf.d/*.toml` in the defaults of containerd 2.2 and
    // later has no effect: containerd resolves the imports of files only.
    while !next.is_empty() {
        let mut imported = Vec::new();
        for path in next {
            if !matches!(files.get(&path), Some(HostEntry::File(_) | HostEntry::Link(_, Some(_))))
                || !seen.insert(path.clone())
            {
                continue;
            }
            let toml = files.text(&path).and_then(|text| Toml::parse(text).ok());
            for pattern in toml.iter().flat_map(|toml| toml.strings(&["imports"])) {
                let pattern = if pattern.starts_with('/') {
                    pattern.to_owned()
                } else {
                    let directory = path.parent().unwrap_or_else(|| HostPath::new("/"));
                    [directory.as_str(), "/", pattern].concat()
                };
                imported.extend(glob::expand(&pattern, files, unseen));
            }
            paths.push(path);
        }
        next = imported;
    }
    paths
}

fn source(files: &HostFiles, path: HostPath) -> Result<ConfigFile<'_>, PlanRefusal> {
    let Some(text) = files.text(&path) else {
        let found = format!("{path}: expected UTF-8, found other bytes");
        return Err(condition::UNREADABLE.refusal(found));
    };
    let toml = Toml::parse(text)
        .map_err(|error| condition::UNREADABLE.refusal(format!("{path}: {error}")))?;
    let item = toml.get(&["version"]);
    let version = item.and_then(Item::as_integer).filter(|n| (1..=VERSION_MAX).contains(n));
    if let (Some(item), None) = (item, version) {
        let item = item.to_string();
        let expected = format!("expected a configuration version of 1 to {VERSION_MAX}");
        let found = format!("{path}: {expected}, found {}", item.trim());
        return Err(condition::CONFIG_VERSION_UNKNOWN.refusal(found));
    }
    Ok(ConfigFile { path, toml, version })
}

/// The first version with `override_path`.
const FIRST: Version = Version::new(1, 6, 0);
/// The first version that no test has run.
const UNTRIED: Version = Version::new(2, 5, 0);
/// The first version that migrates each imported file by itself, whatever its version.
const MIGRATES_IMPORTS: Version = Version::new(2, 4, 0);

/// Refuses configurations whose version cannot be determined.
pub(super) fn version_check(
    observed: &ObservedHost,
    sources: &[ConfigFile<'_>],
    changes: &mut PlanBuilder<'_>,
) -> Result<(), PlanRefusal> {
    let version = observed.version;
    if let Some(version) = version.filter(|version| *version < FIRST) {
        let found = format!("expected containerd {FIRST} or later, found {version}");
        return Err(condition::RUNTIME_TOO_OLD.refusal(found));
    }
    if let Some(version) = version.filter(|version| *version >= UNTRIED) {
        changes.note_case(&condition::RUNTIME_NEW, &format!("containerd {version}"));
    }
    let Some((main, imports)) =
        sources.split_first().filter(|(main, _)| main.path == observed.config)
    else {
        return Ok(());
    };
    let is_one = version.is_some_and(|version| version.major < 2);
    let newest = version.map_or(VERSION_MAX, newest_read_by);
    if let Some(found) = main.version.filter(|&found| found > newest) {
        let path = &main.path;
        let found =
            format!("{path}: expected a configuration version of at most {newest}, found {found}");
        return Err(condition::CONFIG_VERSION_UNKNOWN.refusal(found));
    }
    for source in sources {
        let ConfigFile { path, toml, .. } = source;
        let disabled = toml.strings(&["disabled_plugins"]);
        if let Some(found) = disabled.into_iter().find(|name| ["cri", CRI, IMAGES].contains(name)) {
            let found =
                format!("{path}: disabled_plugins turns the CRI plugin off: it has {found}");
            return Err(condition::CRI_DISABLED.refusal(found));
        }
    }
    let main_version = main.version.unwrap_or(1);
    let takes_newer = version.is_some_and(|version| version >= MIGRATES_IMPORTS);
    for import in imports {
        // An older file below a newer one is migrated by containerd 2.
        let Some(found) = import.version else { continue };
        if (found > main_version && !takes_newer) || (is_one && found != main_version) {
            let found = format!(
                "{}: expected configuration version {main_version} as in {}, found {found}",
                import.path, main.path
            );
            return Err(condition::DROP_IN_VERSION.refusal(found));
        }
    }
    Ok(())
}

/// Returns the newest configuration version that a containerd reads.
fn newest_read_by(version: Version) -> i64 {
    if version < Version::new(2, 0, 0) {
        2
    } else if version < Version::new(2, 3, 0) {
        3
    } else {
        VERSION_MAX
    }
}
