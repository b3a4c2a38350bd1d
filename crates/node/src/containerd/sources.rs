//! The files of containerd's configuration: the main one and what it imports.
//!
//! Source: containerd, `cmd/containerd/server/config/config.go`, `LoadConfig` and
//! `resolveImports`; what each version makes of them was run.

use std::collections::BTreeSet;

use image_swap_text::toml::Toml;

use crate::{
    Entry, File, Files, HostPath, Observed, Refusal,
    case::{self, Case},
    glob, owner,
};

/// The newest known version of the configuration, which came with containerd 2.3.
pub(super) const VERSION_MAX: i64 = 4;

/// One file.
pub(super) struct Source<'a> {
    pub(super) path: HostPath,
    pub(super) toml: Toml<'a>,
    /// What its `version` line says.
    pub(super) version: Option<i64>,
}

/// What there would be to see if the main file were `base`, as it is without our edits.
pub(super) fn without_us(observed: &Observed, base: Option<&File>) -> Observed {
    let mut without_us = observed.clone();
    if observed.files.file(&observed.config) != base {
        let entry = base.cloned().map_or(Entry::Absent, Entry::File);
        without_us.files.insert(observed.config.clone(), entry);
    }
    without_us
}

/// The main file, if there is one, and all that it imports, in the order in
/// which containerd reads them.
pub(super) fn read(observed: &Observed) -> Result<Vec<Source<'_>>, Refusal> {
    let mut unseen = Vec::new();
    let mut sources = Vec::new();
    for path in paths(observed, &mut unseen) {
        sources.push(source(&observed.files, path)?);
    }
    Ok(sources)
}

/// What has to be looked at to know all files.
pub(super) fn unseen(observed: &Observed) -> Vec<HostPath> {
    let mut unseen = Vec::new();
    paths(observed, &mut unseen);
    unseen
}

fn paths(observed: &Observed, unseen: &mut Vec<HostPath>) -> Vec<HostPath> {
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
            if !matches!(files.get(&path), Some(Entry::File(_) | Entry::Link(_, Some(_))))
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

fn source(files: &Files, path: HostPath) -> Result<Source<'_>, Refusal> {
    let refused = |case: &'static Case, found: String| Refusal::new(case, found);
    let Some(text) = files.text(&path) else {
        return Err(refused(
            &case::UNREADABLE,
            format!("{path}: expected UTF-8, found other bytes"),
        ));
    };
    let toml = Toml::parse(text)
        .map_err(|error| refused(&case::UNREADABLE, format!("{path}: {error}")))?;
    let version = match toml.get(&["version"]) {
        None => None,
        Some(item) => Some(item.as_integer().filter(|n| (1..=VERSION_MAX).contains(n)).ok_or_else(
            || {
                let found = item.to_string();
                let found = found.trim();
                refused(
                    &case::CONFIG_VERSION_UNKNOWN,
                    format!("{path}: expected a configuration version of 1 to {VERSION_MAX}, found {found}"),
                )
            },
        )?),
    };
    Ok(Source { path, toml, version })
}
