//! Which containerd, and whether its files fit it.

use super::{
    registry::{CRI, IMAGES},
    sources::{Source, VERSION_MAX},
};
use crate::{Observed, Refusal, Version, case, plan::Changes};

/// The first version with `override_path`.
const FIRST: Version = Version::new(1, 6, 0);
/// The first version that no test has run.
const UNTRIED: Version = Version::new(2, 5, 0);
/// The first version that migrates each imported file by itself, whatever its version.
const MIGRATES_IMPORTS: Version = Version::new(2, 4, 0);

/// Refuses what cannot be told at all.
pub(super) fn check(
    observed: &Observed,
    sources: &[Source<'_>],
    changes: &mut Changes<'_>,
) -> Result<(), Refusal> {
    let version = observed.version;
    if let Some(version) = version.filter(|version| *version < FIRST) {
        let found = format!("expected containerd {FIRST} or later, found {version}");
        return Err(Refusal::new(&case::RUNTIME_TOO_OLD, found));
    }
    if let Some(version) = version.filter(|version| *version >= UNTRIED) {
        changes.met(&case::RUNTIME_NEW, &format!("containerd {version}"));
    }
    let Some((main, imports)) =
        sources.split_first().filter(|(main, _)| main.path == observed.config)
    else {
        return Ok(());
    };
    let is_one = version.is_some_and(|version| version.major < 2);
    let newest = version.map_or(VERSION_MAX, newest_read_by);
    if let Some(found) = main.version.filter(|&found| found > newest) {
        let found = format!(
            "{}: expected a configuration version of at most {newest}, found {found}",
            main.path
        );
        return Err(Refusal::new(&case::CONFIG_VERSION_UNKNOWN, found));
    }
    for source in sources {
        let disabled = source.toml.strings(&["disabled_plugins"]);
        if let Some(found) = disabled.into_iter().find(|name| ["cri", CRI, IMAGES].contains(name)) {
            let found = format!(
                "{}: expected the CRI plugin in use, found {found} among disabled_plugins",
                source.path
            );
            return Err(Refusal::new(&case::CRI_DISABLED, found));
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
            return Err(Refusal::new(&case::DROP_IN_VERSION, found));
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
