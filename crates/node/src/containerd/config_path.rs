//! The one edit of config.toml: `config_path`, and nothing that may not stand beside it.

use super::{
    migrate::Migrated,
    registry::{CRI, IMAGES, Registry},
    sources::Source,
};
use crate::{
    File, HostPath, Observed, Refusal, case,
    plan::Changes,
    toml::{Toml, string},
};

/// The main file with one directory as `config_path`, and without what it may
/// not have beside that; `None` where there is nothing to edit.
pub(super) fn edited(
    observed: &Observed,
    base: Option<&File>,
    sources: &[Source<'_>],
    below: &HostPath,
    migrated: &Migrated,
    changes: &mut Changes<'_>,
) -> Result<Option<File>, Refusal> {
    let Some(version) = observed.version else {
        let found = format!(
            "{}: expected to know the version of containerd, found nobody who tells",
            observed.config
        );
        return Err(Refusal::new(&case::RUNTIME_UNKNOWN, found));
    };
    let registry = Registry::new(sources, &observed.config, observed.version);
    let elsewhere = |path: &HostPath| {
        let found = format!(
            "{path}: expected {} alone to set up the registries, found them here",
            observed.config
        );
        Refusal::new(&case::DROP_IN_HOLDS, found)
    };
    // What a later file says is said last; containerd 1 takes it whole.
    if let Some(path) = registry.drop_in.as_ref().filter(|_| version.major < 2) {
        return Err(elsewhere(path));
    }
    let set = registry.config_path.iter().map(|(_, spot)| spot);
    if let Some(spot) = set.chain(migrated.spots.iter()).find(|spot| spot.path != observed.config) {
        return Err(elsewhere(&spot.path));
    }
    let text = base.map(|file| file.bytes.clone()).unwrap_or_default();
    let mut text = String::from_utf8(text).unwrap_or_default();
    let cannot = |error: crate::toml::CannotEdit| {
        Refusal::new(&case::CANNOT_EDIT, format!("{}: {error}", observed.config))
    };
    let broken = |error: crate::toml::NotToml| {
        Refusal::new(&case::UNREADABLE, format!("{}: {error}", observed.config))
    };
    let main = sources.first().filter(|source| source.path == observed.config);
    let config_version = match main {
        None => {
            changes.met(&case::NO_CONFIG, &format!("there is no {}", observed.config));
            let version = if version.major < 2 { 2 } else { 3 };
            text = format!("version = {version}\n");
            version
        }
        Some(main) => match main.version {
            Some(found @ 2..) => found,
            found => {
                version_one(observed, main, sources, found)?;
                changes.met(&case::VERSION_ONE, &format!("{} has no version", observed.config));
                text = Toml::parse(&text)
                    .map_err(broken)?
                    .set(&["version"], "2", &[])
                    .map_err(cannot)?;
                2
            }
        },
    };
    for path in &migrated.paths {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        text = Toml::parse(&text).map_err(broken)?.without(&path).map_err(cannot)?;
    }
    let plugin = registry
        .config_path
        .as_ref()
        .map_or_else(|| if config_version == 2 { CRI } else { IMAGES }, |(_, spot)| spot.plugin);
    let comment = format!(
        "# image-swap keeps one directory per registry below {below}; they are read at every pull."
    );
    let path = ["plugins", plugin, "registry", "config_path"];
    let toml = Toml::parse(&text).map_err(broken)?;
    if toml.str(&path) != Some(below.as_str()) {
        text = toml.set(&path, &string(below.as_str()), &[&comment]).map_err(cannot)?;
    }
    // Read back before it counts.
    let toml = Toml::parse(&text).map_err(broken)?;
    if toml.str(&path) != Some(below.as_str()) {
        return Err(Refusal::new(
            &case::CANNOT_EDIT,
            format!("{}: expected config_path to be set, found that it is not", observed.config),
        ));
    }
    let now = observed.files.file(&observed.config);
    let says_so = now
        .and_then(|file| std::str::from_utf8(&file.bytes).ok())
        .and_then(|now| Some(Toml::parse(now).ok()?.leaves()));
    Ok(Some(match now {
        // What says the same already is not written in another way.
        Some(now) if says_so == Some(toml.leaves()) => now.clone(),
        _ => File { bytes: text.into_bytes(), mode: base.or(now).map_or(0o644, |file| file.mode) },
    }))
}

/// Refuses to add a version to a file that would then mean something else.
fn version_one(
    observed: &Observed,
    main: &Source<'_>,
    sources: &[Source<'_>],
    found: Option<i64>,
) -> Result<(), Refusal> {
    const SAME_IN_TWO: [&str; 11] = [
        "root",
        "state",
        "temp",
        "address",
        "grpc",
        "ttrpc",
        "debug",
        "metrics",
        "oom_score",
        "cgroup",
        "imports",
    ];
    let other = main.toml.keys(&[]).into_iter().find(|key| !SAME_IN_TWO.contains(key));
    if other.is_none() && sources.len() == 1 && found.is_none() {
        return Ok(());
    }
    let found = format!(
        "{}: expected `version = 2` or later, found {}",
        observed.config,
        other.map_or_else(|| "none, and imports".to_owned(), |key| format!("none, and {key}")),
    );
    Err(Refusal::new(&case::VERSION_ONE_PLUGINS, found))
}
